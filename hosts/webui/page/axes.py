"""WebUI host: axes of the X/Y/Z plot. A cell's value goes over the settings of its generation alone (``p.uncertainty_overrides``)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ....core.options import Bounds, FilterRule, GuidanceMode, choose, limits
from ..bounds import BOUNDS
from .texts import TITLE

GUIDED = {"preset": "measured"}  # the paper's preset would take the place of the axis's values
DROPPED = {"rule": FilterRule.DROP_WORST_PERCENT, "wanted": 0}  # a rule that compares can't stop a job


@dataclass(frozen=True)
class Axis:
    """An axis of one setting. also: settings without which it would mean nothing."""

    label: str
    setting: str
    kind: type
    bounds: Bounds | None = None
    also: Mapping[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return f"[{TITLE}] {self.label}"

    def apply(self, p: Any, value: Any, values: Sequence[Any]) -> None:
        """Sets the value for ``p``, in a dictionary of its own: the plot copies ``p`` for each cell, but not what it holds."""
        earlier = getattr(p, "uncertainty_overrides", {})
        p.uncertainty_overrides = {**earlier, "enabled": True, **self.also, self.setting: value}

    def confirm(self, p: Any, values: Sequence[Any]) -> None:
        """Before the first cell. Raises ValueError, in a sentence, for a value that no generation could have."""
        for value in values:
            if self.bounds is None:
                choose(self.title, value, GuidanceMode)
            else:
                replace(self.bounds, label=self.title).check(self.title, value)


AXES = (
    Axis("Guidance strength", "strength", float, BOUNDS["strength"], GUIDED),
    Axis("Guide from", "guidance_start", float, BOUNDS["guidance_start"], GUIDED),
    Axis("Guide to", "guidance_end", float, BOUNDS["guidance_end"], GUIDED),
    Axis("Guidance mode", "mode", str, None, GUIDED),
    Axis("Guidance samples", "guidance_samples", int, BOUNDS["guidance_samples"], GUIDED),
    Axis("Samples of the score", "samples", int, BOUNDS["samples"]),
    Axis("Measure from", "start_percent", float, BOUNDS["start_percent"]),
    Axis("Measure to", "end_percent", float, BOUNDS["end_percent"]),
    Axis("Percent dropped", "value", float, limits.PERCENT, DROPPED),
    Axis("Seed of the draws", "seed", int, BOUNDS["seed"]),
)


def modes() -> list[str]:
    return [mode.value for mode in GuidanceMode]


def register(loaded: Iterable[Any]) -> None:
    """Appends the axes to those of the X/Y/Z plot, once. loaded: the web UI's ``scripts_data``; without a plot there nothing happens."""
    for plot in [data.module for data in loaded if Path(data.path).name == "xyz_grid.py"]:
        present = {option.label for option in plot.axis_options}
        plot.axis_options += [option(axis, plot.AxisOption) for axis in AXES if axis.title not in present]


def option(axis: Axis, make: Callable[..., Any]) -> Any:
    return make(axis.title, axis.kind, axis.apply, confirm=axis.confirm, choices=modes if axis.kind is str else None)
