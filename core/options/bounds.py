"""Defaults and ranges: each stands once, at the option it belongs to, and everything that asks a person for a value reads it here."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from enum import Enum
from typing import Any

from .checks import check_choice, check_range, check_whole

KEY = "bounds"  # of a field's metadata


@dataclass(frozen=True)
class Bounds:
    """What a number may be, both ends included, and what it is when nobody says. Whole where the default is.

    step: of a widget; a value need not be a multiple of it.  infinite: inf is allowed too, beyond ``high``.
    label: what messages call the option where the field's name would not do.
    """

    default: float
    low: float
    high: float
    step: float | None = None
    infinite: bool = False
    label: str = ""

    @property
    def whole(self) -> bool:
        return isinstance(self.default, int)

    def check(self, name: str, value: float) -> None:
        """Raises ValueError naming the option, the value seen and the range."""
        if self.infinite and value == math.inf:
            return
        check = check_whole if self.whole else check_range
        check(self.label or name, value, self.low, self.high)

    def field(self) -> Any:
        """A dataclass field with this default, that ``check_fields`` checks."""
        return dataclasses.field(default=self.default, metadata={KEY: self})


def bounded(default: float, low: float, high: float, step: float | None = None, *, infinite: bool = False, label: str = "") -> Any:
    """Declares a field of an options class: ``samples: int = bounded(5, 2, 1024)``."""
    return Bounds(default, low, high, step, infinite, label).field()


def bounds(options: Any, name: str) -> Bounds:
    """The bounds of a field of an options class, or of an instance. Raises KeyError where it has none."""
    for field in dataclasses.fields(options):
        if field.name == name and KEY in field.metadata:
            return field.metadata[KEY]
    raise KeyError(f"{getattr(options, '__name__', type(options).__name__)} has no bounds for {name!r}.")


def check_fields(options: Any) -> None:
    """For ``__post_init__``: raises ValueError for a number out of its bounds, or a mode that is no member of its Enum."""
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if KEY in field.metadata:
            field.metadata[KEY].check(field.name, value)
        elif isinstance(field.default, Enum):
            check_choice(field.name, value, type(field.default))
