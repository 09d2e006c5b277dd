"""One call of a diffusers network, taken apart so that it can be repeated on other noise."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from inspect import Signature
from typing import Any

import torch
from torch import Tensor, nn

from ...core.denoiser import x0_from_output
from .space import Space

UNBATCHED = {"img_ids", "txt_ids"}  # Flux: positions, one set for the whole batch
REVERSED = ("Lumina",)  # networks that count time from noise to image and predict the opposite of the velocity


@dataclass(frozen=True)
class Call:
    """Noisy input, timestep, and everything else that the network is conditioned on.

    x: (B, C, ...) what is denoised. beside: further input channels, (B, K, ...) such as inpainting's mask and masked image.
    timestep: scalar or (B,). cond: the other inputs by name. x_name: what the network calls x.
    """

    network: nn.Module
    space: Space
    x: Tensor
    timestep: Tensor
    cond: dict[str, Any]
    x_name: str
    beside: Tensor | None = None

    @classmethod
    def bind(
        cls, network: nn.Module, space: Space, signature: Signature, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor
    ) -> Call:
        """From the arguments and the first output of a forward pass. signature: of the network, ``signature_of``, which is slow to read."""
        named = dict(signature.bind(*args, **kwargs).arguments)
        x_name = input_name(network, signature)
        x = named.pop(x_name)
        named.pop("return_dict", None)
        timestep = torch.as_tensor(named.pop("timestep"), device=x.device)
        channels = min(x.shape[1], output.shape[1])
        beside = x[:, channels:] if x.shape[1] > channels else None
        return cls(network, space, x[:, :channels], timestep, named, x_name, beside)

    def rows(self, part: slice | Tensor) -> Call:
        """The same call for some rows of its batch; part: a slice, or their indexes."""
        return self._changed(lambda v: v[part])

    def tiled(self, times: int) -> Call:
        """The same call for ``times`` copies of its batch, in the order (M, B)."""
        return self._changed(lambda v: v.repeat(times, *[1] * (v.ndim - 1)))

    def _changed(self, change: Callable[[Tensor], Tensor]) -> Call:
        batch = self.x.shape[0]
        values = {"x": self.x, "timestep": self.timestep, "cond": self.cond, "beside": self.beside}
        return replace(self, **map_tensors(values, lambda v: change(v) if v.ndim and v.shape[0] == batch else v))

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        """The contract of ``core.denoiser``, at this call's noise level and conditions."""
        return self.x0(self.output(x), x, sigma)

    def output(self, x: Tensor) -> Tensor:
        """The network's own output for whole copies of this call's batch, x (M * B, C, ...)."""
        call = self.tiled(x.shape[0] // self.x.shape[0])
        fed = x.to(self.x.dtype)
        fed = fed if call.beside is None else torch.cat([fed, call.beside], dim=1)
        inputs = {self.x_name: fed, "timestep": call.timestep, **call.cond}
        # forward, not __call__: the extra passes must not meet our own hook
        return self.network.forward(**inputs, return_dict=False)[0]

    def x0(self, output: Tensor, x: Tensor, sigma: Tensor) -> Tensor:
        """The clean sample behind a network output, float32; a learned variance in further channels is left out."""
        output = output[:, : x.shape[1]].float()
        if output.shape != x.shape:
            raise ValueError(
                f"{type(self.network).__name__} turns {tuple(x.shape)} into {tuple(output.shape)}: its input holds more than the "
                "noisy sample, in a way that is not supported; use the plain pipeline of this model."
            )
        return x0_from_output(output, x.float(), sigma, self.space.process, self.space.prediction)


def original(network: nn.Module) -> nn.Module:
    """The network behind torch.compile's wrapper, which hides its name and its inputs."""
    return getattr(network, "_orig_mod", network)


def signature_of(network: nn.Module) -> Signature:
    return inspect.signature(original(network).forward)


def input_name(network: nn.Module, signature: Signature) -> str:
    """What the network calls its noisy input. Raises ValueError for one that is not understood."""
    kind, names = type(original(network)).__name__, signature.parameters
    if "timestep" in names and not kind.startswith(REVERSED):
        for name in ("sample", "hidden_states"):
            if name in names:
                return name
    raise ValueError(f"{kind} is called in a way that is not supported; use a UNet, SD3 or Flux model.")


def map_tensors(values: Any, change: Callable[[Tensor], Tensor], name: str = "") -> Any:
    """``change`` applied to every tensor in nested dicts, lists and tuples, but for those that carry no batch."""
    if isinstance(values, dict):
        return {key: map_tensors(value, change, key) for key, value in values.items()}
    if isinstance(values, (list, tuple)):
        return [map_tensors(value, change, name) for value in values]
    return change(values) if isinstance(values, Tensor) and name not in UNBATCHED else values
