"""Which pictures are kept: every number accepted, in every shape of a job; what becomes of the others; and when a job may stop."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest
import torch

from forge_server import Drawn, Forge
from uncertainty_nodes.core.options import Direction
from uncertainty_nodes.core.selection.calibration import Calibration

SCORE = {"score": "denoised", "samples": 2}
SHAPES = [(1, 1), (4, 1), (1, 3), (4, 3)]  # batch size, batch count
NO_GRID = {"override_settings": {"return_grid": False, "grid_save": False}}


def seeds(drawn: Drawn) -> list[int]:
    return [int(drawn.field("Seed", i) or -1) for i in range(len(drawn.infotexts))]


def rejected_files(forge: Forge) -> set[Path]:
    return set(forge.base.glob("output*/**/rejected/**/*.png"))


def grid_files(forge: Forge) -> set[Path]:
    return set(forge.base.glob("output*/**/grid-*.png"))


@functools.cache
def all_of(forge: Forge, size: int, count: int) -> Drawn:
    return forge.draw(SCORE, batch_size=size, n_iter=count, **NO_GRID)


@pytest.mark.parametrize(("size", "count"), SHAPES)
@pytest.mark.parametrize("keep", [0, 1, 99])
def test_the_best_of_the_whole_job_are_kept(forge: Forge, size: int, count: int, keep: int) -> None:
    every = all_of(forge, size, count)
    ranked = sorted(range(size * count), key=lambda i: every.scores()[i])[:keep]
    settings = {**SCORE, "rule": "keep_best_count", "value": keep, "rejected": "gallery"}
    drawn = forge.draw(settings, batch_size=size, n_iter=count, **NO_GRID)
    kept = sorted(ranked)
    rejected = [i for i in range(size * count) if i not in kept]
    assert drawn.pixels == [every.pixels[i] for i in kept + rejected]  # those behind are no part of the infotexts
    assert "Accepted" in (drawn.field("Uncertainty verdict") or "") or not kept


@pytest.mark.parametrize(("size", "count"), [(1, 1), (2, 2)])
@pytest.mark.parametrize("only_if_multiple", [False, True])
@pytest.mark.parametrize(("returned", "saved"), [(True, True), (True, False), (False, True), (False, False)])
def test_none_and_all_are_normal_with_every_grid(
    forge: Forge, size: int, count: int, only_if_multiple: bool, returned: bool, saved: bool
) -> None:
    grids = {"return_grid": returned, "grid_save": saved, "grid_only_if_multiple": only_if_multiple}
    job = {"batch_size": size, "n_iter": count, "override_settings": grids, "save_images": True}  # by the API, no grid is made of others
    is_made = size * count > 1 or not only_if_multiple
    threshold = {**SCORE, "rule": "threshold"}
    before = grid_files(forge)
    plain = forge.draw(**job)
    assert (len(plain.pixels), len(grid_files(forge) - before)) == (size * count + (returned and is_made), saved and is_made)
    assert forge.draw({**threshold, "value": 1e6}, **job).pixels == plain.pixels
    before, rejected = grid_files(forge), rejected_files(forge)
    shown = forge.draw({**threshold, "value": -1, "rejected": "gallery"}, **job)
    assert shown.pixels == plain.pixels[-size * count :]  # the rejected, and no grid
    assert forge.draw({**threshold, "value": -1, "rejected": "folder"}, **job).pixels == []
    assert len(rejected_files(forge) - rejected) == size * count
    assert grid_files(forge) == before


def test_the_worst_are_dropped_and_saved_in_a_folder_of_their_own(forge: Forge) -> None:
    every, before = all_of(forge, 2, 2), rejected_files(forge)
    settings = {**SCORE, "rule": "drop_worst_percent", "value": 50}
    drawn = forge.draw(settings, batch_size=2, n_iter=2, save_images=True, **NO_GRID)
    best = sorted(sorted(range(4), key=lambda i: every.scores()[i])[:2])
    assert drawn.pixels == [every.pixels[i] for i in best]
    assert seeds(drawn) == [1 + i for i in best]
    assert len(rejected_files(forge) - before) == 2


def test_a_calibration_of_comfyui_decides(forge: Forge) -> None:
    every = all_of(forge, 4, 1)
    made = {"host": "comfyui", "method": "aleatoric", "samples": "2", "sampler": "euler"}
    history = Calibration.fit([torch.tensor(every.scores())], Direction.HIGH_IS_BAD, "denoised", [made])
    history.save(forge.models / "uncertainty" / "calibration" / "mine.safetensors")
    drawn = forge.draw({**SCORE, "rule": "calibrated", "value": 50, "calibration": "mine"}, batch_size=4, **NO_GRID)
    assert drawn.pixels[:2] == [every.pixels[i] for i in range(4) if every.scores()[i] <= sorted(every.scores())[1]]
    other = forge.draw({**SCORE, "samples": 3, "rule": "calibrated", "value": 50, "calibration": "mine"}, **NO_GRID)
    assert "made with samples '2'" in (other.field("Uncertainty note") or "")
    missing = forge.draw({**SCORE, "rule": "calibrated", "value": 50, "calibration": "yours"}, **NO_GRID)
    assert "There is no file" in (missing.field("Uncertainty note") or "")
    assert missing.pixels == forge.draw(**NO_GRID).pixels
    outside = forge.draw({**SCORE, "rule": "calibrated", "value": 50, "calibration": "../../secret"}, **NO_GRID)
    assert "without a folder" in (outside.field("Uncertainty note") or "")


@pytest.mark.parametrize("wanted", [1, 2, 5])
def test_it_stops_with_the_batch_that_brings_enough(forge: Forge, wanted: int) -> None:
    every = all_of(forge, 4, 3).scores()
    limit = sorted(every)[5]  # six of twelve are accepted
    accepted = [sum(score <= limit for score in every[: 4 * batches]) for batches in (1, 2, 3)]
    batches = next(i for i, count in enumerate(accepted, start=1) if count >= wanted)
    settings = {**SCORE, "rule": "threshold", "value": limit * 1.0001, "wanted": wanted, "rejected": "gallery"}
    drawn = forge.draw(settings, batch_size=4, n_iter=3, **NO_GRID)
    assert len(drawn.pixels) == 4 * batches
    assert len(drawn.infotexts) == accepted[batches - 1]


def test_it_stops_when_enough_are_accepted(forge: Forge) -> None:
    every = all_of(forge, 1, 3)
    limit = sorted(every.scores())[0]
    expected = every.scores().index(limit) + 1
    until = {**SCORE, "rule": "threshold", "value": limit + 1e-6, "wanted": 1, "rejected": "gallery"}
    drawn = forge.draw(until, n_iter=3, **NO_GRID)
    assert drawn.pixels[0] == every.pixels[expected - 1]
    assert len(drawn.pixels) == expected
    generous = forge.draw({**until, "value": 1e6}, n_iter=3, **NO_GRID)
    assert generous.pixels == every.pixels[:1]
    assert forge.draw(n_iter=2, **NO_GRID).pixels == every.pixels[:2]  # the next job is not stopped


def test_a_rule_that_compares_cannot_stop_a_job(forge: Forge) -> None:
    drawn = forge.draw({"rule": "keep_best_count", "value": 1, "wanted": 1})
    assert "only the rules 'threshold', 'calibrated', 'at_most_bad' judge an image by itself" in (drawn.field("Uncertainty note") or "")


def test_a_filter_that_keeps_all_is_none(forge: Forge) -> None:
    plain = forge.draw(batch_size=2, n_iter=2)
    assert forge.draw({**SCORE, "rule": "drop_worst_percent", "value": 0}, batch_size=2, n_iter=2).pixels == plain.pixels


def test_saved_images_lie_where_forge_puts_them(forge: Forge) -> None:
    before = set(Path(forge.base).rglob("*.png"))
    forge.draw({**SCORE, "rule": "threshold", "value": 1e6}, save_images=True, **NO_GRID)
    (new,) = set(Path(forge.base).rglob("*.png")) - before
    assert "rejected" not in new.parts
