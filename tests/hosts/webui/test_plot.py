"""The real X/Y/Z plot with axes of ours: each cell is the image that its settings draw, and tells its own score."""

from __future__ import annotations

import urllib.error
from typing import Any

import pytest

from forge_server import Drawn, Forge

NONE = [0, "", []]
SMALL = {"steps": 2, "override_settings": {"return_grid": True, "grid_save": False}}


def arguments_of(forge: Forge) -> list[dict[str, Any]]:
    (plot,) = (s for s in forge.get("/sdapi/v1/script-info") if s["name"] == "x/y/z plot" and not s["is_img2img"])
    return plot["args"]


def axes_of(forge: Forge) -> list[str]:
    return arguments_of(forge)[0]["choices"]


def plot(forge: Forge, settings: dict[str, Any], x: tuple[str, str], y: tuple[str, list[str]] | None = None, **parameters: Any) -> Drawn:
    """y: an axis whose values are choices."""
    every = axes_of(forge)
    across = [every.index(f"[Uncertainty] {x[0]}"), x[1], []]
    down = NONE if y is None else [every.index(f"[Uncertainty] {y[0]}"), "", y[1]]
    others = arguments_of(forge)[9:]  # switches, of which each web UI has its own
    switches = [True if each["label"] == "Include Sub Images" else each["value"] for each in others]
    return forge.draw(settings, script_name="x/y/z plot", script_args=[*across, *down, *NONE, *switches], **SMALL, **parameters)


def test_a_cell_is_what_its_settings_draw(forge: Forge) -> None:
    values = [{"strength": strength, "mode": mode} for mode in ("posterior", "forward") for strength in (0.0, 0.5)]
    score = {"score": "denoised", "samples": 2, "heatmaps": True}
    drawn = plot(forge, {**score, "preset": "paper"}, ("Guidance strength", "0, 0.5"), ("Guidance mode", ["posterior", "forward"]))
    alone = [forge.draw({**score, **cell}, **SMALL) for cell in values]
    assert drawn.pixels[1:5] == [each.pixels[0] for each in alone]
    assert drawn.scores()[1:5] == [each.scores()[0] for each in alone]
    assert len(set(drawn.scores()[1:5])) == 3  # strength 0 is the same in both modes


@pytest.mark.parametrize(("percents", "kept"), [("0, 100", 1), ("100, 0", 2)])
def test_a_dropped_cell_stays_empty(forge: Forge, percents: str, kept: int) -> None:
    drawn = plot(forge, {"score": "denoised", "samples": 2}, ("Percent dropped", percents))
    shown = [each == forge.draw(**SMALL).pixels[0] for each in drawn.pixels]
    assert shown[:3] == [False, kept == 1, kept == 2]


def test_pictures_that_are_rejected_in_any_cell_are_saved(forge: Forge) -> None:
    """The plot shows of each cell but the first its accepted pictures alone."""
    before = set(forge.base.glob("output*/**/rejected/**/*.png"))
    axes, settings = ("Seed of the draws", "1, 2, 3"), {"score": "denoised", "samples": 2, "rule": "threshold", "value": -1}
    plot(forge, {**settings, "rejected": "gallery"}, axes, save_images=True)
    assert len(set(forge.base.glob("output*/**/rejected/**/*.png")) - before) == 3


def test_a_cell_that_is_refused_tells_no_score_of_another(forge: Forge) -> None:
    drawn = plot(forge, {"score": "denoised", "samples": 2, "strength": 0.1, "guidance_start": 0.5}, ("Guide to", "0.9, 0.2"))
    assert drawn.field("Uncertainty", 1) is not None
    assert drawn.field("Uncertainty", 2) is None
    assert "Drawn without it" in (drawn.field("Uncertainty note", 2) or "")


def test_a_value_out_of_range_ends_the_plot_before_its_first_cell(forge: Forge) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        plot(forge, {"score": "denoised"}, ("Guidance strength", "0, 500"))
    assert "[Uncertainty] Guidance strength must be between -100 and 100, got 500" in refused.value.read().decode()


def test_axes_are_there_once(forge: Forge) -> None:
    ours = [label for label in axes_of(forge) if label.startswith("[Uncertainty] ")]
    assert len(ours) == len(set(ours)) == 10
