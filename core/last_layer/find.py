"""The last layer of a network that has weights: found, and told apart from every other model's."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from torch import nn

from ..values import check_text
from .layer_algebra import LAYERS, Layer

log = logging.getLogger(__name__)

KNOWN_NAMES = (
    "conv_out",  # UNets of diffusers, and the original DDPM
    "out.2",  # UNets after ADM, ComfyUI's Stable Diffusion
    "decoder_pred",  # U-ViT: not the small convolution after it, which holds next to nothing
    "final_layer.linear",  # DiT, MMDiT, Flux in their own code and in ComfyUI
    "proj_out_2",  # DiT of diffusers: its proj_out_1 makes a scale and a shift
    "proj_out",  # SD3, Flux, PixArt, LTX of diffusers
    "head.head",  # Wan
    "final_linear",  # AuraFlow
)


def find_last_layer(network: nn.Module, name: str = "", run: Callable[[], object] | None = None) -> str:
    """The name of the last convolution or linear layer, by a name that is known, else the last to act in one forward pass.

    name: taken instead, where given.  run: makes one pass of the network. Logs what was taken.
    Raises ValueError when the name leads to no such layer, or when nothing is known and ``run`` is not given.
    """
    if name:
        chosen = name
    else:
        known = (n for n in KNOWN_NAMES if isinstance(_module(network, n), LAYERS))
        chosen = next(known, None) or _last_to_act(network, run)
    layer = get_layer(network, chosen)
    log.info("Last layer of %s: %s, %s.", type(network).__name__, chosen, describe_layer(layer))
    return chosen


def get_layer(network: nn.Module, name: str) -> Layer:
    """The layer of that name. Raises ValueError when there is none, or none that Laplace is made for."""
    layer = _module(network, name)
    if not isinstance(layer, LAYERS):
        reason = "there is none of that name" if layer is None else f"that is a {type(layer).__name__}"
        last = [n for n, module in network.named_modules() if isinstance(module, LAYERS)][-3:]
        raise ValueError(f"layer must name a convolution or linear layer, got {name!r} ({reason}); this network ends with {last}.")
    if getattr(layer, "groups", 1) != 1:
        raise ValueError(f"layer {name!r} is a grouped convolution ({layer.groups} groups); name a layer without groups.")
    if layer.weight.is_meta:
        raise ValueError(f"The weights of layer {name!r} are not in memory (offloaded); load the model whole first.")
    return layer


def _module(network: nn.Module, name: str) -> nn.Module | None:
    return dict(network.named_modules()).get(name)


def _last_to_act(network: nn.Module, run: Callable[[], object] | None) -> str:
    if run is None:
        raise ValueError(f"The last layer of {type(network).__name__} has no name that is known; give its name as layer.")
    order: list[str] = []
    layers = [(name, module) for name, module in network.named_modules() if isinstance(module, LAYERS)]
    handles = [module.register_forward_hook(lambda *_, name=name: order.append(name)) for name, module in layers]
    try:
        with torch.no_grad():
            run()
    finally:
        for handle in handles:
            handle.remove()
    if not order:
        raise ValueError(f"No convolution or linear layer of {type(network).__name__} took part in a pass; Laplace needs one at its end.")
    return order[-1]


def describe_layer(layer: Layer) -> str:
    """Kind and shape, such as ``Conv2d 4x320x3x3``; without the host's own name for the class."""
    kind = next(k.__name__ for k in LAYERS if isinstance(layer, k))
    return f"{kind} {'x'.join(map(str, layer.weight.shape))}"


@dataclass(frozen=True)
class Identity:
    """Which layer of which model: its name, kind and shape, the SHA-256 of all parameters' names and shapes, and of the layer's weights.

    The weights are hashed as float32, so that a half-precision file is the same model however it is loaded.
    """

    name: str
    layer: str
    architecture: str
    weights: str

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            check_text(f"identity {name}", value)

    @classmethod
    def of(cls, network: nn.Module, name: str) -> Identity:
        """Raises what ``get_layer`` raises."""
        layer = get_layer(network, name)
        shapes = sorted(f"{n} {tuple(p.shape)}" for n, p in network.named_parameters())
        weights = hashlib.sha256()
        for tensor in (layer.weight, layer.bias):
            if tensor is not None:
                weights.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
        return cls(name, describe_layer(layer), hashlib.sha256("\n".join(shapes).encode()).hexdigest(), weights.hexdigest())

    def check(self, network: nn.Module, what: str = "Laplace fit") -> Layer:
        """The layer, when the network is the one described. Raises ValueError, in a sentence that says ``what``, for any other."""
        way_out = "load the model that it was made for, or make it again."
        if not isinstance(_module(network, self.name), LAYERS):
            raise ValueError(f"This {what} is for layer {self.name!r}, which {type(network).__name__} does not have; {way_out}")
        actual = Identity.of(network, self.name)
        if (actual.layer, actual.architecture) != (self.layer, self.architecture):
            raise ValueError(
                f"This {what} is for a model of another architecture (its layer {self.name!r} is {self.layer}, "
                f"here it is {actual.layer} in {type(network).__name__}); {way_out}"
            )
        if actual.weights != self.weights:
            raise ValueError(f"This {what} is for other weights of layer {self.name!r} than this model has; {way_out}")
        return get_layer(network, self.name)
