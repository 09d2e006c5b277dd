"""diffusers host: how many noise draws share one call of the network."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ...core.options import DrawOptions

VALUES_PER_POSITION = 0.02 * 2**20  # that a network holds at once for each latent position; ComfyUI's rule for a model it doesn't know
MARGIN = 1.5  # ComfyUI's too: free memory is never in one piece
PROCESSOR_MEMORY = 4 * 2**30  # bytes; running out there ends the program instead of raising, and larger calls gain nothing


def fit_draws(draws: DrawOptions, x: Tensor) -> DrawOptions:
    """``draws`` with a number of draws to a call: as many of the batch x (B, C, ...) as memory allows, unless it names one."""
    if draws.micro_batch:
        return draws
    of_one = x.shape[0] * latent_positions(x) * VALUES_PER_POSITION * x.element_size()
    at_once = int(free_memory(x.device) / of_one)
    return replace(draws, micro_batch=min(max(at_once, 1), draws.samples))


def latent_positions(x: Tensor) -> int:
    """Latent positions of one sample: the pixels of (B, C, ...), or four to each token of packed latents (B, L, D) as Flux has them."""
    return 4 * x.shape[1] if x.ndim == 3 else x[0, 0].numel()


def free_memory(device: torch.device) -> float:
    """Bytes that a call may take on a device."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        reserved = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # torch's own, but not in use
        return (free + reserved) / MARGIN
    if device.type == "mps":
        return (torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()) / MARGIN
    return PROCESSOR_MEMORY
