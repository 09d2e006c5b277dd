"""Sweeps: one setting of guided sampling, at several values."""

from __future__ import annotations

import re
from enum import Enum
from typing import TypeVar

from .bounds import Bounds, bounds
from .checks import choose
from .guidance import GuidanceMode, GuidanceOptions
from .limits import CFG, SWEEP_VALUES

Value = TypeVar("Value")


class SweepSetting(str, Enum):
    """What differs from one picture of a sweep to the next."""

    STRENGTH = "strength"
    PERCENTILE = "percentile"
    MODE = "mode"
    CFG = "cfg"


def parse_sweep(setting: SweepSetting, text: str) -> list[float] | list[GuidanceMode]:
    """The values of a setting, in the order of the text, each checked. Raises ValueError, naming the first that is none."""
    if setting is SweepSetting.MODE:
        words = split_list(text, ", ".join(mode.value for mode in GuidanceMode))
        return check_distinct([choose("values", word, GuidanceMode) for word in words])
    allowed = CFG if setting is SweepSetting.CFG else bounds(GuidanceOptions, setting.value)
    return parse_numbers(text, allowed, f"{setting.value} in values")


def parse_numbers(text: str, allowed: Bounds | None = None, name: str = "values") -> list[float]:
    """Numbers with commas, semicolons or line breaks between: ``0, 0.01, 0.02``. Raises ValueError for what is no such list."""
    numbers = []
    for word in split_list(text, "0, 0.01, 0.02"):
        try:
            numbers.append(float(word))
        except ValueError:
            raise ValueError(f"values must be numbers with commas between, such as 0, 0.01, 0.02; {word!r} is no number.") from None
        if allowed is not None:
            allowed.check(name, numbers[-1])
    return check_distinct(numbers)


def split_list(text: str, example: str) -> list[str]:
    """What stands between commas, semicolons and line breaks. Raises ValueError when that is nothing, or too much."""
    words = [word.strip() for word in re.split(r"[,;\n]", text) if word.strip()]
    if not words:
        raise ValueError(f"values is empty; give one or more with commas between, such as {example}.")
    if len(words) > SWEEP_VALUES:
        raise ValueError(f"values must be at most {SWEEP_VALUES}, since each is a sampling of its own, got {len(words)}.")
    return words


def check_distinct(values: list[Value]) -> list[Value]:
    """Raises ValueError for a value that comes twice: it would cost a sampling and show nothing new."""
    twice = [value for place, value in enumerate(values) if value in values[:place]]
    if twice:
        shown = twice[0].value if isinstance(twice[0], Enum) else f"{twice[0]:g}"
        raise ValueError(f"values holds {shown} twice; leave one out.")
    return values
