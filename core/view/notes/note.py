"""One score of one image as JSON that travels inside the image file, and how a list of them is read and written.

The text under the key ``uncertainty`` is a JSON list, one object a score:

    version      1; a reader refuses a greater one
    quantity     what was measured, such as "information"
    direction    "high_is_bad" or "low_is_bad"
    score        the number, or null where it was not finite
    standard_error  of the score, where it has one
    percentile   percent of the images that it was compared with that are at least as bad: 100 = the surest of all
    accepted     true or false where something decided, and why in a sentence
    model_calls  network passes that the score cost
    seconds      that it took for this image, with its drawing where it was drawn and scored in one go
    seed         that the image was drawn from
    method       how it was measured, in words
    settings     a code of all that the score depends on: equal codes, comparable scores
    image, look  only where one file holds the scores of a whole batch: which image (0 = first), and what it looks like, see ``looks``

What is not known is left out. Unknown names are ignored, so that later versions may add some.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ...options import Direction
from ...values import check_count, check_list, check_number, check_text

VERSION = 1
OTHER = "it holds no note of Uncertainty Nodes, but something else under the same name."
NUMBERS = ("standard_error", "percentile", "model_calls", "seconds")
WORDS = ("why", "method", "settings", "look")


@dataclass(frozen=True)
class Note:
    """See the format above. Raises ValueError for values that are none."""

    quantity: str
    direction: Direction
    score: float | None
    standard_error: float | None = None
    percentile: float | None = None
    accepted: bool | None = None
    why: str = ""
    model_calls: float | None = None
    seconds: float | None = None
    seed: int | None = None
    method: str = ""
    settings: str = ""
    image: int | None = None
    look: str = ""

    def __post_init__(self) -> None:
        check_text("quantity", self.quantity)
        object.__setattr__(self, "direction", Direction(self.direction))
        if self.score is not None and isinstance(self.score, float) and not math.isfinite(self.score):
            object.__setattr__(self, "score", None)  # JSON has no word for it
        for name in ("score", *NUMBERS):
            if getattr(self, name) is not None:
                check_number(name, getattr(self, name))
        for name in ("seed", "image"):
            if getattr(self, name) is not None:
                check_count(name, getattr(self, name), high=2**64 - 1)
        for name in WORDS:
            if not isinstance(getattr(self, name), str):
                raise ValueError(f"{name} must be a text, got {getattr(self, name)!r:.100}")
        if self.accepted not in (None, True, False):
            raise ValueError(f"accepted must be true or false, got {self.accepted!r:.100}")

    @property
    def badness(self) -> float:
        """The score turned so that high is bad; what has none is worst."""
        if self.score is None:
            return math.inf
        return self.score if self.direction is Direction.HIGH_IS_BAD else -self.score

    def to_json(self) -> dict[str, Any]:
        """What is known, in the order of the format."""
        known = {name: value for name, value in asdict(self).items() if value not in (None, "") or name == "score"}
        return {"version": VERSION, **known, "direction": self.direction.value}

    @classmethod
    def from_json(cls, content: Any) -> Note:
        """Raises ValueError, in a sentence, for what is no note or one of a newer version."""
        if not isinstance(content, Mapping) or not {"version", "quantity", "direction", "score"} <= content.keys():
            raise ValueError(OTHER)
        if check_count("version", content["version"], 1) > VERSION:
            raise ValueError(f"its note is in format {content['version']}, this version reads up to {VERSION}; update Uncertainty Nodes.")
        return cls(**{name: content[name] for name in cls.__dataclass_fields__ if name in content})


def to_text(notes: Sequence[Note]) -> str:
    """As it stands in the file: ASCII."""
    return json.dumps([note.to_json() for note in notes], allow_nan=False)


def parse_notes(text: str) -> list[Note]:
    """Raises ValueError, in a sentence, for a text that is none of ours."""
    try:
        content = check_list("The note", json.loads(text))
    except (ValueError, RecursionError) as error:
        raise ValueError(OTHER) from error
    return [Note.from_json(each) for each in content]


def percentile(rank: int, count: int) -> float | None:
    """Percent of ``count`` images that are no surer than the one at ``rank`` (1 = surest); None where it was compared with no other."""
    return round(100 * (count - rank + 1) / count, 2) if count > 1 else None
