"""The calibrations that a folder was begun with. Their files grow, also by the folder's own scores; a run goes on with what they were."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...core.files import replacing
from ..shared.ledger import Ledger
from .drawings import RESULTS
from .options import GenerateOptions
from .search import SearchOptions, code_of

log = logging.getLogger(__name__)
EARLY, FINISHED = "early_calibration", "calibration"  # the options
WAYS_OUT = {
    EARLY: "To draw by the scores of now, name another folder with --out.",
    FINISHED: "To judge all its images by the scores of now, delete that copy.",
}
HEADER = "calibrations"  # in the ledger: for each option, what was asked for and the code of the copy


def with_copies(options: GenerateOptions) -> GenerateOptions:
    """With the copies that an earlier run in this folder made, where it was asked the same, whatever the files hold by now."""
    earlier = header_of(options.out).get(HEADER, {})
    for name, way_out in WAYS_OUT.items():
        file, copy = getattr(options.search, name), copy_path(options.out, name)
        if file is None or not copy.is_file():
            continue
        code = code_of(copy.read_bytes())
        if earlier.get(name) != asked(options.search, name) | {"code": code}:
            continue
        if code_of(file.read_bytes()) != code:
            told = "%s holds other scores than when %s was begun. The run goes on with those of then, which are in %s. %s"
            log.warning(told, file, options.out, copy, way_out)
        options = use(options, name, copy)
    return options


def make_copies(options: GenerateOptions, ledger: Ledger) -> GenerateOptions:
    """With copies of the files that are none yet. Raises ValueError for an early one that has just grown, OSError as ``replacing``."""
    for name in WAYS_OUT:
        file, copy = getattr(options.search, name), copy_path(options.out, name)
        if file is None or file == copy:
            continue
        content = file.read_bytes()
        code = code_of(content)
        if code != ledger.options.get(name, code):
            raise ValueError(f"{str(file)!r} was written while the run began; start it again.")
        with replacing(copy) as temporary:
            temporary.write_bytes(content)
        ledger.update_header({HEADER: ledger.header.get(HEADER, {}) | {name: asked(options.search, name) | {"code": code}}})
        options = use(options, name, copy)
    return options


def use(options: GenerateOptions, name: str, copy: Path) -> GenerateOptions:
    changed: dict[str, Any] = {name: copy}
    return replace(options, search=replace(options.search, **changed))


def copy_path(out: Path, name: str) -> Path:
    return out / f"{name}_used.safetensors"


def asked(search: SearchOptions, name: str) -> dict[str, Any]:
    """JSON-ready: the file, and what is read off it where images don't depend on that."""
    told = {"file": getattr(search, name).resolve().as_posix()}
    if name == EARLY:
        return told
    until = search.until_options()
    return told | {"rule": until.rule.value, "value": until.value, "confidence": until.confidence}


def header_of(out: Path) -> Mapping[str, Any]:
    """What is told of an earlier run in this folder; nothing where there is none that could go on."""
    try:
        with Ledger.find(out / RESULTS) as ledger:
            return ledger.header
    except (FileNotFoundError, ValueError):
        return {}
