"""Another pack's model patch in front of ours and behind it, all in one prompt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from comfy_client import PromptFailed
from comfy_graph import Node
from comfy_scenes import Scene, ksampler, scene
from comfy_server import Server
from comfy_uncertainty import guidance, read, record, samples, save, uncertainty

Patch = Callable[[Scene], Scene]
OURS = {"record": record, "guidance at 0": lambda s: guidance(s, strength=0.0)}
SIDES = [(ours, behind) for ours in OURS for behind in (False, True)]


@dataclass(frozen=True)
class Outcome:
    """plain: without any patch. expected: with the other one alone. ours: with both. measured: what Record Uncertainty tells then."""

    plain: Tensor
    expected: Tensor
    ours: dict[str, Tensor]
    measured: list[dict[str, Any]]

    def check(self) -> None:
        for where, latent in self.ours.items():
            assert (latent == self.expected).all(), where


def patch(name: str, **settings: Any) -> Patch:
    return lambda s: s.having(model=s.graph.node(name, model=s.model, **settings))


def with_ours(s: Scene, other: Patch, ours: str, behind: bool) -> tuple[Scene, Node]:
    s, node = OURS[ours](s if behind else other(s))
    return (other(s) if behind else s), node


def sample(comfy: Server, family: str, other: Patch, batch: int = 2, steps: int = 4, sides: list[Any] = SIDES) -> Outcome:
    """Latents of 8 x 8. Raises PromptFailed for what any of the nodes says."""
    s = scene(family, batch=batch, tokens=(7, 7), salt=batch)
    draw = lambda s: ksampler(s, steps=steps, cfg=3.0)  # noqa: E731
    saved = {"plain": save(s, draw(s)), "expected": save(s, draw(other(s)))}
    records = []
    for ours, behind in sides:
        both, node = with_ours(s, other, ours, behind)
        latent = draw(both)
        saved[f"{ours}, the other {'behind' if behind else 'before'} it"] = save(s, latent)
        if ours == "record":
            records.append(read(s, latent, node))
    history = comfy.run(s.graph)
    plain, expected, *_ = found = {name: samples(comfy, history, node) for name, node in saved.items()}
    return Outcome(found.pop(plain), found.pop(expected), found, [uncertainty(comfy, history, node) for node in records])


def failure(comfy: Server, family: str, other: Patch, **sampling: Any) -> str:
    """What ComfyUI says when it fails; nothing when it doesn't."""
    try:
        sample(comfy, family, other, **sampling)
    except PromptFailed as error:
        return str(error)
    return ""
