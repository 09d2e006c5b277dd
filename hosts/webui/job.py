"""WebUI host: the state of one generation, from its settings to what its images scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from ...core.result import Uncertainty
from .settings import Settings

Key = tuple[int, int]  # seed and variation seed: which image it is, wherever filters have moved it


@dataclass(frozen=True, eq=False)
class Measured:
    """One image: its score, its map (1, C, H, W) turned so that high is bad, and the model calls that it took."""

    score: float
    bad_map: Tensor
    quantity: str
    nfe: float


@dataclass
class Job:
    """One generation. current: the sampling that runs, which the patched model knows by a weak reference alone."""

    settings: Settings
    measured: dict[Key, Measured] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    current: Any = None
    calls: float = 0.0  # per image, of the batch that is drawn; guidance and every pass of it included

    def note(self, sentence: str) -> None:
        """Something the person should know, once."""
        if sentence not in self.notes:
            self.notes.append(sentence)

    def keep(self, keys: Sequence[Key], result: Uncertainty) -> None:
        """What was measured of the images of one batch; a later sampling of the same images takes an earlier one's place."""
        for i, (key, score) in enumerate(zip(keys, result.scores.tolist(), strict=True)):
            self.measured[key] = Measured(score, result.bad_maps[i : i + 1], result.quantity, self.calls)
