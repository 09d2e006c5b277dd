"""Measuring changes no image of any sampler, strength 0 is no guidance, and nothing is left after a failure."""

from __future__ import annotations

import urllib.error
from pathlib import Path

import pytest

from forge_server import HIRES, Forge

EXTENSIONS = {"uncertainty-nodes", "uq-probe"}
SAMPLERS = ["Euler", "Euler a", "DPM++ 2M", "DPM++ SDE", "Heun", "DDIM"]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_measuring_changes_no_bit_of_an_image(forge: Forge, sampler: str) -> None:
    plain = forge.draw(sampler_name=sampler, batch_size=2)
    assert forge.draw(sampler_name=sampler, batch_size=2, seed=2).pixels != plain.pixels  # the comparison can fail
    for settings in ({"score": "denoised"}, {"score": "information", "levels": 1, "samples": 2, "strength": 0}):
        measured = forge.draw(settings, sampler_name=sampler, batch_size=2)
        assert measured.pixels == plain.pixels
        assert len(set(measured.scores())) == 2


def test_measuring_changes_no_bit_with_hires_fix(forge: Forge) -> None:
    plain = forge.draw(**HIRES)
    for passes in ("both", "first", "second"):
        assert forge.draw({"score": "denoised", "passes": passes}, **HIRES).pixels == plain.pixels


def test_other_peoples_imports_do_not_find_our_folders(forge: Forge) -> None:
    searched = [Path(folder).name for folder in forge.get("/search_path")]
    assert [name for name in searched if name in EXTENSIONS] == ["uq-probe"]  # as Forge leaves it for any other extension


@pytest.mark.parametrize("call", [1, 3, 5])
def test_nothing_is_left_after_a_failure(forge: Forge, call: int) -> None:
    plain, before = forge.draw(), forge.get("/probe")
    with pytest.raises(urllib.error.HTTPError):
        forge.draw({"score": "denoised", "samples": 2, "strength": 0}, probe=[call, 0])  # the fourth is our own
    assert forge.draw().pixels == plain.pixels
    assert forge.get("/probe") == before


def test_a_failure_of_our_own_calls_leaves_the_image_and_a_sentence(forge: Forge) -> None:
    plain = forge.draw()
    broken = forge.draw({"score": "information", "levels": 1, "samples": 2}, probe=[5, 0])  # four steps, then ours
    assert broken.pixels == plain.pixels
    assert "the probe was told to fail here" in (broken.field("Uncertainty note") or "")
    assert broken.field("Uncertainty") is None
