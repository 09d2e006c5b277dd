"""Where images are unsure, as files beside the results: what is in them, that each is its own image's, and that the report finds it."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from bad_items import IMAGES, run, write_classes
from uncertainty_nodes.cli.report.results import read_results
from uncertainty_nodes.cli.shared.maps import map_path, small_maps
from uncertainty_nodes.core.options import Direction
from uncertainty_nodes.core.result import Uncertainty

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # diffusers' use of numpy
CHEAP = ["--levels", 2, "--samples", 2]


def result(maps, direction=Direction.HIGH_IS_BAD):
    scores = torch.zeros(len(maps))
    return Uncertainty(maps, scores, torch.zeros(0, len(maps)), torch.zeros(0), direction, "denoised", 1, 0.0)


def read_maps(folder):
    return {path.relative_to(folder).as_posix(): np.load(path, allow_pickle=False) for path in sorted(folder.rglob("*.npy"))}


def test_a_map_is_small_high_where_unsure_and_none_of_its_neighbours_business():
    maps = torch.rand(3, 4, 96, 128, generator=torch.Generator().manual_seed(0))
    maps[1] = torch.nan
    small = small_maps(result(maps))
    assert [each.shape for each in small] == [(48, 64)] * 3 and small[0].dtype == np.float16
    assert np.array_equal(small[2], small_maps(result(maps[2:]))[0]) and np.isnan(small[1]).all()
    assert small[0].mean() == pytest.approx(float(maps[0].mean()), rel=2e-3)
    plain = maps[:1, :, :32, :64]
    low_is_bad = small_maps(result(plain, Direction.LOW_IS_BAD))[0]
    np.testing.assert_allclose(low_is_bad, -plain[0].mean(dim=0), rtol=1e-3)


@pytest.mark.parametrize("scale", [1e-9, 1e6])
def test_what_half_precision_can_not_hold_stays_as_it_is(scale):
    maps = scale * torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert np.array_equal(small_maps(result(maps))[0], maps[0, 0])


def test_a_score_without_places_has_no_map():
    assert small_maps(result(torch.rand(2, 5))) == [None, None]


@pytest.mark.parametrize("name", ["/a/b.png", "../b.png", "a/../../b.png", "é" * 120 + ".png"])
def test_a_map_lies_beside_the_results_whatever_the_image_is_called(tmp_path, name):
    path = map_path(tmp_path / "uncertainty.json", name)
    assert path.parent == tmp_path / "maps" and path.suffix == ".npy" and len(path.name) < 100
    assert path != map_path(tmp_path / "uncertainty.json", name + "x")


def test_two_results_in_one_folder_have_maps_of_their_own(tmp_path):
    assert map_path(tmp_path / "a.json", "1.png") == tmp_path / "a.maps" / "1.png.npy"
    assert map_path(tmp_path / "uncertainty.json", "3/1.png") == tmp_path / "maps" / "3" / "1.png.npy"


def test_score_leaves_maps_where_asked_also_of_images_that_it_scored_before(tmp_path):
    folder = write_classes(tmp_path / "images")
    assert run("score", folder, *CHEAP) == 0
    assert not (folder / "maps").exists()
    before = json.loads((folder / "uncertainty.json").read_text())["rows"]
    (folder / "maps").mkdir()
    (folder / "maps" / ".0.png.npy.00.tmp").write_bytes(b"half of one, of a run that was killed")
    assert run("score", folder, *CHEAP, "--maps") == 0
    rows = json.loads((folder / "uncertainty.json").read_text())["rows"]
    assert [row | {"seconds": 0} for row in rows] == [row | {"seconds": 0} for row in before]
    maps = read_maps(folder / "maps")
    assert sorted(maps) == sorted(f"{row['file']}.npy" for row in rows) and len(rows) == IMAGES
    assert [path.name for path in (folder / "maps").rglob(".*")] == []
    for row in rows:  # information is summed over the image, so that each map tells whose it is
        assert -maps[f"{row['file']}.npy"].astype(float).sum() == pytest.approx(row["score"], rel=2e-3)
    assert all(image.map is not None for image in read_results(folder).images)


def test_score_makes_only_the_map_that_is_missing(tmp_path, caplog):
    caplog.set_level("INFO")
    folder = write_classes(tmp_path / "images")
    assert run("score", folder, *CHEAP, "--maps") == 0
    maps = read_maps(folder / "maps")
    (folder / "maps" / "3" / "0.png.npy").unlink()
    caplog.clear()
    assert run("score", folder, *CHEAP, "--maps") == 0
    assert "Scored without a map, and now once more: 1." in caplog.text and "Scored: 1;" in caplog.text
    again = read_maps(folder / "maps")
    assert again.keys() == maps.keys() and all(np.allclose(again[name], maps[name], rtol=1e-2, atol=1e-2) for name in maps)


def test_generate_leaves_the_map_of_each_image_unless_told_not_to(tmp_path):
    cheap = ["--steps", 3, "--samples", 2, "-n", 4, "--batch", 2]
    assert run("generate", "--out", tmp_path / "a", *cheap) == run("generate", "--out", tmp_path / "b", *cheap, "--no-maps") == 0
    with_maps, without = (json.loads((tmp_path / name / "results.json").read_text())["images"] for name in "ab")
    assert [row | {"seconds": 0} for row in with_maps] == [row | {"seconds": 0} for row in without]
    assert not (tmp_path / "b" / "maps").exists() and all(image.map is None for image in read_results(tmp_path / "b").images)
    assert read_results(tmp_path / "a").title == "a"  # the page is sent to others: no path of this machine
    for row, image in zip(with_maps, read_results(tmp_path / "a").images, strict=True):
        assert image.map == tmp_path / "a" / "maps" / f"{row['image']:06d}.npy"
        assert -np.load(image.map).astype(float).sum() == pytest.approx(row["score"], rel=2e-3)
