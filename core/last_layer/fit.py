"""Fitting the last-layer Laplace posterior: one stream of training samples through the network, in constant memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Any

import torch
from torch import Tensor, nn

from ..denoiser import Prediction, Process, add_noise, expand
from ..draws import step_generator
from ..options import LaplaceOptions
from .find import Identity, find_last_layer, get_layer
from .laplace import CURVATURES, Laplace
from .layer_algebra import Layer
from .layer_tap import tap_layer


@dataclass(frozen=True, eq=False)
class Training:
    """How the network was trained: loss = |predict(alpha x0 + sigma n, sigma, cond) - target|^2, summed over a sample's outputs.

    predict: (x (B, C, ...) float32, sigma (B,), cond) -> the network's own output (B, C or more, ...), in the coordinates of
        ``process``; of further channels (a learned variance) this loss trains only the first C.
    levels: (T,) the noise levels of training, one drawn evenly for each sample; a density is given by its quantiles.
    Raises ValueError for levels that are empty, not above 0 or not finite, and for v-prediction outside VP coordinates.
    """

    predict: Callable[[Tensor, Tensor, Any], Tensor]
    process: Process
    prediction: Prediction
    levels: Tensor

    def __post_init__(self) -> None:
        if self.levels.ndim != 1 or len(self.levels) == 0 or not bool(((self.levels > 0) & self.levels.isfinite()).all()):
            raise ValueError(f"levels must be a list of noise levels above 0 and finite, got {self.levels.tolist()}.")
        if self.prediction is Prediction.V and self.process is not Process.VP:
            raise ValueError(f"v-prediction is defined in VP coordinates, got process {self.process.value!r}; convert x and sigma.")

    def target(self, x0: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
        """What the network was to say: n, x0, n - x0, or alpha n - sigma x0 (Salimans & Ho 2022). Shapes (B, C, ...), sigma (B,)."""
        if self.prediction is Prediction.EPS:
            return noise
        if self.prediction is Prediction.X0:
            return x0
        if self.prediction is Prediction.FLOW:
            return noise - x0
        s = expand(sigma, x0)
        return self.process.alpha(s) * noise - s * x0


def draw(clean: Tensor, levels: Tensor, options: LaplaceOptions, first: int, repeat: int) -> tuple[Tensor, Tensor]:
    """A noise level (B,) and noise (B, C, ...) for each clean sample (B, C, ...), of which the first is number ``first`` of the stream.

    Seeded by a sample's place in the stream, not in the batch: batch size changes nothing, and a fit can be gone on with.
    """
    generators = [step_generator(options.seed, index * options.draws + repeat) for index in range(first, first + len(clean))]
    sigma = torch.stack([levels[int(torch.randint(len(levels), (), generator=g))] for g in generators])
    noise = torch.stack([torch.randn(clean.shape[1:], generator=g) for g in generators])
    return sigma.float().to(clean.device), noise.to(clean.device)


class SampleNotFinite(ValueError):
    """A training sample that can't be learned from. index: its place among the samples, from 0."""

    def __init__(self, index: int) -> None:
        super().__init__(f"Training sample {index} gives NaN or infinite values in the last layer; leave it out, or use float32.")
        self.index = index


