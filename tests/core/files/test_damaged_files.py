"""Files mutated at random through every loader: a sentence that names the file, or valid values, and nothing else."""

from __future__ import annotations

import json
import math
import random
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from uncertainty_nodes.core.demo import network
from uncertainty_nodes.core.demo.extractor import DigitClassifier, Reference, load_extractor, load_reference
from uncertainty_nodes.core.ensemble.file import EnsembleParameters, MemberParameters
from uncertainty_nodes.core.ensemble.training import TrainedMember, load_checkpoint, save_checkpoint
from uncertainty_nodes.core.guidance.step_thresholds import BINS, StepThresholds
from uncertainty_nodes.core.last_layer.curvature import Diagonal
from uncertainty_nodes.core.last_layer.find import Identity
from uncertainty_nodes.core.last_layer.kronecker import Kronecker
from uncertainty_nodes.core.last_layer.laplace import Laplace
from uncertainty_nodes.core.metrics.features import FeatureStatistics
from uncertainty_nodes.core.options import Covariance, Direction, EnsembleKind, LaplaceOptions
from uncertainty_nodes.core.result import Uncertainty
from uncertainty_nodes.core.selection.calibration import Calibration

IDENTITY = Identity("out", "Linear 2x3", "a" * 64, "b" * 64)
FACTS = {"steps": 4, "seed": 0}


def finite(tensor: torch.Tensor, low: float = -math.inf) -> bool:
    tensor = tensor if tensor.element_size() > 1 else tensor.float()
    return bool((tensor.isfinite() & (tensor >= low)).all())


def text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def texts(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(k, str) and isinstance(v, str) for k, v in value.items())


def number(value: object, low: float = -math.inf) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value >= low


def count(value: object, low: int = 0) -> bool:
    return isinstance(value, int) and number(value, low)


def identity(value: Identity) -> bool:
    return isinstance(value, Identity) and all(text(getattr(value, name)) for name in ("name", "layer", "architecture", "weights"))


def laplace(fit: Laplace) -> bool:
    options = fit.options
    numbers = options.prior_precision > 0 and number(options.noise_variance, 1e-12) and count(options.draws, 1) and count(options.seed)
    if options.covariance is Covariance.DIAGONAL:
        sums = fit.curvature.squares.ndim == 2 and finite(fit.curvature.squares, 0)
    else:
        spreads = (fit.curvature.inputs, fit.curvature.gradients)
        sums = all(finite(s) and finite(s.diagonal(), 0) and torch.allclose(s, s.T) for s in spreads) and int(fit.curvature.count) >= 0
    return identity(fit.identity) and numbers and sums and count(fit.samples)


def ensemble(found: EnsembleParameters) -> bool:
    members = all(text(m.name) and m.tensors and all(finite(t) for t in m.tensors.values()) for m in found.members)
    losses = all(number(loss, 0) for m in found.members for loss in m.losses)
    known = found.identity is None or identity(found.identity)
    return members and losses and known and isinstance(found.kind, EnsembleKind) and texts(found.provenance)


def calibration(found: Calibration) -> bool:
    kinds = isinstance(found.direction, Direction) and text(found.quantity) and all(texts(p) for p in found.provenance)
    return kinds and finite(found.scores) and len(found) > 0 and math.isfinite(found.threshold_at(50))


def thresholds(found: StepThresholds) -> bool:
    counts = all(number(s) and s > 0 and c.shape == (BINS,) and c.dtype == torch.int64 and finite(c, 0) for s, c in found.counts.items())
    return text(found.quantity) and counts


def uncertainty(found: Uncertainty) -> bool:
    no_infinity = not any(bool(t.isinf().any()) for t in (found.maps, found.scores, found.curve))
    variances = all(not bool((t < 0).any()) for t in (found.maps, found.scores, found.curve)) or found.quantity != "denoised"
    words = isinstance(found.direction, Direction) and text(found.quantity) and texts(found.provenance)
    return no_infinity and variances and words and finite(found.sigmas, 0) and number(found.nfe, 0) and number(found.seconds, 0)


def statistics(found: FeatureStatistics) -> bool:
    spread = finite(found.scatter) and finite(found.scatter.diagonal(), 0) and torch.allclose(found.scatter, found.scatter.T)
    return count(found.count, 1) and finite(found.mean) and spread and text(found.extractor) and found.scatter.shape == 2 * found.mean.shape


