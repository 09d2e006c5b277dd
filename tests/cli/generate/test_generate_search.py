"""generate --best-of and --until-kept: which images come out, what they cost, and how a run that was stopped goes on."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel, UNet2DModel
from PIL import Image

import tiny_text
from bad_items import begins_as, spoil
from drawing_runs import STEPS, count_rows, draw, drawn_alone, kept, outputs, rows, saved, stop_after
from uncertainty_nodes.cli.generate import worker as generate
from uncertainty_nodes.core.options import BestOfOptions, Direction, Request, SchedulerName, SearchMode
from uncertainty_nodes.core.search.seeds import derive_seed
from uncertainty_nodes.core.selection.calibration import Calibration
from uncertainty_nodes.core.view.notes import read_notes
from uncertainty_nodes.hosts.diffusers.demo import starting_noise
from uncertainty_nodes.hosts.diffusers.draw import PipelineDrawer
from uncertainty_nodes.hosts.diffusers.load import Setup
from uncertainty_nodes.hosts.diffusers.search.best_of import best_of

pytestmark = pytest.mark.filterwarnings("ignore")  # diffusers' use of numpy


@pytest.mark.parametrize("prune", [[], ["--prune", 0.5], ["--prune", 0.5, "--prune-at", 0.3, 0.6], ["--prune", 1], ["--prune", 0]])
def test_each_image_is_one_of_its_candidates_and_calls_are_counted(tmp_path, monkeypatch, caplog, prune):
    seen = count_rows(monkeypatch, UNet2DModel)
    caplog.set_level("INFO")
    assert draw(tmp_path, "-n", 2, "--keep", 1, "--best-of", 4, *prune) == 0
    images = rows(tmp_path)
    assert sum(seen) == sum(row["calls"] + row["nfe"] for row in images.values())
    assert f"All together: {sum(seen)} model calls, {sum(seen):.4g} for each image kept" in caplog.text
    for i, row in images.items():
        alone = drawn_alone(row["seed"], i)
        assert row["seed"] == derive_seed(i, row["candidate"]) == read_notes(tmp_path / row["file"])[0].seed
        assert np.array_equal(np.asarray(Image.open(tmp_path / row["file"])), alone)
    full = 4 * STEPS + 4 * 4  # four sampled, four compared by two draws with and without the condition
    if prune in ([], ["--prune", 0]):
        assert {row["calls"] for row in images.values()} == {full}
    if prune == ["--prune", 1]:  # the one that goes on needs no comparison at the end
        assert {row["calls"] for row in images.values()} < {full - 3 * n for n in range(1, STEPS)}


def test_best_of_one_is_plain_drawing_and_the_first_candidate_too(tmp_path):
    assert draw(tmp_path / "plain", "-n", 2) == draw(tmp_path / "one", "-n", 2, "--best-of", 1) == 0
    assert outputs(tmp_path / "plain") == outputs(tmp_path / "one")
    assert {row["calls"] for row in rows(tmp_path / "one").values()} == {STEPS}
    assert np.array_equal(np.asarray(Image.open(tmp_path / "plain" / rows(tmp_path / "plain")[1]["file"])), drawn_alone(1, 1))


def test_the_best_of_several_carry_more_of_what_was_asked(tmp_path):
    assert draw(tmp_path / "plain", "-n", 4) == draw(tmp_path / "best", "-n", 4, "--best-of", 4) == 0
    plain, best = (np.mean([row["score"] for row in rows(tmp_path / name).values()]) for name in ("plain", "best"))
    assert best > plain


@pytest.mark.parametrize("kind", ["sd", "sdxl", "sd3"])
@pytest.mark.parametrize("scale", [1, 3])
def test_best_of_with_pipelines(tmp_path, monkeypatch, kind, scale):
    pipe = tiny_text.make(kind, tmp_path / "words")
    pipe.save_pretrained(tmp_path / kind)
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a b\nc d\n")
    network = type(getattr(pipe, "unet", None) or pipe.transformer)
    seen = count_rows(monkeypatch, network) if network is UNet2DConditionModel else None
    model = ["--model", tmp_path / kind, "--prompts", prompts, "--guidance-scale", scale]
    assert draw(tmp_path / "out", "-n", 2, *model, "--best-of", 3, "--prune", 0.5) == 0
    images = rows(tmp_path / "out")
    assert {i: row["shown"] for i, row in images.items()} == {0: "a b", 1: "c d"}
    assert seen is None or sum(seen) == sum(row["calls"] + row["nfe"] for row in images.values())
    for i, row in images.items():
        seeded = torch.Generator().manual_seed(derive_seed(i, row["candidate"]))
        call = {"guidance_scale": scale, "num_inference_steps": STEPS, "output_type": "pt", "generator": seeded}
        alone = (pipe(row["shown"], **call)[0][0] * 255).round().byte().permute(1, 2, 0).numpy()
        found = np.asarray(Image.open(tmp_path / "out" / row["file"]))
        assert np.abs(found.astype(int) - alone).max() <= 1


def test_copies_of_the_best_take_the_place_of_the_worst(tmp_path, caplog):
    tiny_text.make("sd", tmp_path / "words").save_pretrained(tmp_path / "sd")
    model = ["-n", 1, "--model", tmp_path / "sd", "--prompt", "a b", "--guidance-scale", 1, "--best-of", 4, "--mode", "resample"]
    noisy = ["--scheduler", "euler_a", "--prune", 0.5, "--prune-at", 0.3, 0.6]
    for name, more in (("mild", []), ("keen", ["--sharpness", 100])):
        assert draw(tmp_path / name, *model, *noisy, *more) == 0
    setup = Setup(scheduler=SchedulerName.EULER_ANCESTRAL)
    drawer = PipelineDrawer.load(tmp_path / "sd", [Request("a b")], 0, {"guidance_scale": 1}, "cpu", setup=setup)
    for name, sharpness in (("mild", 1.0), ("keen", 100.0)):
        options = BestOfOptions(4, points=(0.3, 0.6), fractions=(0.5, 0.5), mode=SearchMode.RESAMPLE, sharpness=sharpness)
        found = best_of(drawer.candidates(0, STEPS), options=options)
        row = rows(tmp_path / name)[0]
        assert (row["candidate"], row["calls"]) == (found.kept[0], found.network_rows + found.scoring_rows)
        assert row["seed"] == (None if found.seeds[0] == -1 else found.seeds[0])
        pixels = (found.images[0] * 255).round().byte().permute(1, 2, 0).numpy()
        assert np.array_equal(np.asarray(Image.open(tmp_path / name / row["file"])), pixels)
    assert draw(tmp_path / "mild", *model, *noisy, "--sharpness", 2) == 1 and "made with other options (sharpness);" in caplog.text
    assert draw(tmp_path / "still", *model, "--scheduler", "ddim") == 1
    assert "adds no noise, so that copies of a candidate would all end as the same image" in caplog.text


def test_a_search_that_was_stopped_goes_on_and_loses_one_image_at_most(tmp_path, monkeypatch):
    asked = ["-n", 3, "--best-of", 2, "--prune", 0.5]
    assert draw(tmp_path / "whole", *asked) == 0
    with monkeypatch.context() as patch:
        stop_after(patch, 2)
        assert draw(tmp_path / "parts", *asked) == 130
    assert len(rows(tmp_path / "parts")) == 2
    calls = stop_after(monkeypatch, 1)
    assert draw(tmp_path / "parts", *asked) == 0
    assert calls == [[2]] and outputs(tmp_path / "parts") == outputs(tmp_path / "whole")
    assert draw(tmp_path / "parts", *asked) == 0 and len(calls) == 1


def test_other_candidates_are_other_images(tmp_path, caplog):
    assert draw(tmp_path, "-n", 1, "--best-of", 2) == 0
    assert draw(tmp_path, "-n", 1, "--best-of", 3, "--prune", 0.5, "--scorer", "denoised") == 1
    assert "made with other options (best_of, prune, prune_at, scorer);" in caplog.text
    caplog.clear()
    assert draw(tmp_path, "-n", 1) == 1 and "(best_of, prune, prune_at, scorer, the comparison's defaults);" in caplog.text
    assert draw(tmp_path, "-n", 1, "--best-of", 2, "--micro-batch", 2) == 0  # as --batch, no other image


UNTIL = ["--until-kept", 3, "--calibrate-with", 5, "--value", 40]


@pytest.fixture(scope="module")
def accepted(tmp_path_factory):
    """Three accepted images, for tests that leave them as they are."""
    out = tmp_path_factory.mktemp("accepted")
    assert draw(out, *UNTIL) == 0
    return out


def test_images_are_drawn_until_enough_are_as_good_as_the_best_of_the_first(accepted):
    scores = [row["score"] for _, row in sorted(rows(accepted).items())]
    limit = np.percentile(scores[:5], 60)  # low information is bad: the best 40 %
    good = [i for i, score in enumerate(scores) if score >= np.float32(limit)]
    assert kept(accepted) == good and len(good) == 3 and (good[-1] == len(scores) - 1 or len(scores) == 5)
    told = saved(accepted)["until"]
    assert told["attempts"] == len(scores) and told["accepted"] == 3 and told["limit"] == pytest.approx(limit)
    assert told["calls"] == len(scores) * (STEPS + 2 * 2 * 4)
    for i, row in rows(accepted).items():
        assert row["reason"].startswith("Accepted" if i in good else "Rejected") and "40 % limit of 5 earlier scores" in row["reason"]


@pytest.mark.parametrize("batch", [1, 3])
def test_until_kept_goes_on_after_a_stop_at_any_place(accepted, tmp_path, monkeypatch, batch):
    expected, stops = outputs(accepted), 0
    while (status := stopped_once(tmp_path, batch)) == 130:
        stops += 1
    assert status == 0 and stops >= len(expected) // batch - 1
    found = outputs(tmp_path)
    assert found.keys() == expected.keys() and kept(tmp_path) == kept(accepted)
    assert [found[i]["score"] for i in sorted(found)] == pytest.approx([expected[i]["score"] for i in sorted(expected)], abs=1e-3)
    monkeypatch.setattr(generate, "draw_scored", None)  # would fail if asked for an image
    assert draw(tmp_path, *UNTIL) == 0 and outputs(tmp_path) == found


def stopped_once(out, batch):
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, 1)
        return draw(out, *UNTIL, "--batch", batch)


def test_max_attempts_ends_it_and_more_go_on(tmp_path, monkeypatch, caplog):
    rule = ["--until-kept", 2, "--rule", "threshold", "--value"]
    assert draw(tmp_path, *rule, 1e6, "--max-attempts", 3, "--batch", 2) == 0
    assert "fewer than the 2 wanted: all 3 attempts are used up" in caplog.text
    assert len(rows(tmp_path)) == 3 and kept(tmp_path) == [] and "below the threshold" in rows(tmp_path)[0]["reason"]
    calls = stop_after(monkeypatch, 9)
    assert draw(tmp_path, *rule, 1e6, "--max-attempts", 4) == 0 and calls == [[3]]
    assert draw(tmp_path, *rule, -1e6) == 0 and kept(tmp_path) == [0, 1] and len(calls) == 1
    assert "as many as were wanted" in rows(tmp_path)[3]["reason"]
    assert draw(tmp_path, "-n", 4, "--keep", 3) == 0 and len(kept(tmp_path)) == 3 and len(calls) == 1


@pytest.mark.parametrize("method", ["trajectory", "condition-gap"])
def test_scores_that_cost_no_call_say_when_enough_are_kept(tmp_path, method):
    asked = ["--until-kept", 2, "--calibrate-with", 4, "--value", 50, "--method", method, "--guidance-scale", 1.5, "--steps", 6]
    assert draw(tmp_path, *asked) == 0
    scores = [row["score"] for _, row in sorted(rows(tmp_path).items())]
    limit, sign = np.percentile(scores[:4], 50), 1 if method == "trajectory" else -1
    good = [i for i, score in enumerate(scores) if sign * score <= sign * limit]
    assert kept(tmp_path) == good[:2] and len(good) >= 2
    assert saved(tmp_path)["until"]["calls"] == saved(tmp_path)["until"]["attempts"] * 2 * 6


def test_a_saved_calibration_judges_from_the_first_image_on(accepted, tmp_path, caplog):
    scores = torch.tensor([row["score"] for row in rows(accepted).values()])
    Calibration.fit([scores], Direction.LOW_IS_BAD, "information").save(tmp_path / "earlier.safetensors")
    Calibration.fit([scores], Direction.HIGH_IS_BAD, "denoised").save(tmp_path / "other.safetensors")
    asked = ["--until-kept", 1, "--value", 100, "--calibration"]
    assert draw(tmp_path / "out", *asked, tmp_path / "earlier.safetensors") == 0
    assert kept(tmp_path / "out") == [0] and saved(tmp_path / "out")["until"]["limit"] == scores.min()
    assert draw(tmp_path / "not", *asked, tmp_path / "other.safetensors") == 1 and "holds 'denoised' scores" in caplog.text


def test_the_best_of_several_until_enough_are_kept(tmp_path, monkeypatch):
    seen = count_rows(monkeypatch, UNet2DModel)
    assert draw(tmp_path, "--best-of", 2, "--prune", 0.5, "--until-kept", 2, "--calibrate-with", 2, "--value", 50) == 0
    assert len(kept(tmp_path)) == 2 and saved(tmp_path)["until"]["calls"] == sum(seen)
    assert all(row["candidate"] in (0, 1) for row in rows(tmp_path).values())


@pytest.mark.parametrize("bad", [0, 3])
def test_an_image_that_comes_out_nan_is_never_kept(accepted, tmp_path, monkeypatch, caplog, bad):
    spoil(monkeypatch, UNet2DModel, begins_as(starting_noise(1, 0, bad)))
    assert draw(tmp_path, *UNTIL) == 0
    images = rows(tmp_path)
    assert images[bad]["score"] is None and bad not in kept(tmp_path) and len(kept(tmp_path)) == 3
    assert "not a finite number" in images[bad]["reason"] and caplog.text.count(f"{bad:06d}.png") == 1
    before = outputs(tmp_path)
    expected = outputs(accepted)
    assert all(before[i]["pixels"] == expected[i]["pixels"] for i in range(5) if i != bad)
    monkeypatch.setattr(generate, "draw_scored", None)
    assert draw(tmp_path, *UNTIL) == 0 and outputs(tmp_path) == before


def test_a_candidate_that_comes_out_nan_is_not_the_best(tmp_path, monkeypatch):
    asked = ["-n", 1, "--best-of", 3, "--prune", 0.5]
    assert draw(tmp_path / "whole", *asked) == 0
    bad = rows(tmp_path / "whole")[0]["candidate"]
    noise = torch.randn(1, 1, 32, 32, generator=torch.Generator().manual_seed(derive_seed(0, bad)))
    spoil(monkeypatch, UNet2DModel, begins_as(noise))
    assert draw(tmp_path / "out", *asked) == 0
    row = rows(tmp_path / "out")[0]
    assert row["candidate"] != bad and row["score"] is not None


def test_folders_of_earlier_versions_are_gone_on_with(tmp_path):
    assert draw(tmp_path, "-n", 1) == 0
    content = saved(tmp_path)
    for row in content["images"]:
        del row["calls"], row["candidate"], row["reason"]
    (tmp_path / "results.json").write_text(json.dumps(content))
    (tmp_path / "results.sqlite").unlink()
    assert draw(tmp_path, "-n", 2) == 0 and len(rows(tmp_path)) == 2 and rows(tmp_path)[0]["calls"] is None


def test_bad_searches_are_refused_in_a_sentence(tmp_path, caplog):
    for arguments, sentence in (
        (["--best-of", 2, "--method", "noise"], "best_of needs the method information"),
        (["--prune", 0.5], "prune belongs to best_of above 1, which is not asked for; leave out --prune"),
        (["--best-of", 4, "--prune", 1.5], "prune must be between 0 and 1, got 1.5"),
        (["--best-of", 4, "--prune", "nan"], "prune must be between 0 and 1, got nan"),
        (["--best-of", 4, "--prune-at", 0.5], "give --prune too"),
        (["--best-of", 4, "--prune", 0.5, 0.5], "one share for all points or one for each, got 2 for 1 points"),
        (["--best-of", 4, "--prune", 0.5, "--prune-at", 0.5, 0.2], "points must rise"),
        (["--max-attempts", 3], "max_attempts belongs to until_kept"),
        (["--value", 3], "value belongs to until_kept"),
        (["--rule", "at_most_bad"], "rule belongs to until_kept"),
        (["--calibrate-with", 8], "calibrate_with belongs to until_kept"),
        (["--scorer", "noise"], "scorer belongs to best_of above 1"),
        (["--micro-batch", 2], "micro_batch belongs to best_of above 1"),
        (["--best-of", 2, "--prune", 0.5, "--scorer", "condition_gap"], "give --guidance-scale, such as 1.5"),
        (["--until-kept", 2, "--keep", 1], "leave out --keep"),
        (["--until-kept", 2, "--each"], "leave out --each"),
        (["--until-kept", 2, "--rule", "threshold"], "give --value"),
        (["--until-kept", 2, "--value", 101], "value must be between 0 and 100, got 101"),
        (["--until-kept", 2, "--max-attempts", 3], "is read off, got 3: raise --max-attempts, lower --calibrate-with"),
        (["--until-kept", 2, "--calibration", tmp_path / "none"], "There is no file"),
        (
            ["--until-kept", 2, "--rule", "at_most_bad", "--calibration", tmp_path / "none", "--confidence", 0],
            "confidence must be between 50 and 99.9, got 0",
        ),
        (["--mode", "resample"], "The mode resample is about several candidates: give --best-of too"),
        (["--best-of", 4, "--mode", "resample"], "The demo model's sampler adds no noise"),
        (["--best-of", 4, "--sharpness", 2], "sharpness belongs to the mode resample"),
        (["--until-kept", 2, "--rule", "threshold", "--value", 1, "--calibration", tmp_path], "calibration belongs to the rule calibrated"),
    ):
        caplog.clear()
        assert draw(tmp_path / "out", *arguments) == 1, arguments
        assert re.search(sentence, caplog.text), caplog.text
        assert not (tmp_path / "out").exists()
    with pytest.raises(SystemExit):
        draw(tmp_path / "out", "-n", 3, "--until-kept", 2)
