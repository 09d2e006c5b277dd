"""The kinds of results that commands write, the JSON files of older versions, and what the commands that judge images share."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from .text import read_text

log = logging.getLogger(__name__)
Record = TypeVar("Record")
MAX_NAMES = 10  # in one sentence


@dataclass(frozen=True)
class Format:
    """One command's results. key: where the JSON holds the rows. noun: what they are called. way_out: where to write instead.

    columns: of the table. key_of: what tells one image's row from another's. has_skipped: whether images may be left out.
    """

    kind: str
    version: int
    key: str
    noun: str
    way_out: str
    columns: tuple[str, ...]
    key_of: Callable[[Mapping[str, Any]], str]
    has_skipped: bool = False


SCORES = Format(
    "uncertainty-nodes scores",
    1,
    key="rows",
    noun="scores",
    way_out="name another file with --out",
    columns=("file", "rank", "score", "standard_error", "label", "nfe", "seconds", "prompt"),
    key_of=lambda row: row["file"],
    has_skipped=True,
)
DRAWINGS = Format(
    "uncertainty-nodes drawings",
    1,
    key="images",
    noun="images",
    way_out="name another folder with --out",
    columns=("image", "file", "rank", "score", "shown", "nfe", "calls", "candidate", "seconds", "reason", "seed"),
    key_of=lambda row: f"{row['image']:09d}",
)
MADE_WITH = "made_with"  # in the header of either: the settings that scores depend on, see core/selection/settings.py
FORMATS = {form.kind: form for form in (SCORES, DRAWINGS)}


@dataclass(frozen=True)
class OlderResults:
    """What a version without a ledger wrote: rows, images left out, and the rest."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    skipped: dict[str, dict[str, Any]] = field(default_factory=dict)
    header: dict[str, Any] = field(default_factory=dict)


def read_older(path: Path, form: Format) -> OlderResults:
    """The JSON of an earlier run; nothing where there is no file. Raises ValueError for a file of something else."""
    if not path.exists():
        return OlderResults()
    try:
        content = json.loads(read_text(path))
        if (content["kind"], content["version"]) != (form.kind, form.version):
            raise ValueError("another kind or version")
        rows = list(content.pop(form.key))
        for row in rows:
            form.key_of(row), row["score"]
        return OlderResults(rows, dict(content.pop("skipped", {})), {**content, "options": dict(content["options"])})
    except (AttributeError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{str(path)!r} holds no {form.noun} of this command ({error}); {form.way_out}.") from error


def kind_in(path: Path) -> Any:
    """What a JSON file says that it is."""
    try:
        return json.loads(read_text(path)).get("kind")
    except (AttributeError, ValueError):
        return None


def form_of(kind: Any, path: Path) -> Format:
    """Raises ValueError for a kind that no command writes."""
    if kind not in FORMATS:
        raise ValueError(f"{str(path)!r} holds no results of score or generate; name a folder that one of them has written.")
    return FORMATS[kind]


def check_options(earlier: Mapping[str, Any], options: Mapping[str, Any], count: int, path: Path, form: Format) -> bool:
    """Whether they are the same. Raises ValueError where they aren't and there is something to lose."""
    plain = json.loads(json.dumps(dict(options)))  # as the file has them
    other = ", ".join(sorted(name for name in plain.keys() | earlier.keys() if plain.get(name) != earlier.get(name)))
    if count and other:  # a run that failed before its first result leaves nothing to lose
        raise ValueError(
            f"{str(path)!r} holds {form.noun} made with other options ({other}); {form.way_out}, or delete it and the .sqlite beside it."
        )
    return not other


def from_row(record: type[Record], row: Mapping[str, Any]) -> Record:
    """A command's own record from a row, of this or an older version."""
    return record(**{f.name: row[f.name] for f in fields(record) if f.name in row})  # type: ignore[arg-type]


def finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def tell_unscored(names: Sequence[str], consequence: str) -> None:
    """One sentence about images whose values are not finite."""
    if names:
        more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
        log.warning("Not finite, so without a score%s: %s%s.", consequence, ", ".join(names[:MAX_NAMES]), more)