def reference(found: Reference) -> bool:
    images = finite(found.images, -1) and float(found.images.max()) <= 1
    labels = finite(found.labels, 0) and int(found.labels.max()) <= 9 and finite(found.held_out, 0)
    return statistics(found.statistics) and images and labels and finite(found.features) and len(found.images) <= len(found.features)


def extractor(found: DigitClassifier) -> bool:
    state = found.state_dict()
    return all(finite(t, 0 if "running_var" in name or "num_batches" in name else -math.inf) for name, t in state.items())


def checkpoint(found: list[TrainedMember]) -> bool:
    values = all(finite(t) for m in found for t in m.parameters.values())
    squares = all(finite(t, 0) for m in found for name, t in m.moments.items() if name.endswith(("step", "exp_avg_sq")))
    return values and squares and all(m.parameters and number(loss, 0) for m in found for loss in m.losses)


def weights(found: dict[str, torch.Tensor]) -> bool:
    return all(finite(t) for t in found.values())


def spread(size: int) -> torch.Tensor:
    root = torch.randn(size, 2 * size, dtype=torch.float64)
    return root @ root.T


def save_whole(name: str, path: Path) -> None:
    """A small whole file of each kind."""
    if name == "diagonal":
        Laplace(IDENTITY, Diagonal(torch.rand(2, 4).double()), LaplaceOptions(prior_precision=math.inf), 8).save(path)
    elif name == "kronecker":
        Laplace(IDENTITY, Kronecker(spread(4), spread(2), torch.tensor(8)), LaplaceOptions(Covariance.KRONECKER), 8).save(path)
    elif name == "ensemble":
        members = tuple(MemberParameters(f"m{k}", {"table": torch.randn(3, 2), "more": torch.randn(2)}, (1.0, 0.5)) for k in range(2))
        EnsembleParameters(EnsembleKind.CLASS_EMBEDDING, members, IDENTITY, {"by": "test"}).save(path)
    elif name == "calibration":
        Calibration.fit([torch.rand(9)], Direction.HIGH_IS_BAD, "denoised", [{"by": "test"}]).save(path)
    elif name == "thresholds":
        table = StepThresholds("noise")
        table.add(0.5, torch.rand(2, 1, 3, 3))
        table.add(0.25, torch.rand(2, 1, 3, 3))
        table.save(path)
    elif name == "uncertainty":
        maps = torch.rand(2, 1, 3, 3)
        curve = torch.rand(2, 2)
        Uncertainty(maps, curve.mean(0), curve, torch.rand(2), Direction.HIGH_IS_BAD, "denoised", 2.0, 0.5, {"by": "test"}).save(path)
    elif name == "statistics":
        FeatureStatistics.of(torch.randn(9, 3), "test").save(path)
    elif name == "checkpoint":
        moments = {"bias|step": torch.tensor(2.0), "bias|exp_avg": torch.randn(3), "bias|exp_avg_sq": torch.rand(3)}
        save_checkpoint(path, [TrainedMember({"bias": torch.randn(3)}, moments, (1.0, 0.5))], FACTS)
    else:
        shutil.copy(network.FOLDER / f"{name}.safetensors", path)


def load_weights(path: Path) -> dict[str, torch.Tensor]:
    folder, network.FOLDER = network.FOLDER, path.parent
    try:
        return network.read_weights()
    finally:
        network.FOLDER = folder


LOADERS = {
    "diagonal": (Laplace.load, laplace),
    "kronecker": (Laplace.load, laplace),
    "ensemble": (EnsembleParameters.load, ensemble),
    "calibration": (Calibration.load, calibration),
    "thresholds": (StepThresholds.load, thresholds),
    "uncertainty": (Uncertainty.load, uncertainty),
    "statistics": (FeatureStatistics.load, statistics),
    "checkpoint": (lambda path: load_checkpoint(path, FACTS), checkpoint),
    "extractor": (load_extractor, extractor),
    "reference": (load_reference, reference),
    "model": (load_weights, weights),
}
VALUES = [
    None,
    True,
    -1,
    0,
    0.5,
    1e300,
    -1e-9,
    math.nan,
    math.inf,
    -math.inf,
    2**70,
    "",
    "x",
    "high_is_bad",
    [],
    [1],
    {},
    {"a": 1},
    [[1.0], None],
]
NUMBERS = [math.nan, math.inf, -math.inf, -1.0, -1e-3, 1e30, 0.0]
TYPES = [
    torch.bool,
    torch.uint8,
    torch.int64,
    torch.float16,
    torch.bfloat16,
    torch.float64,
    torch.float8_e4m3fn,
    torch.uint32,
    torch.complex64,
]


