"""MC dropout: the spread of a network's predictions when units are dropped as in training (Gal & Ghahramani 2016)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import TypeAlias

import torch
from torch import Tensor, nn

from ..denoiser import CountedDenoiser, Denoiser, Process, add_noise, check_latents, check_step, eps_from_x0
from ..draws import evaluate, noise, step_generator
from ..options import AleatoricOptions, DropoutOptions, Quantity
from ..result import Uncertainty, clock
from .aleatoric import Recorder, Spread

QUANTITY = "mc_dropout"
BY_UNIT = (nn.Dropout,)
BY_CHANNEL = (nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
Dropout: TypeAlias = nn.Dropout | nn.Dropout1d | nn.Dropout2d | nn.Dropout3d


def dropout_layers(network: nn.Module) -> list[Dropout]:
    """The dropout layers that drop anything, p > 0. Raises ValueError when there is none: nothing would vary."""
    layers = [m for m in network.modules() if isinstance(m, BY_UNIT + BY_CHANNEL) and m.p > 0]
    if not layers:
        raise ValueError(
            f"{type(network).__name__} has no dropout layer with p above 0, so MC dropout cannot vary it; "
            "choose another estimator, or a network that was trained with dropout."
        )
    return layers


@contextmanager
def dropping(network: nn.Module, generator: torch.Generator) -> Iterator[None]:
    """Dropout on, everything else in eval mode, inside the block; modes and hooks are as before on every exit.

    Masks come from ``generator``, one for all rows of a call, as if the weights had been drawn: no image's score depends on its
    neighbours, and the host's random state is untouched. Raises ValueError for a network without dropout.
    """
    layers = dropout_layers(network)
    modes = [(module, module.training) for module in network.modules()]

    def drop(p: float, layer: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        shape = output.shape[1:2] + (1,) * (output.ndim - 2) if isinstance(layer, BY_CHANNEL) else output.shape[1:]
        keep = torch.rand(shape, generator=generator) >= p
        return output * (keep / max(1 - p, 1e-12)).to(output)  # the layer itself, in eval mode, passes its input on

    with ExitStack() as undo:
        for module, mode in modes:
            undo.callback(setattr, module, "training", mode)
        network.eval()
        for layer in layers:
            undo.callback(layer.register_forward_hook(partial(drop, layer.p)).remove)
        yield


def estimate_dropout_step(
    network: nn.Module, denoise: Denoiser, x: Tensor, sigma: Tensor, process: Process, options: DropoutOptions, step: int
) -> Spread:
    """Var_i(x0_i) and Var_i(eps_i) of M passes at the same sample x, each with other units dropped; both high = unsure.

    denoise must run ``network``. x: (B, C, ...); sigma: (B,) or scalar, > 0; step selects the masks. Costs M evaluations per image.
    Raises ValueError for a network without dropout, and what ``core.pixelwise.aleatoric.estimate_aleatoric_step`` refuses.
    Source: Gal & Ghahramani 2016, section 4, without the constant 1 / tau.
    """
    sigma = check_step(x, x, sigma)
    generator = step_generator(options.draws.seed, step)
    with dropping(network, generator):
        x0 = torch.stack([evaluate(denoise, x[None].float(), sigma, x.dtype)[0] for _ in range(options.draws.samples)])
    eps = torch.stack([eps_from_x0(x.float(), d, sigma, process) for d in x0])
    return Spread(x0.var(dim=0), eps.var(dim=0))


def recorder(options: DropoutOptions, process: Process) -> Recorder:
    """What gathers the steps of one run; give its ``result`` to ``finish``."""
    return Recorder(AleatoricOptions(draws=options.draws, window=options.window, pooling=options.pooling), process)


def measure_dropout_step(
    record: Recorder, network: nn.Module, denoise: Denoiser, x: Tensor, sigma: Tensor, options: DropoutOptions, step: int, passes: int = 1
) -> Spread:
    """``estimate_dropout_step``, recorded. passes: network passes behind one evaluation (2 under classifier-free guidance)."""
    start = clock(x)
    counted = CountedDenoiser(denoise, passes)
    spread = estimate_dropout_step(network, counted, x, sigma, record.process, options, step)
    record.add(spread, float(torch.as_tensor(sigma).max()), counted.rows / x.shape[0], clock(x) - start)
    return spread


def finish(record: Recorder) -> Uncertainty:
    """The result of a run, from the spread of the denoised predictions; high = bad. Raises ValueError when no step was measured."""
    result = record.result({"method": "mc dropout"}, Quantity.DENOISED)
    provenance = {name: text for name, text in result.provenance.items() if name not in ("center", "antithetic")}
    return replace(result, quantity=QUANTITY, provenance=provenance)


def estimate_dropout(
    network: nn.Module,
    denoise: Denoiser,
    latents: Tensor,
    sigmas: Sequence[float],
    process: Process,
    options: DropoutOptions | None = None,
    passes: int = 1,
) -> Uncertainty:
    """Score finished samples (B, C, ...): re-noised to each level once, then M passes there. NFE: M per level.

    Raises ValueError for a network without dropout, an empty list of levels.
    """
    if len(sigmas) == 0:
        raise ValueError("sigmas is empty: give at least one noise level.")
    check_latents(latents)
    options = options or DropoutOptions()
    record = recorder(options, process)
    for step, sigma in enumerate(sigmas):
        level = latents.new_full((latents.shape[0],), sigma, dtype=torch.float32)
        x = add_noise(latents.float(), noise(options.draws, step, latents)[0], level, process)
        measure_dropout_step(record, network, denoise, x.to(latents.dtype), level, options, step, passes)
    return finish(record)
