"""diffusers host: the last-layer Laplace posterior of any denoising network, fitted by the network's own training loss."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from diffusers import SchedulerMixin
from torch import Tensor, nn

from ....core.last_layer import fit as laplace_fit
from ....core.last_layer.fit import Training
from ....core.last_layer.laplace import Laplace
from ....core.options import LaplaceOptions
from ..attach import call_at
from ..information import Cond
from ..repeatable import check_repeatable
from ..space import Space


def network_training(network: nn.Module, scheduler: SchedulerMixin) -> Training:
    """How a diffusers network was trained, as its scheduler tells: prediction type, process, and every level of its noise schedule.

    cond of the fit: the network's other inputs by name, with the batch of the samples, such as {"class_labels": ...}.
    Flow models: levels evenly over the shifted line, whatever density they were trained with.
    Raises ValueError for a network or scheduler that is not understood.
    """
    check_repeatable(network)
    space = Space.of(scheduler)

    def predict(x: Tensor, sigma: Tensor, cond: Cond) -> Tensor:
        return call_at(network, space, x.shape, sigma, cond).output(x)

    return Training(predict, space.process, space.prediction, space.training_levels())


def fit_laplace(
    network: nn.Module,
    scheduler: SchedulerMixin,
    data: Iterable[tuple[Tensor, Cond]],
    options: LaplaceOptions | None = None,
    layer: str = "",
    resume: Laplace | None = None,
    progress: Callable[[Laplace], Any] | None = None,
) -> Laplace:
    """``core.last_layer.fit.fit_last_layer`` by the network's own training loss.

    data: batches of clean latents (B, C, ...) and their conditions.

    Raises what that and ``network_training`` raise.
    """
    return laplace_fit.fit_last_layer(network, network_training(network, scheduler), data, options, layer, resume, progress)