def flip_bytes(path: Path, dice: random.Random) -> None:
    data = bytearray(path.read_bytes())
    header = 8 + int.from_bytes(data[:8], "little")
    for _ in range(dice.choice([1, 1, 3, 20])):
        data[dice.randrange(dice.choice([8, header, len(data)]))] = dice.randrange(256)
    path.write_bytes(data)


def cut(path: Path, dice: random.Random) -> None:
    data = path.read_bytes()
    end = dice.randrange(len(data))
    path.write_bytes(data[:end] if dice.random() < 0.7 else data + data[:end])


def replace_tensor(path: Path, dice: random.Random) -> None:
    with safe_open(path, framework="pt") as file:
        header, tensors = file.metadata(), {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    name = dice.choice(sorted(tensors))
    tensor, way = tensors[name], dice.randrange(6)
    if way == 0:
        start, end = dice.randrange(max(tensor.numel(), 1)), dice.randrange(1, tensor.numel() + 2)
        tensor.view(-1)[start:end] = torch.tensor(dice.choice(NUMBERS)).to(tensor.dtype)
    elif way == 1:
        tensors[name] = tensor.to(dice.choice(TYPES))
    elif way == 2:
        tensors[name] = dice.choice([tensor[None], tensor.flatten(), tensor.flatten()[:0], tensor.flatten()[0].clone(), torch.zeros(0, 3)])
    elif way == 3:
        del tensors[name]
    elif way == 4:
        tensors[dice.choice(["", "x", "7.table", "-1.table", "0.", "9|moments|bias|step", name + "x"])] = tensor.clone()
    else:
        tensors[name] = -tensor if tensor.is_floating_point() else tensor - 3 if tensor.dtype is torch.int64 else tensor
    save_file({n: t.contiguous() for n, t in tensors.items()}, path, header)


def replace_header(path: Path, dice: random.Random) -> None:
    with safe_open(path, framework="pt") as file:
        header, tensors = file.metadata() or {}, {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    content = json.loads(header.get("metadata", "{}"))
    spots, waiting = [], [content]
    while waiting:
        level = waiting.pop()
        for key in list(level) if isinstance(level, dict) else range(len(level)):
            spots.append((level, key))
            if isinstance(level[key], (dict, list)):
                waiting.append(level[key])
    if spots and dice.random() < 0.85:
        level, key = dice.choice(spots)
        if dice.random() < 0.2:
            del level[key]
        else:
            level[key] = dice.choice(VALUES)
        header["metadata"] = json.dumps(content)
    elif header:
        header[dice.choice(sorted(header))] = dice.choice(["", "x", "[]", "null", "-1", "0", "1e9", "[" * 10**5, "{}", "NaN"])
    save_file(tensors, path, header)


WAYS = [flip_bytes, cut, replace_tensor, replace_header]


@pytest.mark.parametrize("name", LOADERS)
def test_a_damaged_file_is_a_sentence_or_valid_values(tmp_path, name):
    load, valid = LOADERS[name]
    whole, path = tmp_path / "whole", tmp_path / "model.safetensors"
    save_whole(name, whole)
    shutil.copy(whole, path)
    assert valid(load(path)), "the file as it was saved"
    dice, refused = random.Random(name), 0
    rounds = 100 if whole.stat().st_size < 10**6 else 24
    for i in range(rounds):
        shutil.copy(whole, path)
        WAYS[i % len(WAYS)](path, dice)
        try:
            loaded = load(path)
        except (OSError, ValueError) as error:
            refused += 1
            assert str(path) in str(error) and str(error).endswith("."), error  # noqa: PT017 - either way out is right
        else:
            assert valid(loaded), f"{WAYS[i % len(WAYS)].__name__}, round {i}: a value that cannot be"
    assert refused >= rounds / 4


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0])
def test_squares_that_no_gradients_add_up_to_are_named(tmp_path, value):
    squares = torch.rand(2, 4).double()
    squares[1, 2] = value
    Laplace(IDENTITY, Diagonal(squares), LaplaceOptions(), 8).save(tmp_path / "x")
    with pytest.raises(ValueError, match=rf"'.*x' is not a whole .* \(squares must be finite numbers of at least 0, got {value:g}\)"):
        Laplace.load(tmp_path / "x")
