"""One layer of a running network: tapped for what goes in and out and for gradients, and lent other weights for a while."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .layer_algebra import Layer, split


@dataclass(frozen=True, eq=False)
class Tap:
    """One pass through a network, cut at a layer: what went in there, what came out, and what the network made of it.

    features: the layer's input.  leaf: its output, from which autograd starts.  output: the network's, a function of the leaf alone.
    """

    features: Tensor
    leaf: Tensor
    output: Tensor

    def carry(self, value: Tensor) -> Tensor:
        """A variance of the layer's output, taken through what the network does after it, which must only rearrange (unpatchify).

        value: the leaf's shape -> the output's shape. Raises ValueError when what follows scales, mixes or bends.
        """
        # between 1 and 4, and neighbours far apart, so that a mean of some shows
        probe = 1 + 3 * torch.frac(0.618034 * torch.arange(value.numel(), device=value.device)).view_as(value)
        pushed = self._push(probe)
        straight = torch.allclose(self._push(torch.ones_like(probe)), torch.ones_like(pushed), rtol=1e-2)
        if not straight or not torch.allclose(self._push(probe.square()), pushed.square(), rtol=1e-2):
            raise ValueError("After its last layer this network does more than rearrange, so a variance there is not the prediction's.")
        largest = value.nan_to_num(nan=0.0, posinf=0.0).max().clamp_min(1e-30)
        # half precision would lose small variances; a power of two changes no digit, so that no image depends on the largest of another
        scale = torch.ldexp(torch.ones_like(largest), torch.frexp(largest).exponent)
        return self._push(value / scale) * scale

    def _push(self, value: Tensor) -> Tensor:
        """T v for the linear map T from leaf to output: its transpose comes from autograd, and the transpose of that again."""
        with torch.inference_mode(False), torch.enable_grad():
            u = torch.zeros_like(self.output, requires_grad=True)
            (back,) = torch.autograd.grad(self.output, self.leaf, u, create_graph=True, retain_graph=True)
            (there,) = torch.autograd.grad(back, u, value.to(back.dtype), retain_graph=True)
        return there.float()


@contextmanager
def tap_layer(layer: Layer, call: Callable[[], Tensor]) -> Iterator[Tap]:
    """Runs ``call``, one pass of the network, without a graph up to ``layer`` and with one from there on; gradients are on inside.

    Works under inference mode. Raises ValueError unless the layer acts once and the output depends on it.
    """
    passes: list[tuple[Tensor, Tensor]] = []

    def cut(module: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor], output: Tensor) -> Tensor:
        torch.set_grad_enabled(True)  # until the no_grad around the pass ends
        leaf = output.detach().requires_grad_()
        passes.append((args[0] if args else kwargs["input"], leaf))
        return leaf

    with torch.inference_mode(False), torch.no_grad():
        handle = layer.register_forward_hook(cut, with_kwargs=True)
        try:
            output = call()
        finally:
            handle.remove()
        if len(passes) != 1:
            raise ValueError(f"The last layer must act once in a pass of the network, it acted {len(passes)} times; name another layer.")
        if not output.requires_grad:
            raise ValueError("The prediction does not depend on the last layer, or loses its gradient after it; name another layer.")
        with torch.enable_grad():
            yield Tap(passes[0][0].detach(), passes[0][1], output)


@contextmanager
def shifted_weights(layer: Layer, deviation: Tensor) -> Iterator[None]:
    """The layer's weights plus ``deviation`` (O, I), inside the block. On every exit the very same tensors are back, untouched."""
    trained = {"weight": layer.weight, "bias": layer.bias}
    shifts = dict(zip(trained, split(layer, deviation), strict=True))
    try:
        for name, parameter in trained.items():
            shift = shifts[name]
            if parameter is not None and shift is not None:
                setattr(layer, name, _shifted(parameter, shift))
        yield
    finally:
        for name, parameter in trained.items():
            setattr(layer, name, parameter)


def _shifted(parameter: Tensor, shift: Tensor) -> nn.Parameter:
    # added in float32 at least; a weight of one byte stays so, since a byte could not hold the shift, and its host widens it in use
    wide = torch.float64 if parameter.dtype is torch.float64 else torch.float32
    shifted = parameter.detach().to(wide) + shift.to(parameter.device, wide)
    return nn.Parameter(shifted.to(wide if parameter.dtype.itemsize == 1 else parameter.dtype), requires_grad=False)
