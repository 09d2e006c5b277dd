"""Measuring changes no image of any sampler, strength 0 is no guidance, and nothing is left after a failure."""

from __future__ import annotations

import math
import urllib.error
from pathlib import Path
from typing import Any

import pytest

from forge_server import HIRES, WEB_UI, Forge
from web_ui import WebUI

EXTENSIONS = {"uncertainty-nodes", "uq-probe"}
SAMPLERS = ["Euler", "Euler a", "DPM++ 2M", "DPM++ SDE", "Heun", "LMS" if WEB_UI is WebUI.A1111 else "DDIM"]  # A1111 can't measure DDIM


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_measuring_changes_no_bit_of_an_image(forge: Forge, sampler: str) -> None:
    plain = forge.draw(sampler_name=sampler, batch_size=2)
    assert forge.draw(sampler_name=sampler, batch_size=2, seed=2).pixels != plain.pixels  # the comparison can fail
    for settings in ({"score": "denoised"}, {"score": "information", "levels": 1, "samples": 2, "strength": 0}):
        measured = forge.draw(settings, sampler_name=sampler, batch_size=2)
        assert measured.pixels == plain.pixels
        assert len(set(measured.scores())) == 2 and all(map(math.isfinite, measured.scores()))


def test_measuring_changes_no_bit_with_hires_fix(forge: Forge) -> None:
    plain = forge.draw(**HIRES)
    for passes in ("both", "first", "second"):
        assert forge.draw({"score": "denoised", "passes": passes}, **HIRES).pixels == plain.pixels


def test_other_peoples_imports_do_not_find_our_folders(forge: Forge) -> None:
    searched = [Path(folder).name for folder in forge.get("/search_path")]
    left = set() if WEB_UI is WebUI.A1111 else {"uq-probe"}  # as the web UI leaves it for any other extension
    assert {name for name in searched if name in EXTENSIONS} == left


@pytest.mark.parametrize(
    "settings",
    [
        {"score": "denoised", "samples": 2},
        {"score": "information", "levels": 1, "samples": 2, "strength": 0.3, "guidance_samples": 2},
    ],
)
def test_nothing_is_left_after_a_failure_at_any_call(forge: Forge, settings: dict[str, Any]) -> None:
    fail_at_every_call(forge, settings)


@pytest.mark.usefixtures("patcher")
def test_nothing_is_left_after_a_failure_in_a_search(forge: Forge) -> None:
    fail_at_every_call(forge, {"score": "denoised", "samples": 2, "best": 1, "prune_at": 0.5})


def fail_at_every_call(forge: Forge, settings: dict[str, Any]) -> None:
    """A failure in a step of the sampler ends the generation; one in a call of ours leaves the image, and a sentence."""
    plain, before = forge.draw(batch_size=2), forge.get("/probe")
    forge.draw(settings, batch_size=2)
    calls, ended = forge.get("/probe")["calls"], 0
    for call in range(1, calls + 1):
        try:
            drawn = forge.draw(settings, probe=[call, 0], batch_size=2)
        except urllib.error.HTTPError:
            ended += 1
        else:
            assert "the probe was told to fail here" in (drawn.field("Uncertainty note") or ""), call
        assert forge.draw(batch_size=2).pixels == plain.pixels, call
        assert forge.get("/probe") == before, call
    assert before["calls"] <= ended < calls


def test_a_failure_of_our_own_calls_leaves_the_image_and_a_sentence(forge: Forge) -> None:
    plain = forge.draw()
    broken = forge.draw({"score": "information", "levels": 1, "samples": 2}, probe=[5, 0])  # four steps, then ours
    assert broken.pixels == plain.pixels
    assert "the probe was told to fail here" in (broken.field("Uncertainty note") or "")
    assert broken.field("Uncertainty") is None
