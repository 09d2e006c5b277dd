"""What the nodes show and leave behind in ComfyUI: charts, and reports in the output folder."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import folder_paths
from comfy_execution.graph_utils import ExecutionBlocker
from PIL import Image
from torch import Tensor

from ....core.files import replacing
from ....core.result import FAILED, Uncertainty
from ....core.view.summary import csv_table
from .chart import draw_report
from .chart_words import words_in
from .page import origin, told_by_panel
from .temporary import write_temporary

log = logging.getLogger(__name__)
Summary = dict[str, Any]  # core.view.summary

FOLDER = "uncertainty"
PANEL = "uncertainty_report"  # of the node, which tells the page's language (web/js/report/report.js)
THUMBNAIL = 128  # pixels of the longer side

SKIPPED = ExecutionBlocker(None)  # what is wired to it doesn't run, and no error is shown


def missing(message: str) -> ExecutionBlocker:
    """What is wired to it doesn't run, and the message is shown as an error."""
    return ExecutionBlocker(message)


def warn_of_failed(result: Uncertainty, node: str) -> Uncertainty:
    """The result. One line of the log names its images that have no score."""
    if FAILED in result.provenance:
        log.warning("%s: %s", node, result.provenance[FAILED])
    return result


def show(summary: Summary, title: str, lines: Iterable[str], chart: bool, kind: str) -> dict[str, list[Any]]:
    """The ``ui`` of a node of this class: numbers for our widget, lines for the history, and a chart where it is the node's purpose.

    Lists with the same keys each time, as ComfyUI wants it. A picture counts as a result of the run wherever results are listed.
    """
    shown = {"uq_report": [{**summary, "title": title}], "text": list(lines), **origin(kind)}
    if not chart:
        return shown
    picture = draw_report(summary, words_in(told_by_panel(PANEL)))
    return {"images": [write_temporary(".png", lambda path: picture.save(path, "PNG"))], **shown}


def thumbnails(images: Tensor, count: int) -> list[dict[str, str]]:
    """Small pictures for the table of a report, of a video its middle frame. images: (N, H, W, C) in [0, 1], N = count times the frames.

    Raises ValueError when the numbers don't fit.
    """
    if count == 0 or len(images) == 0 or len(images) % count:
        raise ValueError(f"images holds {len(images)} images, but uncertainty describes {count}; connect the images that were scored.")
    frames = len(images) // count
    return [thumbnail(images[i * frames + frames // 2]) for i in range(count)]


def thumbnail(image: Tensor) -> dict[str, str]:
    pixels = (image[..., :3].detach().float().nan_to_num().clamp(0, 1) * 255).round().byte().cpu().numpy()
    picture = Image.fromarray(pixels)
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    return write_temporary(".jpg", lambda path: picture.save(path, "JPEG"))


def write_report(summary: Summary) -> tuple[Path, Path]:
    """JSON and CSV in the output folder, numbered as the stock Save nodes number; raises OSError when they cannot be written."""
    folder, name, counter, *_ = folder_paths.get_save_image_path(f"{FOLDER}/report", folder_paths.get_output_directory())
    texts = {".json": json.dumps(summary, indent=1, allow_nan=False), ".csv": csv_table(summary)}
    paths = tuple(Path(folder) / f"{name}_{counter:05}_{suffix}" for suffix in texts)
    for path, content in zip(paths, texts.values(), strict=True):
        with replacing(path) as temporary:
            temporary.write_text(content, encoding="utf-8")
    return paths
