"""Image to image, with a mask; and an interruption in the middle, after which all is as before."""

from __future__ import annotations

import math
import threading
import time
from typing import Any

import pytest

from forge_server import Forge
from inpainting import inputs, settled

SCORE = {"score": "denoised", "samples": 2}


@pytest.mark.parametrize("only_masked", [False, True])
def test_a_masked_image_is_measured_and_filtered(forge: Forge, only_masked: bool) -> None:
    job = {"mode": "img2img", "batch_size": 2, **inputs(only_masked)}
    plain = settled(forge, job)
    every = forge.draw({**SCORE, "heatmaps": True}, **job)
    assert every.pixels[: len(plain.pixels)] == plain.pixels
    assert len({score for score in every.scores() if math.isfinite(score)}) == 2
    kept = forge.draw({**SCORE, "rule": "keep_best_count", "value": 1, "rejected": "gallery"}, **job)
    assert sorted(kept.pixels) == sorted(plain.pixels[-2:])  # the rejected one is put into its surroundings as the accepted is


def test_image_to_image_is_measured_without_a_mask(forge: Forge) -> None:
    job = {name: value for name, value in inputs(False).items() if "mask" not in name and "inpaint" not in name}
    plain = settled(forge, {"mode": "img2img", **job})
    assert forge.draw({"levels": 1, "samples": 2}, mode="img2img", **job).pixels == plain.pixels
    assert forge.draw({"strength": 0.5, **SCORE}, mode="img2img", **job).pixels != plain.pixels


@pytest.mark.parametrize("settings", [{"score": "denoised"}, {"score": "information"}, {"rule": "keep_best_count", "value": 1, **SCORE}])
def test_an_interruption_ends_the_job_and_the_next_is_clean(forge: Forge, settings: dict[str, Any]) -> None:
    plain, before = forge.draw(), forge.get("/probe")
    drawn = []
    job = threading.Thread(target=lambda: drawn.append(forge.draw(settings, probe=[0, 0.3], n_iter=3, steps=6)))
    job.start()
    while forge.get("/probe")["calls"] not in range(3, 90):
        time.sleep(0.05)
    forge.post("/sdapi/v1/interrupt", {})
    job.join(120)
    assert drawn
    assert len(drawn[0].infotexts) < 3
    assert forge.draw().pixels == plain.pixels
    after = forge.get("/probe")
    assert {name: after[name] for name in ("post_cfg", "callbacks", "attributes")} == {
        name: before[name] for name in ("post_cfg", "callbacks", "attributes")
    }
