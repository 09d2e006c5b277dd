"""diffusers host: LoRAs as members of an ensemble, trained and run by peft, and written as stock loaders read them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from diffusers import DiffusionPipeline
from diffusers.loaders import PeftAdapterMixin
from torch import Tensor, nn

from ....core.ensemble.training import Enter, member_start_generator
from ....core.files import reason_of
from ..watch import network_of
from .gradients import gradients_off, networks_of

ADAPTER = "uncertainty_member"
FIRST_FACTORS = (".lora_down.", ".lora_A.", ".lora.down.", ".lora_linear_layer.down.")  # in the names of LoRA files, one for each layer
TARGETS = ("to_q", "to_k", "to_v", "to_out.0")


def start_loras(network: nn.Module, rank: int, seed: int) -> Enter:
    """For ``core.ensemble.training``: a LoRA on every attention projection, W + B A, A drawn for each member and B = 0.

    Source: Hu et al. 2022 (LoRA), whose scale alpha / rank is 1 here. Raises ValueError for a network that takes or has none.
    """
    adaptable = check_no_loras(network)

    @contextmanager
    def enter(k: int) -> Iterator[Mapping[str, Tensor]]:
        from peft import LoraConfig  # late: only this needs it

        generator = member_start_generator(seed, k)
        config = LoraConfig(r=rank, lora_alpha=rank, target_modules=list(TARGETS))
        try:
            with torch.random.fork_rng():  # peft draws its own beginning, which is not used
                adaptable.add_adapter(config, ADAPTER)
            parameters = {name: p for name, p in network.named_parameters() if f".{ADAPTER}." in name}
            with torch.no_grad():
                for name, parameter in parameters.items():
                    parameter.data = parameter.data.float()
                    if ".lora_A." in name:
                        parameter.copy_(torch.randn(parameter.shape, generator=generator) / parameter.shape[1] ** 0.5)
                    parameter.requires_grad_()
            yield parameters
        finally:
            adaptable.unload_lora()

    return enter


def name_lora_tensors(network: nn.Module, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """peft's names as ordinary LoRA files have them: those of kohya for UNets, those of diffusers for transformers."""
    unet, renamed = "UNet" in type(network).__name__, {}
    for name, value in parameters.items():
        layer, _, part = name.replace(f".{ADAPTER}", "").removesuffix(".weight").rpartition(".")
        if not unet:
            renamed[f"transformer.{layer}.{part}.weight"] = value
            continue
        prefix = f"lora_unet_{layer.replace('.', '_')}"
        renamed[f"{prefix}.lora_{'down' if part == 'lora_A' else 'up'}.weight"] = value
        renamed[f"{prefix}.alpha"] = torch.tensor(float(value.shape[0])) if part == "lora_A" else renamed[f"{prefix}.alpha"]
    return renamed


def text_encoders(pipe: DiffusionPipeline) -> list[nn.Module]:
    parts = (getattr(pipe, f"text_encoder{end}", None) for end in ("", "_2", "_3"))
    return [part for part in parts if isinstance(part, nn.Module)]


@contextmanager
def lora_applied(pipe: DiffusionPipeline, tensors: Mapping[str, Tensor]) -> Iterator[bool]:
    """The pipeline with a LoRA, by any names that it reads, inside the block; without it on every exit.

    Yields whether the LoRA acts on a text encoder, so that prompts have to be encoded anew.
    Raises ValueError for a LoRA that does not fit whole, that changes nothing or is not finite, and where LoRAs are loaded already.
    """
    network = network_of(pipe)
    check_no_loras(network, *text_encoders(pipe))
    with gradients_off(*networks_of(pipe)):  # peft sets requires_grad for good
        try:
            load_lora(pipe, network, tensors)
            yield any(adapted_layers(encoder) for encoder in text_encoders(pipe))
        finally:
            pipe.unload_lora_weights()


def load_lora(pipe: DiffusionPipeline, network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Diffusers logs what it leaves out of a file, and goes on; here the LoRA counts by what was really put on the weights."""
    name, fault = type(network).__name__, None
    try:
        pipe.load_lora_weights(dict(tensors), adapter_name=ADAPTER)
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        fault = error
    if fault is not None:
        raise ValueError(f"This LoRA does not fit {name} ({reason_of(fault):.200}); give one made for this model.") from fault
    layers = [layer for part in (network, *text_encoders(pipe)) for layer in adapted_layers(part)]
    if not layers:
        first = next(iter(tensors), "")
        raise ValueError(f"No name in this LoRA fits {name} or its text encoders, such as {first!r}; give one made for this model.")
    wanted = sum(part in key for key in tensors for part in FIRST_FACTORS)
    if len(layers) < wanted:
        fitting = f"Only {len(layers)} of the {wanted} layers that this LoRA is for are in {name} and its text encoders"
        raise ValueError(f"{fitting}; give one made for this model.")
    with torch.no_grad():
        sizes = [float(layer.get_delta_weight(ADAPTER).abs().max()) for layer in layers]
    if not all(map(math.isfinite, sizes)):
        raise ValueError("This LoRA holds NaN or infinite values; train it again, or get a whole copy.")
    if not any(sizes):
        raise ValueError("This LoRA changes no weight: all of its updates are 0; leave it out, or train it.")


def adapted_layers(part: nn.Module) -> list[Any]:
    """The layers of a network that the LoRA acts on, as peft has wrapped them."""
    return [module for module in part.modules() if ADAPTER in getattr(module, "lora_A", {})]


def check_no_loras(network: nn.Module, *encoders: nn.Module) -> PeftAdapterMixin:
    """The network, as what takes LoRAs. Raises ValueError for one that can't, or where some are loaded already: they would be lost."""
    if not isinstance(network, PeftAdapterMixin):
        raise ValueError(f"{type(network).__name__} can't take LoRAs; train class embeddings, or embeddings of a word.")
    for part in (network, *encoders):
        if loaded := getattr(part, "peft_config", None):
            raise ValueError(f"{type(part).__name__} has LoRAs already ({', '.join(loaded)}): fuse or unload them first.")
    return network
