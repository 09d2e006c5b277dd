"""A1111 itself, where FORGE_PATH is one: what it can't do is told in a sentence, and every image is drawn all the same."""

from __future__ import annotations

from typing import Any

import pytest

from forge_server import WEB_UI, Forge
from inpainting import inputs, settled
from uncertainty_nodes.hosts.webui.sampling.callbacks import MASKED, NO_LORAS, NO_SEARCH, NO_SIGMAS, SEVERAL_PROMPTS
from web_ui import WebUI

SCORE = {"score": "denoised", "samples": 2}
NO_GRID = {"override_settings": {"return_grid": False, "grid_save": False}}


@pytest.fixture(autouse=True)
def is_a1111(forge: Forge) -> None:
    if WEB_UI is not WebUI.A1111:
        pytest.skip("not A1111: set FORGE_PATH to one, and FORGE_PYTHON to its Python")


def test_the_best_are_chosen_among_finished_images(forge: Forge) -> None:
    every = forge.draw(SCORE, batch_size=4, **NO_GRID)
    drawn = forge.draw({**SCORE, "best": 1, "rejected": "gallery"}, batch_size=4, **NO_GRID)
    best = min(range(4), key=lambda i: every.scores()[i])
    assert drawn.pixels[0] == every.pixels[best]
    assert sorted(drawn.pixels) == sorted(every.pixels)
    assert NO_SEARCH in (drawn.field("Uncertainty note") or "")


@pytest.mark.parametrize(
    ("settings", "parameters", "sentence"),
    [
        ({"score": "ensemble", "members": "first, second"}, {}, NO_LORAS),
        (SCORE, {"sampler_name": "DDIM"}, NO_SIGMAS),
        (SCORE, {"sampler_name": "PLMS"}, NO_SIGMAS),
        (SCORE, {"sampler_name": "UniPC"}, NO_SIGMAS),
        (SCORE, {"prompt": "a cat AND a dog"}, SEVERAL_PROMPTS),
    ],
)
def test_what_cannot_be_measured_is_drawn_with_a_sentence(forge: Forge, settings: dict, parameters: dict[str, Any], sentence: str) -> None:
    drawn = forge.draw({**settings, "strength": 0}, **parameters)
    assert sentence in (drawn.field("Uncertainty note") or "")
    assert drawn.field("Uncertainty") is None
    assert drawn.pixels == forge.draw(**parameters).pixels


def test_guidance_beside_a_mask_is_left_out_with_a_sentence(forge: Forge) -> None:
    job = {"mode": "img2img", **inputs(False)}
    plain = settled(forge, job)
    drawn = forge.draw({**SCORE, "strength": 0.3}, **job)
    assert MASKED in (drawn.field("Uncertainty note", -1) or "")
    assert drawn.pixels == plain.pixels


def test_the_mode_autograd_is_done_as_forward(forge: Forge) -> None:
    settings = {**SCORE, "strength": 0.5}
    drawn = forge.draw({**settings, "mode": "autograd"})
    assert drawn.pixels == forge.draw({**settings, "mode": "forward"}).pixels
    assert "The mode forward was used instead" in (drawn.field("Uncertainty note") or "")
