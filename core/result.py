"""Uncertainty: what every estimator returns, every consumer reads, and a file keeps."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from .files import load_tensors, save_tensors
from .options import Direction, Pooling
from .values import check_names, check_number, check_tensor, check_text, check_texts, intact

KIND = "uncertainty"
VERSION = 1
FAILED = "failed"  # the entry of a provenance that names images without a score
UPPER_TAIL_FRACTION = 0.05
VARIANCES = ("bayesdiff", "condition_gap", "denoised", "mc_dropout", "noise", "trajectory")  # quantities that cannot be negative
BAD_WHERE_HIGH = ("condition_gap",)  # measured: low is bad among images, and yet in an image the errors are where it is high


@dataclass(frozen=True, eq=False)  # tensors have no single truth value to compare by
class Uncertainty:
    """Uncertainty of B images.

    maps: (B, C, ...) float32 in the latent's layout.      scores: (B,) float32.
    curve: (S, B) the pooled score at each measured step.   sigmas: (S,) noise level of those steps.
    direction: which end of the score is bad.               quantity: its name.
    nfe: network evaluations per image that it cost.        seconds: the time that it cost, for the whole batch.
    provenance: how it was made, in words; FAILED names the images without a score.
    further: what other scores said of the images at the same moment, (B,) by name; not kept in a file.
    An image whose score is not finite, at any step, failed: its score is NaN, it ranks worst, and no filter accepts it.
    Raises ValueError when the shapes disagree.
    """

    maps: Tensor
    scores: Tensor
    curve: Tensor
    sigmas: Tensor
    direction: Direction
    quantity: str
    nfe: float
    seconds: float
    provenance: dict[str, str] = field(default_factory=dict)
    further: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        batch = self.scores.shape[0] if self.scores.ndim == 1 else -1
        fits = batch >= 0 and self.maps.ndim >= 2 and self.maps.shape[0] == batch
        if not fits or self.sigmas.ndim != 1 or self.curve.shape != (len(self.sigmas), batch):
            shapes = ", ".join(f"{name} {tuple(getattr(self, name).shape)}" for name in ("maps", "scores", "curve", "sigmas"))
            raise ValueError(f"maps, scores, curve and sigmas must describe one batch over the same steps, got {shapes}.")
        usable = self.scores.isfinite() & self.curve.isfinite().all(dim=0).to(self.scores.device)
        provenance = {name: text for name, text in self.provenance.items() if name != FAILED}
        if not bool(usable.all()):
            object.__setattr__(self, "scores", torch.where(usable, self.scores, math.nan))
            provenance[FAILED] = name_failed((~usable).nonzero().flatten().tolist(), batch)
        object.__setattr__(self, "provenance", provenance)

    def __len__(self) -> int:
        return self.scores.shape[0]

    @property
    def badness(self) -> Tensor:
        """(B,) the score turned so that high is bad, whatever the quantity."""
        return self.scores if self.direction is Direction.HIGH_IS_BAD else -self.scores

    @property
    def bad_maps(self) -> Tensor:
        """(B, C, ...) the map turned so that high is bad."""
        return self.maps if self.map_direction is Direction.HIGH_IS_BAD else -self.maps

    @property
    def map_direction(self) -> Direction:
        """Which end of the map is bad within an image: the score's, but for the quantities of BAD_WHERE_HIGH."""
        return Direction.HIGH_IS_BAD if self.quantity in BAD_WHERE_HIGH else self.direction

    def select(self, indexes: Sequence[int]) -> Uncertainty:
        """The same result for some of its images, in the order given."""
        index = torch.as_tensor(list(indexes), dtype=torch.long, device=self.scores.device)
        further = {name: values[index.to(values.device)] for name, values in self.further.items()}
        return replace(self, maps=self.maps[index], scores=self.scores[index], curve=self.curve[:, index], further=further)

    def cpu(self) -> Uncertainty:
        further = {name: values.cpu() for name, values in self.further.items()}
        moved = {name: getattr(self, name).cpu() for name in ("maps", "scores", "curve", "sigmas")}
        return replace(self, **moved, further=further)

    def save(self, path: str | Path) -> None:
        """Write as safetensors; raises OSError when the file cannot be written."""
        measured = {"maps": self.maps, "scores": self.scores, "curve": self.curve}
        tensors = {name: torch.where(values.isfinite(), values, math.nan) for name, values in measured.items()} | {"sigmas": self.sigmas}
        metadata = {
            "direction": self.direction.value,
            "quantity": self.quantity,
            "nfe": self.nfe,
            "seconds": self.seconds,
            "provenance": self.provenance,
        }
        save_tensors(path, tensors, KIND, VERSION, metadata)

    @classmethod
    def load(cls, path: str | Path) -> Uncertainty:
        """Read what ``save`` wrote. Raises FileNotFoundError, or ValueError for a truncated, foreign or damaged file."""
        tensors, m = load_tensors(path, KIND, VERSION)
        with intact(path, KIND):
            check_names("tensors", tensors, ("maps", "scores", "curve", "sigmas"))
            check_names("facts", m, ("direction", "quantity", "nfe", "seconds", "provenance"))
            quantity, direction = check_text("quantity", m["quantity"]), Direction(m["direction"])
            low = 0.0 if quantity in VARIANCES else -math.inf
            maps, scores, curve = (check_tensor(name, tensors[name], low=low, missing=True) for name in ("maps", "scores", "curve"))
            return cls(
                maps=maps.float(),
                scores=scores.float(),
                curve=curve.float(),
                sigmas=check_tensor("sigmas", tensors["sigmas"], low=0).float(),
                direction=direction,
                quantity=quantity,
                nfe=check_number("nfe", m["nfe"], 0),
                seconds=check_number("seconds", m["seconds"], 0),
                provenance=check_texts("provenance", m["provenance"]),
            )


