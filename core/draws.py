"""Noise draws: seeded by us alone, the same for every image of a batch, evaluated in micro-batches."""

from __future__ import annotations

import logging
import re
from contextlib import suppress

import torch
from einops import rearrange
from torch import Tensor

from .denoiser import Denoiser
from .options import DrawOptions

log = logging.getLogger(__name__)
OUT_OF_MEMORY = re.compile("out of memory|DefaultCPUAllocator|could not (create|execute) a primitive$", re.IGNORECASE)


def step_generator(seed: int, step: int) -> torch.Generator:
    """A CPU generator for one step of one run: same seed and step, same numbers, on every device; the global state is untouched."""
    mixed = (seed + 0x9E3779B97F4A7C15 * (step + 1)) & 0xFFFFFFFFFFFFFFFF  # Weyl sequence: consecutive steps and seeds don't collide
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF  # splitmix64 (Steele et al. 2014)
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return torch.Generator("cpu").manual_seed(mixed ^ (mixed >> 31))


def noise(options: DrawOptions, step: int, like: Tensor) -> Tensor:
    """z_i ~ N(0, I), i = 1..M, for one step: (M, 1, C, ...) float32 on like's device, ``like`` being (B, C, ...).

    All images of a batch share the draws (common random numbers): an image's score then cannot depend on its
    neighbours or its place, and two images differ by what they are, not by their luck.
    antithetic: z_2 = -z_1, z_4 = -z_3, ...
    """
    count = (options.samples + 1) // 2 if options.antithetic else options.samples
    z = torch.randn((count, 1, *like.shape[1:]), generator=step_generator(options.seed, step))
    if options.antithetic:
        z = torch.stack([z, -z], dim=1).flatten(0, 1)[: options.samples]
    return z.to(like.device)


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether memory ran out: by torch's own error, or by that of a driver which allocates itself (cudaMallocAsync, which ComfyUI
    chooses, tells it as torch.AcceleratorError with code 2 or as text), by MPS, by torch's allocator for processors or by oneDNN.
    """
    if isinstance(error, torch.cuda.OutOfMemoryError):
        return True
    if getattr(error, "error_code", None) != 2 and not OUT_OF_MEMORY.search(str(error)):
        return False
    if torch.cuda.is_available():
        with suppress(RuntimeError):  # the driver tells it once more at its next work
            torch.zeros(1, device="cuda").add_(1)
            torch.cuda.synchronize()
    return True


def evaluate(denoise: Denoiser, x: Tensor, sigma: Tensor, dtype: torch.dtype, micro_batch: int = 1) -> Tensor:
    """denoise each of M draws of B images: x (M, B, C, ...), sigma (B,) -> x0 (M, B, C, ...), float32.

    ``micro_batch`` draws share one call, all of them for 0, flattened in the order (M, B). dtype: what the denoiser is fed.
    Out of memory with several draws in a call: half as many for the rest of this evaluation, with a warning, down to one.
    Raises ValueError when the denoiser returns another shape than it was given.
    """
    done: list[Tensor] = []
    micro_batch = micro_batch or x.shape[0]
    while (i := sum(len(d) for d in done)) < x.shape[0]:
        part = x[i : i + micro_batch]
        rows = rearrange(part, "m b ... -> (m b) ...").to(dtype)
        try:
            x0 = denoise(rows, sigma.repeat(len(part)))
        except RuntimeError as error:
            if len(part) == 1 or not is_out_of_memory(error):
                raise
            micro_batch = len(part) // 2
            log.warning("Out of memory in the uncertainty passes: going on with %d draws per call.", micro_batch)
            continue
        if x0.shape != rows.shape:
            raise ValueError(f"The denoiser must return the shape it is given, {tuple(rows.shape)}, got {tuple(x0.shape)}.")
        done.append(rearrange(x0.float(), "(m b) ... -> m b ...", m=len(part)))
    return torch.cat(done)
