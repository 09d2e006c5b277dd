"""ComfyUI host: what is trained of each member: the texts that the network reads, or LoRAs by ComfyUI's own weight adapters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import comfy.weight_adapter
import torch
from torch import Tensor, nn

from ....core.ensemble.training import member_start_generator
from ..model import Cond, Conditioned

Part = dict[str, Any]
LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


class Trainable(Protocol):
    """``enter`` of ``core.ensemble.training``, and how the prompts read inside of it."""

    def enter(self, k: int) -> AbstractContextManager[Mapping[str, Tensor]]: ...

    def read(self, prompt: int) -> Part: ...


@dataclass
class Texts:
    """Each member has its own copy of the prompts' texts. prompts: as a run has processed them, of one part each.

    Raises ValueError for a model that doesn't read its prompts as they are.
    """

    prompts: Sequence[Part]
    text_names: list[str] = field(default_factory=list)  # for each prompt, the name of its text among model_conds
    current: Tensor = field(init=False)  # inside enter: all texts in a row, (1, tokens, D): a step may read some of them only

    def __post_init__(self) -> None:
        self.text_names = [find_text(prompt) for prompt in self.prompts]

    @property
    def texts(self) -> list[Tensor]:
        """(1, tokens, D) each."""
        return [prompt["model_conds"][name].cond for prompt, name in zip(self.prompts, self.text_names, strict=True)]

    @contextmanager
    def enter(self, k: int) -> Iterator[Mapping[str, Tensor]]:
        self.current = torch.cat([text.detach().float() for text in self.texts], dim=1).requires_grad_()
        try:
            yield {"own": self.current}
        finally:
            del self.current

    def read(self, prompt: int) -> Part:
        part, name = self.prompts[prompt], self.text_names[prompt]
        text = part["model_conds"][name]._copy_with(self.split(self.current)[prompt])
        return {**part, "model_conds": {**part["model_conds"], name: text}}

    def split(self, texts: Tensor) -> tuple[Tensor, ...]:
        """All texts in a row -> (1, tokens, D) each."""
        return texts.split([text.shape[1] for text in self.texts], dim=1)


def find_text(prompt: Part) -> str:
    text = prompt["cross_attn"]
    for name, value in prompt["model_conds"].items():
        cond = getattr(value, "cond", None)
        if isinstance(cond, Tensor) and cond.shape == text.shape and torch.equal(cond.to(text), text):
            return name
    raise ValueError("kind 'embedding' can't be trained on this model, which makes something else of its prompts: use kind 'lora'.")


@dataclass
class Loras:
    """Each member has an adapter on every linear and convolution layer that takes part. rank: of the adapters; alpha is the same."""

    prompts: Sequence[Part]
    network: nn.Module
    rank: int
    seed: int
    device: torch.device
    layers: dict[str, Any] = field(default_factory=dict)  # ComfyUI's kinds of nn.Module

    def __post_init__(self) -> None:
        named = self.network.named_modules()
        self.layers = {name: m for name, m in named if isinstance(m, LAYERS) and hasattr(m, "weight_function") and m.weight is not None}

    @contextmanager
    def enter(self, k: int) -> Iterator[Mapping[str, Tensor]]:
        adapters = self.fresh(k)
        with ExitStack() as undo:
            for name, adapter in adapters.items():
                put_on(self.layers[name], adapter, undo)
            yield {f"{name}.{end}": getattr(adapter, end).weight for name, adapter in adapters.items() for end in ("lora_up", "lora_down")}

    def fresh(self, k: int) -> dict[str, nn.Module]:
        """Adapters that change nothing yet, the same each time for the same member."""
        make = comfy.weight_adapter.LoRAAdapter.create_train
        with torch.random.fork_rng([]):
            torch.manual_seed(member_start_generator(self.seed, k).initial_seed())
            made = {}
            for name, layer in self.layers.items():
                # of a weight it reads shape and device only; the layer's own may be offloaded or quantised
                weight = torch.zeros(()).expand(layer.weight.shape)
                made[name] = make(weight, rank=self.rank, alpha=float(self.rank)).to(self.device)
        return made

    def read(self, prompt: int) -> Part:
        return self.prompts[prompt]

    def keep_used(self, loss: Callable[[], Tensor]) -> None:
        """Leave out layers that the network has but doesn't use. Raises ValueError when none is left."""
        with self.enter(0) as parameters, torch.enable_grad():
            gradients = torch.autograd.grad(loss(), list(parameters.values()), allow_unused=True)
        used = {name.rsplit(".", 1)[0] for name, gradient in zip(parameters, gradients, strict=True) if gradient is not None}
        self.layers = {name: layer for name, layer in self.layers.items() if name in used}
        if not self.layers:
            raise ValueError("kind 'lora' can't be trained on this model: ComfyUI puts no adapter on any of its layers; use 'embedding'.")


def put_on(layer: Any, adapter: nn.Module, undo: ExitStack) -> None:
    """The layer's own list of what changes its weight may be shared by all layers, so it gets another one for the time."""
    if "weight_function" in vars(layer):
        undo.callback(vars(layer).__setitem__, "weight_function", layer.weight_function)
    else:
        undo.callback(vars(layer).pop, "weight_function")
    vars(layer)["weight_function"] = [*layer.weight_function, adapter]


def by_prompt(trainable: Trainable, conditioned: Conditioned, prompt_of: Tensor) -> Callable[[Tensor], Callable[[Tensor, Tensor], Tensor]]:
    """rows (n,) of the data -> a denoiser of those samples, each under its own prompt; samples of one prompt share a call."""

    def of_rows(rows: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
        prompts = prompt_of[rows]

        def denoise(x: Tensor, sigma: Tensor) -> Tensor:
            positions, parts = [], []
            for prompt in prompts.unique().tolist():
                position = (prompts == prompt).nonzero()[:, 0].to(x.device)
                positions.append(position)
                parts.append(replace(conditioned, cond=[trainable.read(prompt)])(x[position], sigma[position]))
            return torch.cat(parts)[torch.cat(positions).argsort()]

        return denoise

    return of_rows


def conds_of(conds: Mapping[str, Cond], count: int) -> list[Part]:
    """The single parts of a run's prompts, which are named by their number."""
    return [conds[f"prompt {i + 1}"][0] for i in range(count)]
