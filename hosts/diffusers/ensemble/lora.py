"""diffusers host: LoRAs as members of an ensemble, trained and run by peft, and written as stock loaders read them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from diffusers import DiffusionPipeline
from diffusers.loaders import PeftAdapterMixin
from torch import Tensor, nn

from ....core.ensemble.training import Enter, member_start_generator
from .frozen import frozen, modules

ADAPTER = "uncertainty_member"
TARGETS = ("to_q", "to_k", "to_v", "to_out.0")


def fresh_loras(network: nn.Module, rank: int, seed: int) -> Enter:
    """For ``core.ensemble.training``: a LoRA on every attention projection, W + B A, A drawn for each member and B = 0.

    Source: Hu et al. 2022 (LoRA), whose scale alpha / rank is 1 here. Raises ValueError for a network that takes or has none.
    """
    check_plain(network)

    @contextmanager
    def enter(k: int) -> Iterator[Mapping[str, Tensor]]:
        from peft import LoraConfig  # late: only this needs it

        generator = member_start_generator(seed, k)
        config = LoraConfig(r=rank, lora_alpha=rank, target_modules=list(TARGETS))
        try:
            with torch.random.fork_rng():  # peft draws its own beginning, which is not used
                network.add_adapter(config, ADAPTER)
            found = {name: p for name, p in network.named_parameters() if f".{ADAPTER}." in name}
            with torch.no_grad():
                for name, parameter in found.items():
                    parameter.data = parameter.data.float()
                    if ".lora_A." in name:
                        parameter.copy_(torch.randn(parameter.shape, generator=generator) / parameter.shape[1] ** 0.5)
                    parameter.requires_grad_()
            yield found
        finally:
            network.unload_lora()

    return enter


def lora_file(network: nn.Module, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """peft's names as ordinary LoRA files have them: those of kohya for UNets, those of diffusers for transformers."""
    unet, found = "UNet" in type(network).__name__, {}
    for name, value in parameters.items():
        layer, _, part = name.replace(f".{ADAPTER}", "").removesuffix(".weight").rpartition(".")
        if not unet:
            found[f"transformer.{layer}.{part}.weight"] = value
            continue
        place = f"lora_unet_{layer.replace('.', '_')}"
        found[f"{place}.lora_{'down' if part == 'lora_A' else 'up'}.weight"] = value
        found[f"{place}.alpha"] = torch.tensor(float(value.shape[0])) if part == "lora_A" else found[f"{place}.alpha"]
    return found


@contextmanager
def worn(pipe: DiffusionPipeline, tensors: Mapping[str, Tensor]) -> Iterator[None]:
    """The pipeline's network with a LoRA, by any names that the pipeline reads, inside the block; without it on every exit.

    Raises ValueError when none of the names fits, or when the network has LoRAs already.
    """
    network = pipe.unet if hasattr(pipe, "unet") else pipe.transformer
    check_plain(network)
    with frozen(*modules(pipe)):  # peft sets requires_grad for good
        try:
            load(pipe, network, tensors)
            yield
        finally:
            pipe.unload_lora_weights()


def load(pipe: DiffusionPipeline, network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    try:
        pipe.load_lora_weights(dict(tensors), adapter_name=ADAPTER)
    except (IndexError, KeyError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"This LoRA does not fit {type(network).__name__} ({reason}); give one made for this model.") from error
    if ADAPTER not in getattr(network, "peft_config", {}):
        name = next(iter(tensors), "")
        raise ValueError(f"No name in this LoRA fits {type(network).__name__}, such as {name!r}; give one made for this model.")


def check_plain(network: nn.Module) -> None:
    """Raises ValueError for a network that can't take LoRAs, or that already has some: they would be lost."""
    if not isinstance(network, PeftAdapterMixin):
        raise ValueError(f"{type(network).__name__} can't take LoRAs; train class embeddings, or embeddings of a word.")
    if getattr(network, "peft_config", None):
        raise ValueError(f"{type(network).__name__} has LoRAs already ({', '.join(network.peft_config)}): fuse or unload them first.")
