"""WebUI host: what stands in an image's infotext, what is shown below the results, and what pasting an infotext brings back."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from ..job import Job, Key, Measured
from ..settings import Settings, default_of, names, suited_to

SCORE, CALLS, SETTINGS, VERDICT, NOTE = (
    "Uncertainty",
    "Uncertainty calls",
    "Uncertainty settings",
    "Uncertainty verdict",
    "Uncertainty note",
)
LABELS = {"information": "prompt information", "condition_gap": "condition gap", "epistemic": "ensemble"}


def describe(settings: Settings) -> str:
    """The settings that differ from the defaults; the score always, as what the number means."""
    shown = settings.effective
    usual = {name: value for name, value in suited_to(settings.score).items() if name not in ("score", "enabled")}
    return "; ".join(f"{name}={shown[name]}" for name in names() if name != "enabled" and shown[name] != usual.get(name))


def read(text: str) -> dict[str, Any]:
    """The components' values that ``describe`` wrote. Raises ValueError for what it did not."""
    pairs = dict(re.findall(r"(\w+)=([^;]*)", text))
    return Settings.from_mapping({"enabled": True, **{name: value.strip() for name, value in pairs.items()}}).effective


def pasted(name: str) -> Callable[[Mapping[str, Any]], Any]:
    """For the web UI's ``infotext_fields``: the value of a component. An infotext without ours turns the script off."""

    def value(params: Mapping[str, Any]) -> Any:
        if SETTINGS not in params:
            return False if name == "enabled" else None
        try:
            return read(params[SETTINGS])[name]
        except ValueError:  # of a version with other settings
            return default_of(name) if name == "enabled" else None

    return value


def fields_of(job: Job) -> dict[str, Any]:
    """For ``p.extra_generation_params``: entries that tell each image its own, whatever filters have done to indexes."""

    def of_image(tell: Callable[[Measured], str]) -> Callable[..., str | None]:
        def entry(all_seeds: Any, all_subseeds: Any, index: int, use_main_prompt: bool = False, **_: Any) -> str | None:
            if use_main_prompt or index >= len(all_seeds):  # of the grid
                return None
            measured = job.measured.get((all_seeds[index], all_subseeds[index]))
            return None if measured is None else tell(measured)

        return entry

    def of_verdict(all_seeds: Any, all_subseeds: Any, index: int, use_main_prompt: bool = False, **_: Any) -> str | None:
        return None if use_main_prompt or index >= len(all_seeds) else job.verdicts.get((all_seeds[index], all_subseeds[index]))

    return {
        SCORE: of_image(lambda m: f"{m.score:.6g}"),
        CALLS: of_image(lambda m: f"{m.nfe:g}"),
        SETTINGS: describe(job.settings),
        VERDICT: of_verdict,
        NOTE: lambda **_: " ".join(job.notes) or None,
    }


def summary(job: Job, seeds: list[Key]) -> str:
    """Lines for below the results."""
    lines = [f"Uncertainty: {note}" for note in job.notes]
    shown = [(key, job.measured[key]) for key in seeds if key in job.measured]
    if shown:
        first = shown[0][1]
        lines.append(f"Uncertainty ({LABELS.get(first.quantity, first.quantity)}; {first.nfe:g} further model calls per image):")
        lines += [f"seed {key[0]}: {measured.score:.4g} {job.verdicts.get(key, '')}".rstrip() for key, measured in shown]
    if job.ended:
        lines.append(f"{job.ended} candidates ended on the way, at {job.settings.prune_at:.0%} of the noise schedule.")
    if job.settings.rule is not None or job.settings.best:
        lines.append(f"{job.accepted} of {job.accepted + job.rejected} images were accepted.")
    return "\n".join(lines)