def fit_last_layer(
    network: nn.Module,
    training: Training,
    data: Iterable[tuple[Tensor, Any]],
    options: LaplaceOptions | None = None,
    layer: str = "",
    resume: Laplace | None = None,
    progress: Callable[[Laplace], None] | None = None,
) -> Laplace:
    """Sums of the last layer's gradients, squared or Kronecker-factored, over a stream of batches (clean (B, C, ...), cond).

    The network, best in eval mode, runs forward only and without a graph: autograd starts at the last layer's output, and the
    gradient for its weights is a closed form of that. Cost: options.draws passes a sample; memory: that of one batch.
    layer: its name; found by ``find_last_layer`` when left out.
    resume: an earlier fit over the start of the same stream, in the same batches; the samples that it has seen are passed over.
    progress: given the fit so far after every batch, whole, to save or to go on from; it may raise to stop.
    Raises ValueError for fewer than two samples, a layer that is not the last, a ``resume`` of another fit;
    SampleNotFinite for one that gives NaN or infinite values.
    """
    options = options or LaplaceOptions()
    stream = iter(data)
    head = list(islice(stream, 1))
    if not head:
        raise ValueError("A Laplace fit needs at least 2 training samples, got none; give it images.")
    fitted = start_fit(network, training, *head[0], options, layer) if resume is None else resume_fit(resume, network, options)
    module, position = get_layer(network, fitted.identity.name), 0
    for clean, cond in chain(head, stream):
        if position < fitted.samples < position + len(clean):
            raise ValueError(
                f"The earlier fit ended after sample {fitted.samples}, inside this batch; go on with batches of the same size."
            )
        if position == fitted.samples:
            fitted = add_batch(fitted, module, training, clean, cond)
            if progress is not None:
                progress(fitted)
        position += len(clean)
    if fitted.samples < 2:
        raise ValueError(f"A Laplace fit needs at least 2 training samples, got {fitted.samples}; give it more images.")
    return fitted


def start_fit(network: nn.Module, training: Training, clean: Tensor, cond: Any, options: LaplaceOptions, layer: str) -> Laplace:
    """A fit that has seen nothing; the first batch serves to find the last layer, should no name be known."""
    sigma, noise = draw(clean, training.levels, options, 0, 0)
    x = add_noise(clean.float(), noise, sigma, training.process)
    name = find_last_layer(network, layer, lambda: training.predict(x, sigma, cond))
    return Laplace(Identity.of(network, name), CURVATURES[options.covariance].zero(get_layer(network, name)), options, 0)


def resume_fit(earlier: Laplace, network: nn.Module, options: LaplaceOptions) -> Laplace:
    """An earlier fit to go on with; prior and noise variance may be new. Raises ValueError for another model or other draws."""
    earlier.identity.check(network)
    for name in ("covariance", "draws", "seed"):
        before, now = getattr(earlier.options, name), getattr(options, name)
        if before != now:
            raise ValueError(f"A fit can only be gone on with as it began: {name} was {before!r}, got {now!r}.")
    return replace(earlier, options=options)


def add_batch(fitted: Laplace, layer: Layer, training: Training, clean: Tensor, cond: Any) -> Laplace:
    """The fit with one batch more. Raises SampleNotFinite for NaN or infinite values."""
    curvature = fitted.curvature
    for repeat in range(fitted.options.draws):
        features, gradient = gradients(layer, training, clean, cond, *draw(clean, training.levels, fitted.options, fitted.samples, repeat))
        finite = features.flatten(1).isfinite().all(dim=1) & gradient.flatten(1).isfinite().all(dim=1)
        if not bool(finite.all()):
            raise SampleNotFinite(fitted.samples + int((~finite).nonzero()[0]))
        curvature = curvature.add(layer, features, gradient)
    return replace(fitted, curvature=curvature, samples=fitted.samples + len(clean))


def gradients(layer: Layer, training: Training, clean: Tensor, cond: Any, sigma: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """The layer's input (B, ...) and the gradient of each sample's loss for its output (B, ...); samples do not meet, so one call does.

    Raises ValueError when the output does not fit the sample, or the layer's batch is another.
    """
    x0 = clean.float()
    x, target = add_noise(x0, noise, sigma, training.process), training.target(x0, noise, sigma)
    with tap_layer(layer, lambda: training.predict(x, sigma, cond)) as tap:
        if tap.output.shape[0] != len(x0) or tap.output.shape[2:] != x0.shape[2:] or tap.output.shape[1] < x0.shape[1]:
            raise ValueError(f"The network must return the shape of its input, {tuple(x0.shape)}, got {tuple(tap.output.shape)}.")
        if len(tap.features) != len(x0):
            raise ValueError(f"The last layer must see the batch of {len(x0)} as such, got {len(tap.features)} rows; name another layer.")
        loss = (tap.output[:, : x0.shape[1]].float() - target).square().sum()
        (gradient,) = torch.autograd.grad(loss, tap.leaf)
    return tap.features, gradient
