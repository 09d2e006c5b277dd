"""The members of an ensemble as denoisers, and the sampler that core itself has for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from ..denoiser import Denoiser, Process
from .estimate import Advance, After
from .transition import ode_step


class MemberDenoiser(Protocol):
    """``denoise(x, sigma, members) -> x0``: what each of some members predicts, in one call.

    x: (len(members) * B, C, ...) in the order (members, B), sigma: one value per row. Returns the shape of x.
    """

    def __call__(self, x: Tensor, sigma: Tensor, members: Sequence[int]) -> Tensor: ...


def one_by_one(denoisers: Sequence[Denoiser]) -> MemberDenoiser:
    """K separate denoisers as one, each run on its own rows."""

    def denoise(x: Tensor, sigma: Tensor, members: Sequence[int]) -> Tensor:
        parts = zip(members, x.chunk(len(members)), sigma.chunk(len(members)), strict=True)
        return torch.cat([denoisers[k](rows, levels) for k, rows, levels in parts])

    return denoise


def ode_sampler(
    denoise: MemberDenoiser, sigmas: Sequence[float], process: Process, passes: int = 1, dtype: torch.dtype = torch.float32
) -> Advance:
    """First-order deterministic sampling between ``sigmas`` (DDIM, Euler), for ``ensemble.estimate``. Samples are float32.

    passes: network passes behind one prediction, 2 under classifier-free guidance. dtype: what the denoiser is fed.
    """

    @torch.no_grad()
    def advance(x: Tensor, members: Sequence[int], first: int, last: int, after: After) -> tuple[Tensor, int]:
        x = x.float()
        for i in range(first, last):
            x0 = denoise(x.to(dtype), x.new_full((len(x),), sigmas[i]), members)
            after(i, x, x0)
            x = ode_step(x, x0, sigmas[i], sigmas[i + 1], process)
        return x, len(x) * (last - first) * passes

    return advance
