"""WebUI host: the state of one generation, from its settings to what its images scored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from ...core.options import Direction
from ...core.result import Uncertainty
from .settings import Settings

MADE = ("method", "window", "samples", "log_snr")
Key = tuple[int, int]  # seed and variation seed: which image it is, wherever filters have moved it


@dataclass(frozen=True, eq=False)
class Measured:
    """One image: its score, its map (1, C, H, W) turned so that high is bad, and the model calls that it took.

    made: how, as far as it is told alike in every host; a calibration of another host is compared by it.
    """

    score: float
    bad_map: Tensor
    quantity: str
    direction: Direction
    nfe: float
    made: Mapping[str, str]


@dataclass
class Job:
    """One generation. current: the sampling that runs, which the patched model knows by a weak reference alone."""

    settings: Settings
    measured: dict[Key, Measured] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    current: Any = None
    calls: float = 0.0  # per image, of the batch that is drawn; guidance and every pass of it included
    verdicts: dict[Key, str] = field(default_factory=dict)  # of the filter, a sentence each
    accepted: int = 0
    rejected: int = 0
    ended: int = 0  # on the way, by a search
    keys: list[Key] = field(default_factory=list)  # of the batch that is drawn
    rows: list[int] = field(default_factory=list)  # those of its images that are finished, by their places in the batch
    search: Any = None  # among the images of this batch
    ensemble: Any = None  # of LoRAs that draw the images of this batch again
    denoiser: Any = None  # of the sampling that a listener follows
    listener: Any = None  # to the web UI's callbacks, where it has no patcher
    stopped: bool = False  # by us, since enough are accepted
    held: list[Any] = field(default_factory=list)  # pictures of earlier batches, until all can be compared
    overlays: list[Any] | None = None  # the web UI's own, by place in the batch
    corrections: list[Any] = field(default_factory=list)
    without_grid: bool = False

    def note(self, sentence: str) -> None:
        """Something the person should know, once."""
        if sentence not in self.notes:
            self.notes.append(sentence)

    def begin_batch(self, keys: Sequence[Key]) -> None:
        self.keys, self.rows = list(keys), list(range(len(keys)))
        self.calls, self.current, self.listener, self.search, self.ensemble = 0.0, None, None, None, None

    def keep(self, result: Uncertainty, rows: Iterable[int]) -> None:
        """What was measured of these images of the batch; a later sampling of the same images takes an earlier one's place."""
        made = {name: result.provenance[name] for name in MADE if name in result.provenance}
        scores = result.scores.tolist()
        for i in rows:
            self.measured[self.keys[i]] = Measured(
                scores[i], result.bad_maps[i : i + 1], result.quantity, result.direction, self.calls, made
            )


def key_of(p: Any, index: int) -> Key:
    return p.seeds[index], p.subseeds[index]
