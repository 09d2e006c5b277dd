"""The report command: small images as files, what is known of them as a script, and a page that shows both from the disk."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ...core.files import remove_leftovers, replacing
from ...core.options import Direction
from ..shared.text import printable
from .options import ReportOptions
from .results import Results, Shown, read_results
from .thumbnails import remove_others, write_thumbnails

log = logging.getLogger(__name__)
PAGE = Path(__file__).with_name("page")
STYLES = (Path(__file__).parents[1] / "demo" / "gallery.css", PAGE / "report.css")
SCRIPTS = ("grid.js", "charts.js", "viewer.js", "report.js")
Thumbnail = tuple[str, str, int, int]


def run(options: ReportOptions) -> Path:
    """Write the page; returns its path. index.html is last, when all that it shows is there."""
    results, out = read_results(options.folder), options.target
    if not results.images:
        raise ValueError(
            f"There is no image to show of the results in {str(options.folder)!r}: none is there yet, or all of them were moved away."
        )
    thumbnails = write_thumbnails(results.images, out, options.thumbnail)
    data = page_data(results, thumbnails, out, options.keep)
    write_text(out / "data.js", "window.REPORT = " + json.dumps(data, allow_nan=False, separators=(",", ":")) + ";\n")
    page = (PAGE / "report.html").read_text(encoding="utf-8")
    styles = "\n".join(path.read_text(encoding="utf-8") for path in STYLES)
    scripts = "\n".join((PAGE / name).read_text(encoding="utf-8") for name in SCRIPTS)
    write_text(out / "index.html", page.replace("/*STYLE*/", styles).replace("/*SCRIPT*/", scripts))
    remove_others(out, thumbnails)
    for path in (out / "data.js", out / "index.html"):
        remove_leftovers(path)
    log.info("%d images: look at %s", len(results.images), (out / "index.html").resolve().as_uri())
    return out / "index.html"


def page_data(results: Results, thumbnails: Sequence[Thumbnail], out: Path, keep: float) -> dict[str, Any]:
    """Columns, not objects: tens of thousands of images stay a few megabytes. Seeds are texts: scripts round large numbers."""
    pairs = [(image, thumb) for image, thumb in zip(results.images, thumbnails, strict=True) if thumb[0]]
    if not pairs:
        raise ValueError("None of the images can be read.")
    images = [image for image, _ in pairs]
    prompts = list(dict.fromkeys(image.prompt for image in images))
    numbers = {prompt: number for number, prompt in enumerate(prompts)}
    return {
        "title": printable(results.title),
        "quantity": results.quantity,
        "high_is_bad": results.direction is Direction.HIGH_IS_BAD,
        "keep": keep,
        "prompts": [printable(prompt) for prompt in prompts],
        "name": [image.name for image in images],
        "href": [href(image, out) for image in images],
        "score": [image.score for image in images],
        "prompt": [numbers[image.prompt] for image in images],
        "seed": [None if image.seed is None else str(image.seed) for image in images],
        "why": [image.why for image in images],
        "thumb": [thumb[0] for _, thumb in pairs],
        "heat": [thumb[1] for _, thumb in pairs],
        "size": [thumb[2:] for _, thumb in pairs],
    }


def href(image: Shown, out: Path) -> str:
    """From the page to the image: relative, so that both may move together; absolute where they lie on two drives."""
    path = image.path.resolve()
    try:
        return quote(os.path.relpath(path, out.resolve()).replace(os.sep, "/"), encoding="utf-8", errors="surrogateescape")
    except ValueError:
        return path.as_uri()


def write_text(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
