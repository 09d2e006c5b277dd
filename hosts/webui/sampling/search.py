"""WebUI host: the images of a batch are begun together, compared once on the way, and only the best go on.

The sampler goes on with the whole batch, whose arithmetic costs next to nothing; the network is no longer asked for images that have
ended. What a sampler does to an image must then not depend on its neighbours: no sampler of the web UI's does that but ``ADAPTIVE``.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from backend.sampling.sampling_function import compute_cond_indices
from torch import Tensor

from ....core.guidance.patch_memory import Memory
from ....core.search.best_of import Search
from ..settings import Settings
from .isolation import OURS, Options, remember
from .model import percent_to_sigma

ADAPTIVE = "DPM adaptive"
Call = Callable[[dict[str, Any]], Tensor]


@dataclass
class BatchSearch:
    """Which images of a batch are still drawn. blend: what a mask makes of a prediction.

    memories: what other people's patches keep of each group of images that shares its calls.
    """

    search: Search
    at_once: int
    blend: Callable[[Tensor], Tensor]
    memories: dict[tuple[int, ...], Memory] = field(default_factory=dict)
    start: Memory | None = None

    @property
    def size(self) -> int:
        return self.search.options.candidates

    @property
    def parts(self) -> bool:
        """Whether the network is asked otherwise than for the whole batch at once."""
        return len(self.search.rows) < self.size or self.at_once < self.size

    def groups(self) -> Iterator[tuple[int, ...]]:
        rows = self.search.rows
        return (rows[i : i + self.at_once] for i in range(0, len(rows), self.at_once))

    def run(self, call: Call, args: dict[str, Any], memorize: Callable[[], Memory]) -> Tensor:
        """The network's predictions, zero for images that have ended. Rows are in the order (conditions, draws, batch)."""
        result, place = torch.zeros_like(args["input"]), torch.arange(len(args["input"])) % self.size
        sampling = OURS not in args["c"].get("transformer_options", {})
        if sampling and self.start is None:
            self.start = memorize()
        for group in self.groups():
            index = torch.isin(place, torch.tensor(group)).nonzero().flatten().to(result.device)
            if sampling and self.start is not None:
                self.memories.get(group, self.start).put_back()
            result[index] = call(cut(args, index)).to(result)
            if sampling:
                self.memories[group] = memorize()
        return result


def start_search(p: Any, settings: Settings, count: int) -> BatchSearch:
    """For a batch of ``count`` images. Raises ValueError, in a sentence, where none can be."""
    samplers = (p.sampler_name, getattr(p, "hr_sampler_name", None) if getattr(p, "enable_hr", False) else None)
    if ADAPTIVE in samplers:
        raise ValueError(
            f"The sampler {ADAPTIVE!r} chooses its steps by all images of a batch, so none can end early; take another sampler, or set "
            "best to 0."
        )
    options = settings.best_of(count)
    predictor = p.sd_model.forge_objects.unet.model.predictor
    return BatchSearch(Search(options, percent_to_sigma(predictor)), settings.at_once, blend_of(p))


def blend_of(p: Any) -> Callable[[Tensor], Tensor]:
    """What the web UI makes of a prediction where a mask keeps a part of the first image."""
    mask, kept, first = getattr(p, "mask", None), getattr(p, "nmask", None), getattr(p, "init_latent", None)
    if mask is None or kept is None or first is None:
        return lambda x0: x0
    return lambda x0: x0 * kept.to(x0) + first.to(x0) * mask.to(x0)


def wrap(unet: Any, search: BatchSearch) -> None:
    """Puts the search around the network of a patcher, at each step around what other extensions have put there by then.

    The patcher knows the search by a weak reference: what is left after the generation does nothing.
    """
    weak = weakref.ref(search)

    def pre_cfg(model: Any, cond: Any, uncond: Any, x: Tensor, sigma: Tensor, options: Options) -> tuple[Any, ...]:
        alive = weak()
        if alive is not None and alive.parts:
            options = {**options, "model_function_wrapper": around(alive, options.get("model_function_wrapper"), model)}
        return model, cond, uncond, x, sigma, options

    unet.set_model_sampler_pre_cfg_function(pre_cfg)


def around(search: BatchSearch, earlier: Callable[..., Tensor] | None, model: Any) -> Callable[..., Tensor]:
    def wrapper(apply_model: Callable[..., Tensor], args: dict[str, Any]) -> Tensor:
        others = {"transformer_options": args["c"].get("transformer_options", {}), "model_function_wrapper": earlier}
        return search.run(partial(earlier or ask, apply_model), args, partial(remember, others, model))

    wrapper.__wrapped__ = earlier  # type: ignore[attr-defined]
    return wrapper


def ask(apply_model: Callable[..., Tensor], args: dict[str, Any]) -> Tensor:
    return apply_model(args["input"], args["timestep"], **args["c"])


def cut(args: dict[str, Any], index: Tensor) -> dict[str, Any]:
    """A call for some rows of a batch, as the web UI would make it for them alone."""
    rows = len(args["input"])
    part = {**args, "input": args["input"][index], "timestep": args["timestep"][index], "c": cut_rows(args["c"], index, rows)}
    if "transformer_options" in args["c"]:
        options, chunks = dict(args["c"]["transformer_options"]), len(args["cond_or_uncond"])
        options["sigmas"] = part["timestep"][: len(index) // chunks]
        options["cond_mark"] = cut_rows(options.get("cond_mark"), index, rows)
        options["cond_indices"], options["uncond_indices"] = compute_cond_indices(args["cond_or_uncond"], options["sigmas"])
        part["c"]["transformer_options"] = options
    return part


def cut_rows(value: Any, index: Tensor, rows: int) -> Any:
    if isinstance(value, Tensor):
        return value[index.to(value.device)] if value.ndim and len(value) == rows else value
    if isinstance(value, dict):
        return {name: each if name == "transformer_options" else cut_rows(each, index, rows) for name, each in value.items()}
    if isinstance(value, list):
        return [cut_rows(each, index, rows) for each in value]
    return value
