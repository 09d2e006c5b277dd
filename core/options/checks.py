"""What is refused, and in which words."""

from __future__ import annotations

import math
from enum import Enum
from numbers import Integral, Real
from typing import TypeVar

Choice = TypeVar("Choice", bound=Enum)


def check_range(name: str, value: float, low: float, high: float = math.inf) -> None:
    """Raises ValueError naming the option, the value seen and the range, unless low <= value <= high and value is finite."""
    if isinstance(value, bool) or not isinstance(value, Real) or not low <= value <= high or abs(value) == math.inf:
        bounds = f"at least {_plain(low)}" if high == math.inf else f"between {_plain(low)} and {_plain(high)}"
        raise ValueError(f"{name} must be {bounds}, got {value!r}.")


def check_whole(name: str, value: float, low: float, high: float = math.inf) -> None:
    """``check_range`` for a whole number."""
    check_range(name, value, low, high)
    if not isinstance(value, Integral):
        raise ValueError(f"{name} must be a whole number, got {value!r}.")


def check_choice(name: str, value: Enum, choices: type[Enum]) -> None:
    """Raises ValueError unless value is a member: the algorithms compare by identity, which a bare string of the same text would fail."""
    if not isinstance(value, choices):
        raise ValueError(f"{name} must be a {choices.__name__} ({', '.join(c.value for c in choices)}), got {value!r}.")


def choose(name: str, text: str, choices: type[Choice]) -> Choice:
    """The member that ``text`` is the value of. Raises ValueError naming all."""
    try:
        return choices(text)
    except ValueError:
        raise ValueError(f"{name} must be one of {', '.join(c.value for c in choices)}, got {text!r}.") from None


def _plain(bound: float) -> str:
    return str(bound) if isinstance(bound, Integral) else f"{bound:g}"
