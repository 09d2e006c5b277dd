"""The demo's page: PNGs, and an index.html that works from the disk, offline."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ...core.files import remove_all_leftovers, replacing
from ...core.options import HeatmapOptions, HeatmapScale
from ...core.result import Uncertainty
from ...core.selection.filtering import Decision
from ...core.view.heatmap import heatmap

COLUMNS = 12  # of the overview
SCALE = 4  # 32-pixel digits are too small to look at
TEMPLATE = Path(__file__).with_name("gallery.html")
STYLE = Path(__file__).with_name("gallery.css")
PLACEHOLDER = "/*DATA*/null"


@dataclass(frozen=True)
class GuidedImages:
    """All images at one guidance strength: (B, 1, 32, 32), and p(asked class), (B,)."""

    strength: float
    images: Tensor
    asked: Tensor


def write_gallery(
    out: Path,
    images: Tensor,
    labels: Tensor,
    asked: Tensor,
    uncertainty: Uncertainty,
    decision: Decision,
    guided: Sequence[GuidedImages],
    results: dict[str, Any],
) -> None:
    """images/NNN.png, heatmaps/NNN.png, guided/K/NNN.png; index.html last, when all it shows is there.

    Also overview.png, the surest images left and the least sure ones right, each over its heatmap; and strengths.png, the
    least sure images at each guidance strength.
    """
    shown = to_pictures(images)
    # one scale for all images: a brighter map is a less certain image, not only a less certain place
    heat = heatmap(enlarge(uncertainty.bad_maps), HeatmapOptions(opacity=0.75, scale=HeatmapScale.BATCH, high=99.5), shown)
    write_pngs(out / "images", shown)
    write_pngs(out / "heatmaps", heat)
    for k, row in enumerate(guided):
        write_pngs(out / "guided" / str(k), to_pictures(row.images))
    data = {
        "results": results,
        "cards": [
            {"index": i, "label": int(labels[i]), "asked": round(float(asked[i]), 4), "score": float(uncertainty.scores[i])}
            for i in decision.order
        ],
        "curve": {"sigmas": uncertainty.sigmas.tolist(), "values": uncertainty.curve.T.tolist()},
        "guided": [{"strength": g.strength, "asked": [round(float(p), 4) for p in g.asked]} for g in guided],
    }
    order = decision.order
    half = min(COLUMNS // 2, len(order) // 2)
    overview = tile([pictures[[*order[:half], *order[len(order) - half :]]] for pictures in (shown, heat)])
    strengths = tile([to_pictures(row.images[list(order[-COLUMNS:])]) for row in guided])
    write_pngs(out, torch.stack([overview]), names=["overview.png"])
    write_pngs(out, torch.stack([strengths]), names=["strengths.png"])
    page = (
        TEMPLATE.read_text(encoding="utf-8")
        .replace("/*STYLE*/", STYLE.read_text(encoding="utf-8"))
        .replace(PLACEHOLDER, json.dumps(data).replace("</", "<\\/"))
    )
    with replacing(out / "index.html") as path:
        path.write_text(page, encoding="utf-8")


def enlarge(maps: Tensor) -> Tensor:
    return F.interpolate(maps, scale_factor=SCALE, mode="bilinear")


def to_pictures(images: Tensor) -> Tensor:
    """Samples (B, 1, H, W) in [-1, 1] -> (B, SCALE H, SCALE W, 3) in [0, 1]."""
    large = F.interpolate(images / 2 + 0.5, scale_factor=SCALE, mode="bicubic").clamp(0, 1)
    return large.expand(-1, 3, -1, -1).permute(0, 2, 3, 1)


def tile(rows: Sequence[Tensor]) -> Tensor:
    """Rows of pictures (B, H, W, 3), under each other with white gaps: one picture."""
    return torch.cat([torch.cat([F.pad(p, (0, 0, 2, 2, 2, 2), value=1.0) for p in row], dim=1) for row in rows])


def write_pngs(folder: Path, pictures: Tensor, names: Sequence[str] | None = None) -> None:
    """(B, H, W, 3) in [0, 1] -> 000.png, 001.png, ... unless named otherwise."""
    remove_all_leftovers(folder)
    for i, pixels in enumerate((pictures * 255).round().byte().numpy()):
        with replacing(folder / (names[i] if names else f"{i:03d}.png")) as path:
            Image.fromarray(pixels).save(path, format="PNG")
