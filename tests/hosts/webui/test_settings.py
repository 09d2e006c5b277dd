"""What the API accepts, what it refuses and in which words, what the infotext says, and what a picture costs."""

from __future__ import annotations

import base64
import io

import pytest
from PIL.PngImagePlugin import PngInfo

from forge_server import HIRES, WEB_UI, Drawn, Forge
from uncertainty_nodes.core.options import PipelineScore
from uncertainty_nodes.hosts.webui.page.infotext import pasted
from uncertainty_nodes.hosts.webui.settings import Settings, names
from web_ui import WebUI

AUTOGRAD = 4 * 4 if WEB_UI is WebUI.A1111 else 2 * 4 + 6  # done as forward, or with a check of the gradient


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"strenght": 1}, "There is no setting 'strenght'"),
        ({"strength": 500}, "strength must be between -100 and 100, got 500"),
        (
            {"score": "beauty"},
            f"score must be one of {', '.join(score.value for score in PipelineScore)}, got 'beauty'",
        ),
        ({"start_percent": 0.9, "end_percent": 0.1}, "start_percent must not exceed end_percent"),
        ({"samples": "many"}, "samples must be a number, got 'many'"),
        ({"best": -1}, "best must be between 0 and 1000000, got -1"),
        ({"prune_at": 2}, "prune_at must be between 0 and 1, got 2"),
        ({"at_once": 0}, "at_once must be between 1 and 4096, got 0"),
        ({"members": "one:200", "score": "ensemble"}, "The strength of 'one' must be between -20 and 20, got 200"),
        ({"heatmaps": "perhaps"}, "heatmaps must be true or false, got 'perhaps'"),
    ],
)
def test_what_is_no_setting_comes_back_as_a_sentence(forge: Forge, settings: dict, sentence: str) -> None:
    drawn = forge.draw(settings)
    assert sentence in (drawn.field("Uncertainty note") or "")
    assert drawn.pixels == forge.draw().pixels


def test_an_infotext_restores_every_setting(forge: Forge) -> None:
    settings = {"score": "noise", "samples": 3, "strength": 0.3, "mode": "forward", "guidance_end": 0.7, "seed": 5}
    first = forge.draw(settings)
    parsed = forge.post("/sdapi/v1/png-info", {"image": as_png(first)})["parameters"]  # as pasting parses it
    values = {name: pasted(name)(parsed) for name in names()}
    assert values == Settings.from_mapping({"enabled": True, **settings}).effective
    again = forge.draw(values)
    assert again.pixels == first.pixels
    assert again.infotexts == first.infotexts
    assert pasted("enabled")({"Steps": "20"}) is False


def as_png(drawn: Drawn) -> str:
    text = PngInfo()
    text.add_text("parameters", drawn.infotexts[0])
    file = io.BytesIO()
    drawn.images[0].save(file, "PNG", pnginfo=text)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


@pytest.mark.parametrize(
    ("settings", "calls"),
    [
        ({"score": "information"}, 32),
        ({"score": "information", "samples": 2, "levels": 3}, 12),
        ({"score": "denoised", "samples": 3, "start_percent": 0, "end_percent": 1}, 12),
        ({"score": "trajectory"}, 0),
        ({"score": "condition_gap"}, 0),
        ({"score": "noise", "samples": 2, "strength": 0.1}, 2 + 2 * 4),
        ({"score": "noise", "samples": 2, "strength": 0.1, "mode": "forward", "guidance_samples": 3}, 2 + 6 * 4),
        ({"score": "noise", "samples": 2, "strength": 0.1, "mode": "autograd"}, 2 + AUTOGRAD),
    ],
)
@pytest.mark.parametrize("batch", [1, 3])
def test_an_image_costs_what_is_told(forge: Forge, settings: dict, calls: int, batch: int) -> None:
    forge.draw(batch_size=batch)
    plain = forge.get("/probe")["rows"]
    drawn = forge.draw(settings, batch_size=batch)
    assert forge.get("/probe")["rows"] - plain == calls * batch
    assert [drawn.field("Uncertainty calls", i) for i in range(batch)] == [str(calls)] * batch


def test_each_sampling_of_hires_fix_can_be_left_out(forge: Forge) -> None:
    rows = {}
    for passes in (None, "both", "first", "second"):
        drawn = forge.draw(None if passes is None else {"score": "denoised", "samples": 2, "passes": passes}, **HIRES)
        rows[passes] = forge.get("/probe")["rows"]
        if passes:
            assert drawn.field("Uncertainty calls") == f"{rows[passes] - rows[None]:g}"
    assert rows["both"] > rows["first"] > rows[None]
    assert rows["both"] > rows["second"] > rows[None]


def test_an_image_scores_alike_in_company_and_alone(forge: Forge) -> None:
    settings = {"score": "denoised", "strength": 0.1}
    together, alone = forge.draw(settings, batch_size=3), forge.draw(settings, seed=2)
    assert together.scores()[1] == pytest.approx(alone.scores()[0], rel=1e-3)
    assert len(set(together.scores())) == 3


def test_heatmaps_stand_behind_the_images_and_never_in_the_grid(forge: Forge) -> None:
    plain = forge.draw({"score": "denoised"}, batch_size=2, n_iter=2)
    with_maps = forge.draw({"score": "denoised", "heatmaps": True}, batch_size=2, n_iter=2)
    assert with_maps.pixels[: len(plain.pixels)] == plain.pixels
    assert len(with_maps.pixels) == len(plain.pixels) + 4
    assert len(set(with_maps.pixels)) == len(with_maps.pixels)


def test_guidance_moves_the_image_and_says_how(forge: Forge) -> None:
    plain = forge.draw()
    for mode in ("posterior", "forward", "autograd"):
        guided = forge.draw({"strength": 0.5, "mode": mode, "score": "noise"})
        assert guided.pixels != plain.pixels
        assert "strength=0.5" in (guided.field("Uncertainty settings") or "")
        if mode != "autograd" or WEB_UI is not WebUI.A1111:
            assert guided.field("Uncertainty note") is None  # a gradient that the model lacks would be told here
