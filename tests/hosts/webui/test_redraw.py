"""An image that a search or until good has kept can be drawn again alone: by the seeds in its infotext, which its file holds too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from forge_server import Drawn, Forge

SCORE = {"score": "information", "samples": 2, "levels": 1}
SEARCH = {**SCORE, "best": 1, "prune_at": 0.5, "prune_to": 0.25}  # one is left, which the VAE decodes by itself
NO_GRID = {"override_settings": {"return_grid": False, "grid_save": False}}
COUNT, SIZE = 3, 4


def seeds(drawn: Drawn, index: int) -> dict[str, Any]:
    """What to ask for to draw that image again."""
    told = {"seed": drawn.field("Seed", index), "subseed": drawn.field("Variation seed", index)}
    return {name: int(seed) for name, seed in told.items() if seed is not None}


def pictures(forge: Forge) -> set[Path]:
    return {path for folder in ("output", "outputs") for path in forge.base.glob(f"{folder}/**/*.png")}


@pytest.mark.usefixtures("patcher")
@pytest.mark.parametrize("more", [{}, {"subseed": 7, "subseed_strength": 0.5}], ids=["seed", "variation"])
@pytest.mark.parametrize("sampler", ["Euler", "Euler a"])
def test_the_best_of_each_batch_is_drawn_again_by_its_seeds(forge: Forge, sampler: str, more: dict[str, Any]) -> None:
    job = {"sampler_name": sampler, **more, **NO_GRID}
    before = pictures(forge)
    drawn = forge.draw(SEARCH, batch_size=SIZE, n_iter=COUNT, save_images=True, **job)
    assert len(drawn.pixels) == COUNT
    again = [forge.draw(**{**job, **seeds(drawn, i)}).pixels[0] for i in range(COUNT)]
    assert drawn.pixels == again
    files = [Image.open(path) for path in sorted(pictures(forge) - before)]
    assert {file.convert("RGB").tobytes(): file.info["parameters"] for file in files} == dict(zip(again, drawn.infotexts, strict=True))


@pytest.mark.parametrize("sampler", ["Euler", "Euler a"])
def test_what_until_good_accepts_is_drawn_again_by_its_seed(forge: Forge, sampler: str) -> None:
    job = {"sampler_name": sampler, **NO_GRID}
    every = forge.draw(SCORE, n_iter=COUNT, **job)
    limit = max(every.scores()[1:])  # of information, low is bad; the first may pass too
    until = {**SCORE, "rule": "threshold", "value": limit - 1e-4, "wanted": 1}
    drawn = forge.draw(until, n_iter=COUNT, **job)
    assert len(drawn.infotexts) == 1  # those behind it were rejected, and are not saved
    assert drawn.pixels[0] == forge.draw(**{**job, **seeds(drawn, 0)}).pixels[0]


def test_a_rejected_image_in_its_folder_is_drawn_again_by_its_seed(forge: Forge) -> None:
    before = pictures(forge)
    kept = forge.draw({**SCORE, "rule": "keep_best_count", "value": 1}, n_iter=COUNT, save_images=True, sampler_name="Euler a", **NO_GRID)
    rejected = [Image.open(path) for path in pictures(forge) - before if "rejected" in path.parts]
    assert len(rejected) == COUNT - 1
    for file in rejected:
        seed = int(file.info["parameters"].split("Seed: ")[1].split(",")[0])
        assert seed != seeds(kept, 0)["seed"]
        assert file.convert("RGB").tobytes() == forge.draw(seed=seed, sampler_name="Euler a", **NO_GRID).pixels[0]
