"""The best of each batch: what the survivors are, what ends on the way, what it costs, and what becomes of the others."""

from __future__ import annotations

from typing import Any

import pytest
from PIL import Image, ImageChops

from forge_server import HIRES, WEB_UI, Drawn, Forge
from web_ui import WebUI

pytestmark = pytest.mark.usefixtures("patcher")
SCORE = {"score": "information", "samples": 2, "levels": 1}  # 4 calls an image
SEARCH = {**SCORE, "best": 1, "prune_at": 0.25, "prune_to": 0.5, "rejected": "gallery"}
NO_GRID = {"override_settings": {"return_grid": False, "grid_save": False}}
CALLS = SCORING = 4  # of the comparison, and of the score, a candidate


def rows(forge: Forge) -> int:
    return forge.get("/probe")["rows"]


def search(forge: Forge, settings: dict[str, Any] | None = None, **parameters: Any) -> Drawn:
    return forge.draw({**SEARCH, **(settings or {})}, **{"batch_size": 4, **NO_GRID, **parameters})


@pytest.mark.parametrize("sampler", ["Euler", "Euler a", "DPM++ 2M", "DPM++ SDE", "Heun", "DDIM", "LCM", "UniPC"])
def test_what_survives_is_what_is_drawn_alone(forge: Forge, sampler: str) -> None:
    drawn = search(forge, {"prune_to": 0.25}, sampler_name=sampler)
    assert drawn.pixels == forge.draw(seed=int(drawn.field("Seed") or 0), sampler_name=sampler, **NO_GRID).pixels


def test_those_that_were_finished_beside_the_best_are_not_lost(forge: Forge) -> None:
    drawn = search(forge)
    assert len(drawn.pixels) == 2
    alone = [forge.draw(seed=seed, **NO_GRID).images[0] for seed in (1, 2, 3, 4)]
    found = [min(range(4), key=lambda i: difference(image, alone[i])) for image in drawn.images]
    assert found[0] == int(drawn.field("Seed") or 0) - 1 != found[1]
    assert all(difference(image, alone[i]) <= 1 for image, i in zip(drawn.images, found, strict=True))  # the VAE decodes two at once


def difference(one: Image.Image, other: Image.Image) -> int:
    return max(high for _, high in ImageChops.difference(one, other).getextrema())


@pytest.mark.parametrize(("sampler", "compared_after"), [("Euler", 3), ("Heun", 4)])
@pytest.mark.parametrize("survivors", [1, 2, 4])
def test_the_network_is_not_asked_for_what_has_ended(forge: Forge, sampler: str, compared_after: int, survivors: int) -> None:
    forge.draw(sampler_name=sampler, steps=8)
    alone = rows(forge)
    drawn = search(forge, {"prune_to": survivors / 4}, sampler_name=sampler, steps=8)
    comparing = 4 * CALLS if survivors < 4 else 0
    halves = 2 * compared_after  # of each step, with and without the prompt
    assert rows(forge) == survivors * (alone + SCORING) + (4 - survivors) * halves + comparing
    assert drawn.field("Uncertainty calls") == str(SCORING + comparing // 4)


def test_the_best_of_the_finished_is_kept_by_its_score(forge: Forge) -> None:
    every = forge.draw({**SCORE}, batch_size=4, **NO_GRID)
    drawn = search(forge, {"prune_to": 1.0})
    best = max(range(4), key=lambda i: every.scores()[i])  # low is bad
    assert drawn.pixels[0] == every.pixels[best]
    assert len(drawn.pixels) == 4
    assert (drawn.field("Uncertainty verdict") or "").startswith("Accepted")


@pytest.mark.parametrize("score", ["trajectory", "condition_gap"])
def test_candidates_are_compared_at_no_call(forge: Forge, score: str) -> None:
    forge.draw(steps=8)
    alone = rows(forge)
    drawn = search(forge, {"score": score, "prune_at": 0.5, "prune_to": 0.25}, steps=8)
    used = rows(forge)
    assert alone < used < 4 * alone
    assert (used - alone) % (3 * 2) == 0  # the same steps of the three others, and nothing else
    assert drawn.field("Uncertainty calls") == "0"


@pytest.mark.parametrize("count", [1, 3])
def test_every_batch_is_a_search_of_its_own(forge: Forge, count: int) -> None:
    drawn = search(forge, n_iter=count)
    assert len(drawn.infotexts) == count
    found = [int(drawn.field("Seed", i) or 0) for i in range(count)]
    assert [(seed - 1) // 4 for seed in found] == list(range(count))
    filtered = search(forge, {"rule": "keep_best_count", "value": 1}, n_iter=count)
    assert len(filtered.infotexts) == 1


def test_hires_fix_enlarges_only_the_survivors(forge: Forge) -> None:
    drawn = search(forge, **HIRES)
    used = rows(forge)
    forge.draw(**HIRES)
    assert used == 2 * (rows(forge) + SCORING) + 2 * 2 * 2 + 4 * CALLS  # two ended after two of the first steps
    seed = int(drawn.field("Seed") or 0)
    if WEB_UI is not WebUI.NEO:  # which enlarges pictures, and encodes those of a batch with noise that no other batch has
        alone = forge.draw(seed=seed, **HIRES, **NO_GRID).images[0]
        assert difference(drawn.images[0], alone) <= 1  # the VAE has decoded the whole batch at once
    assert drawn.field("Uncertainty note") is None


def test_guidance_and_candidates_in_one_call(forge: Forge) -> None:
    drawn = search(forge, {"strength": 0.3, "score": "denoised", "prune_to": 0.25})  # one is left, which the VAE decodes by itself
    seed = int(drawn.field("Seed") or 0)
    assert drawn.pixels[0] == forge.draw({"strength": 0.3, "score": "denoised"}, seed=seed, **NO_GRID).pixels[0]
    together = search(forge, {"at_once": 4})
    assert together.field("Seed") == search(forge).field("Seed")


@pytest.mark.parametrize(
    ("settings", "parameters", "sentence"),
    [
        ({}, {"sampler_name": "DPM adaptive"}, "'DPM adaptive' chooses its steps by all images of a batch"),
        ({"best": 3}, {"batch_size": 2}, "best is 3, but the batch size"),
    ],
)
def test_what_cannot_be_searched_is_drawn_whole_with_a_sentence(forge: Forge, settings: dict, parameters: dict, sentence: str) -> None:
    if (sampler := parameters.get("sampler_name")) and sampler not in {each["name"] for each in forge.get("/sdapi/v1/samplers")}:
        pytest.skip(f"this web UI has no sampler {sampler}")
    drawn = search(forge, settings, **parameters)
    assert sentence in (drawn.field("Uncertainty note") or "")
    assert set(drawn.pixels) == set(forge.draw(**{"batch_size": 4, **parameters, **NO_GRID}).pixels)


def test_the_next_batch_is_whole_again(forge: Forge) -> None:
    plain, before = forge.draw(batch_size=4, **NO_GRID), forge.get("/probe")
    search(forge)
    assert forge.draw(batch_size=4, **NO_GRID).pixels == plain.pixels
    assert forge.get("/probe") == before