def name_failed(images: Sequence[int], batch: int) -> str:
    """One line for the images, counted from 0, of a batch that have no score."""
    if batch == 1:
        return "The image failed: the model gave values that are not finite (NaN). It has no score and is rejected."
    numbers = ", ".join(str(image + 1) for image in images)
    have, rank, are = ("Image", "ranks", "is") if len(images) == 1 else ("Images", "rank", "are")
    score = "It has no score" if len(images) == 1 else "They have no score"
    return f"{have} {numbers} of {batch} failed: the model gave values that are not finite (NaN). {score}, {rank} worst and {are} rejected."


def pool(maps: Tensor, pooling: Pooling) -> Tensor:
    """One number per image of a map (B, C, ...): sum, mean, or mean of the highest 5 % of pixels -> (B,)."""
    flat = maps.flatten(1)
    if pooling is Pooling.SUM:
        return flat.sum(dim=1)
    if pooling is Pooling.MEAN:
        return flat.mean(dim=1)
    keep = max(1, round(UPPER_TAIL_FRACTION * flat.shape[1]))
    return flat.topk(keep, dim=1).values.mean(dim=1)


def clock(like: Tensor) -> float:
    """Seconds, once the device of ``like`` has done what was queued: what a sampler queued before is not our time."""
    if like.is_cuda:
        torch.cuda.synchronize(like.device)
    return time.perf_counter()


def concatenate(results: Sequence[Uncertainty]) -> Uncertainty:
    """Results of several batches, made in the same way, as one. NFE per image is their mean by size, seconds add up.

    Raises ValueError when there is none, or when direction, quantity, shape or steps differ.
    """
    if not results:
        raise ValueError("There is no result to join: give at least one.")
    first = results[0]
    for other in results[1:]:
        same = (other.direction, other.quantity, other.maps.shape[1:], len(other.sigmas))
        alike = same == (first.direction, first.quantity, first.maps.shape[1:], len(first.sigmas))
        if not alike or not torch.allclose(other.sigmas, first.sigmas.to(other.sigmas), rtol=1e-4):
            raise ValueError("Results can only be joined when direction, quantity, map size and steps agree; score them the same way.")
    count = sum(len(r) for r in results)
    return replace(
        first,
        maps=torch.cat([r.maps for r in results]),
        scores=torch.cat([r.scores for r in results]),
        curve=torch.cat([r.curve for r in results], dim=1),
        nfe=sum(r.nfe * len(r) for r in results) / max(count, 1),
        seconds=sum(r.seconds for r in results),
    )
