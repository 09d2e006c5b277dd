"""The command generate: what it writes, what it remembers, and what it says when it cannot."""

from __future__ import annotations

import csv
import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

import tiny_text
from tiny_images import image_tower, write_pictures
from tiny_pipelines import SIZE
from uncertainty_nodes.cli import main, parser
from uncertainty_nodes.cli.generate import worker as generate
from uncertainty_nodes.cli.shared.ledger import Ledger
from uncertainty_nodes.core.demo.network import LAPLACE
from uncertainty_nodes.core.last_layer.laplace import Laplace
from uncertainty_nodes.hosts.diffusers.demo import CLASSES, NO_CLASS, load_demo, sample, starting_noise
from uncertainty_nodes.hosts.diffusers.images import prepare
from uncertainty_nodes.hosts.diffusers.information import each_class, information

pytestmark = pytest.mark.filterwarnings("ignore")  # diffusers' use of numpy
CHEAP = ["--method", "generative", "--steps", "3", "--members", "1", "--member-steps", "2", "--samples", "2"]


def draw(out, *arguments):
    return main(["generate", "--out", str(out), *CHEAP, *map(str, arguments)])


def saved(out):
    return json.loads((out / "results.json").read_text())


def names(out, folder):
    return sorted(p.name for p in (out / folder).iterdir()) if (out / folder).is_dir() else []


def scores(out):
    return {row["image"]: row["score"] for row in saved(out)["images"]}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Five digits, the best two kept, for tests that leave them as they are."""
    out = tmp_path_factory.mktemp("drawn")
    assert draw(out, "-n", 5, "--keep", 2, "--batch", 3) == 0
    return out


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    """The folder of a tiny Stable Diffusion with text encoder, and that of a tiny CLIP."""
    root = tmp_path_factory.mktemp("pipeline")
    tiny_text.make("sd", root / "words").save_pretrained(root / "sd")
    image_tower(2 * SIZE).save_pretrained(root / "clip")
    return root


def test_the_best_are_kept_and_the_rest_lie_beside(drawn):
    content = saved(drawn)
    rows = content["images"]
    assert [row["rank"] for row in rows] == [1, 2, 3, 4, 5]
    assert [row["score"] for row in rows] == sorted(row["score"] for row in rows)
    assert names(drawn, "kept") == sorted(row["file"].removeprefix("kept/") for row in rows[:2])
    assert names(drawn, "rejected") == sorted(row["file"].removeprefix("rejected/") for row in rows[2:])
    assert sorted(p.name for p in drawn.iterdir()) == ["kept", "maps", "rejected", "results.csv", "results.json", "results.sqlite"]
    assert (content["quantity"], content["direction"]) == ("generative", "high_is_bad")
    assert names(drawn, "maps") == [f"{number:06d}.npy" for number in range(5)]
    assert {row["image"]: row["shown"] for row in rows} == {i: i for i in range(5)}
    assert all(row["nfe"] == 2 * 2 for row in rows)
    table = list(csv.DictReader((drawn / "results.csv").open()))
    assert [row["file"] for row in table] == [row["file"] for row in rows]


def test_the_pictures_are_those_of_the_plain_model(drawn):
    plain = sample(*load_demo(), starting_noise(5, 0), torch.arange(5), 3)
    for row in saved(drawn)["images"]:
        pixels = np.asarray(Image.open(drawn / row["file"])).astype(float)
        assert np.abs(pixels - ((plain[row["image"], 0] + 1) * 127.5).clamp(0, 255).numpy()).max() <= 0.51


def test_what_is_drawn_is_not_drawn_again_and_more_can_be_asked_for(drawn, tmp_path, monkeypatch, caplog):
    out = tmp_path / "copy"
    assert draw(out, "-n", 2, "--keep", 1) == 0
    stamps = {row["image"]: (out / row["file"]).stat().st_mtime_ns for row in saved(out)["images"]}
    assert draw(out, "-n", 5, "--keep", 2) == 0
    assert scores(out) == pytest.approx(scores(drawn), rel=1e-4)  # batches of other sizes, in two runs
    moved = {row["image"]: (out / row["file"]).stat().st_mtime_ns for row in saved(out)["images"]}
    assert {i: moved[i] for i in stamps} == stamps
    monkeypatch.setattr(generate, "draw_scored", None)  # would fail if asked for an image
    assert draw(out, "-n", 5, "--keep", 4) == 0
    assert len(names(out, "kept")) == 4 and len(names(out, "rejected")) == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_a_stopped_run_loses_nothing_and_goes_on(drawn, tmp_path, monkeypatch, error):
    real, calls = generate.draw_scored, []

    def stopping(drawer, places, *more):
        calls.append(list(places))
        if len(calls) == 2:
            raise error
        return real(drawer, places, *more)

    with monkeypatch.context() as patch:
        patch.setattr(generate, "draw_scored", stopping)
        arguments = [tmp_path, "-n", 5, "--keep", 2, "--batch", 2]
        if error is KeyboardInterrupt:
            assert draw(*arguments) == 130
        else:
            with pytest.raises(error):
                draw(*arguments)
        assert len(saved(tmp_path)["images"]) == 2 == len(names(tmp_path, "new"))
        assert draw(*arguments) == 0
    assert calls == [[0, 1], [2, 3], [2, 3], [4]]
    assert scores(tmp_path) == pytest.approx(scores(drawn), rel=1e-4) and names(tmp_path, "kept") == names(drawn, "kept")


def test_a_stop_between_moving_the_pictures_and_noting_it_leaves_no_trace(tmp_path, monkeypatch):
    def stop_when_moved(ledger, rows):
        rows = list(rows)
        if any(not row["file"].startswith("new/") for row in rows):
            raise KeyboardInterrupt
        append(ledger, rows)

    append, whole, out = Ledger.append, tmp_path / "whole", tmp_path / "out"
    assert draw(whole, "-n", 2, "--keep", 1) == 0
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "append", stop_when_moved)
        assert draw(out, "-n", 2, "--keep", 1) == 130
    assert len(names(out, "kept")) == 1
    (out / "kept" / f".000000.png.{'0' * 32}.tmp").write_bytes(b"half a note")
    assert draw(out, "-n", 2, "--keep", 1) == 0

    def known(folder):
        with Ledger.find(folder) as ledger:
            return [{name: value for name, value in row.items() if name != "seconds"} for row in ledger.records()]

    assert known(out) == known(whole) and names(out, "kept") == names(whole, "kept")


def test_a_picture_that_was_deleted_is_drawn_again(tmp_path):
    assert draw(tmp_path, "-n", 2, "--method", "noise", "--steps", 6) == 0
    before = scores(tmp_path)
    (tmp_path / saved(tmp_path)["images"][0]["file"]).unlink()
    assert draw(tmp_path, "-n", 2, "--method", "noise", "--steps", 6) == 0
    assert scores(tmp_path) == pytest.approx(before, rel=1e-4)
    assert len(names(tmp_path, "kept") + names(tmp_path, "rejected")) == 2


@pytest.mark.parametrize("method", ["bayesdiff", "mc-dropout", "denoised", "noise", "posterior"])
def test_every_method_of_the_demo_model(tmp_path, method):
    assert draw(tmp_path, "-n", 2, "--method", method, "--steps", 6, "--every", 2) == 0
    content = saved(tmp_path)
    assert content["quantity"] == method and all(row["score"] > 0 for row in content["images"])
    assert content["direction"] == ("low_is_bad" if method == "noise" else "high_is_bad")
    assert {row["nfe"] for row in content["images"]} == {2.0 * (2 if method == "bayesdiff" else 1)}


@pytest.mark.parametrize("method", ["trajectory", "condition-gap"])
def test_scores_that_cost_no_call(tmp_path, method):
    asked = ["-n", 2, "--method", method, "--steps", 6, "--guidance-scale", 1.5]
    assert draw(tmp_path, *asked) == 0
    content = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert content["quantity"] == method and all(row["score"] > 0 and row["nfe"] == 0 for row in content["images"])
    assert content["direction"] == ("low_is_bad" if method == "condition-gap" else "high_is_bad")


def test_no_gap_without_guidance_is_said_before_anything_is_drawn(tmp_path, caplog, capsys):
    assert draw(tmp_path, "-n", 2, "--method", "condition-gap") == 1
    assert "give --guidance-scale, such as 1.5" in caplog.text + capsys.readouterr().err


def test_information_is_what_the_score_command_finds_in_the_finished_images(tmp_path):
    assert main(["generate", "--out", str(tmp_path), "--steps", "5", "-n", "4", "--keep", "2", "--batch", "3"]) == 0
    content = saved(tmp_path)
    assert (content["quantity"], content["direction"]) == ("information", "low_is_bad") and {r["nfe"] for r in content["images"]} == {32.0}
    latents, labels = sample(*load_demo(), starting_noise(4, 0), torch.arange(4), 5), torch.arange(4)
    _, none = each_class(CLASSES, NO_CLASS, latents)
    expected = information(*load_demo(), latents, {"class_labels": labels}, none).result.scores
    assert [scores(tmp_path)[i] for i in range(4)] == pytest.approx(expected.tolist(), rel=1e-3, abs=1e-3)
    assert [int(name[:6]) for name in names(tmp_path, "kept")] == sorted(expected.topk(2).indices.tolist())


@pytest.mark.parametrize("kind", ["sd", "sdxl", "sd3"])
def test_information_of_a_pipelines_images(kind, tmp_path):
    pipe = tiny_text.make(kind, tmp_path / "words")
    pipe.save_pretrained(tmp_path / kind)
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a b\nc d\n")
    out, method = tmp_path / "out", ["--method", "information", "--samples", 4]
    assert draw(out, "-n", 3, "--model", tmp_path / kind, "--prompts", prompts, *method, "--batch", 2, "--negative", "e") == 0
    latents = {}
    for place, prompt in enumerate(["a b", "c d", "a b"]):
        call = {"prompt": prompt, "negative_prompt": "e", "num_inference_steps": 3, "output_type": "latent"}
        latents[place] = pipe(**call, generator=torch.Generator().manual_seed(place))[0]
        model = prepare(pipe, prompt)
        expected = information(model.network, model.scheduler, latents[place], *model.conditions(latents[place], [None])).result
        assert scores(out)[place] == pytest.approx(expected.scores.item(), rel=1e-3, abs=1e-4)


def test_the_best_of_each_are_kept(tmp_path):
    arguments = ["--method", "noise", "--steps", 6, "-n", 20, "--keep", 10]
    assert draw(tmp_path, *arguments) == 0
    of_all = names(tmp_path, "kept")
    assert draw(tmp_path, *arguments, "--each") == 0
    by_digit = scores(tmp_path)
    better = [max(d, d + 10, key=by_digit.get) for d in range(10)]  # low noise is bad
    assert [int(name[:6]) for name in names(tmp_path, "kept")] == sorted(better)
    assert len(of_all) == 10 and of_all != names(tmp_path, "kept")
    assert draw(tmp_path, *arguments) == 0 and names(tmp_path, "kept") == of_all
    assert draw(tmp_path, *arguments[:-1], 13, "--each") == 0  # as many as asked for, also where they go round unevenly
    rest = sorted((d + 10 if d in better else d for d in range(10)), key=by_digit.get)
    assert [int(name[:6]) for name in names(tmp_path, "kept")] == sorted(better + rest[-3:])


def test_a_pipeline_draws_its_prompts_in_turn(pipeline, tmp_path):
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a b\n\nc d\n")
    fitted, pictures = tmp_path / "sd.safetensors", write_pictures(tmp_path / "pictures", 3, 2 * SIZE)
    (pictures / "1.txt").write_text("its own caption")
    arguments = ["--model", pipeline / "sd", "--prompt", "a", "--draws", 2, "--batch", 2, "--out", fitted]
    assert main(["fit-laplace", str(pictures), *map(str, arguments)]) == 0
    assert Laplace.load(fitted).samples == 3 and not list(tmp_path.glob("*.partial.*"))
    model = ["--model", pipeline / "sd", "--prompts", prompts, "--steps", 3]
    own = ["--laplace", fitted, "--encoder", pipeline / "clip"]
    assert draw(tmp_path / "a", "-n", 3, *model, *own, "--guidance-scale", 2, "--negative", "e") == 0
    rows = saved(tmp_path / "a")["images"]
    assert {row["image"]: row["shown"] for row in rows} == {0: "a b", 1: "c d", 2: "a b"}
    assert {row["nfe"] for row in rows} == {2 * 2 * 2}
    assert {Image.open(tmp_path / "a" / row["file"]).size for row in rows} == {(2 * SIZE, 2 * SIZE)}
    assert draw(tmp_path / "b", "-n", 1, *model, "--laplace", fitted, "--method", "bayesdiff", "--every", 1) == 0
    assert saved(tmp_path / "b")["images"][0]["score"] > 0


def test_bad_requests_are_refused_in_a_sentence(pipeline, tmp_path, caplog):
    sd, clip = ["--model", pipeline / "sd", "--prompt", "a"], ["--encoder", pipeline / "clip"]
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "broken.safetensors").write_bytes(LAPLACE.read_bytes()[:500])
    for arguments, sentence in (
        (["-n", 2, "--keep", 3], "keep must be at most the number of images, 2, got 3"),
        (["--prompt", "a"], "The demo model knows no prompts; name a digit with --class"),
        (["--model", pipeline / "sd"], "The prompt is missing: say what to draw with --prompt or --prompts"),
        (["--model", pipeline / "sd", "--class", 3], "--class is for the demo model"),
        (["--model", pipeline / "sd", "--prompts", tmp_path / "empty.txt"], "generative needs the model's posterior"),
        (["--model", pipeline / "sd", "--prompts", tmp_path / "empty.txt", "--method", "noise"], "There is no prompt in"),
        (["--model", pipeline / "sd", "--prompts", tmp_path / "none.txt", "--method", "noise"], "There is no file"),
        ([*sd, *clip], "generative needs the model's posterior: make it with fit-laplace"),
        ([*sd, "--laplace", LAPLACE], "name the folder of a CLIP image model with --encoder"),
        ([*sd, *clip, "--laplace", LAPLACE, "--steps", 2], "This Laplace fit is for"),
        ([*sd, "--method", "mc-dropout"], "UNet2DConditionModel has no dropout layer"),
        (["--laplace", tmp_path / "none.safetensors"], "There is no file .*; make one with fit-laplace"),
        (["--laplace", tmp_path / "broken.safetensors"], "not a whole safetensors file"),
        (["--prior-precision", -1], "prior_precision must be"),
        (["--model", tmp_path], "There is no diffusers pipeline in"),
        (["--device", "nowhere"], "device 'nowhere' is not available"),
    ):
        caplog.clear()
        assert draw(tmp_path / "out", "-n", 2, *arguments) == 1
        assert caplog.records[-1].getMessage().startswith("uncertainty-nodes: ")
        assert re.search(sentence, caplog.text), caplog.text
        assert not names(tmp_path, "out") or names(tmp_path, "out") == ["results.csv", "results.json", "results.sqlite"]


def test_results_of_other_options_are_not_overwritten(drawn, caplog):
    before = (drawn / "results.json").read_bytes()
    assert draw(drawn, "-n", 5, "--seed", 1) == 1
    assert "holds images made with other options (seed); name another folder with --out" in caplog.text
    caplog.clear()
    assert draw(drawn, "-n", 5, "--members", 3, "--class", 1, "--samples", 7) == 1  # samples are of other methods
    assert "(class, members);" in caplog.text
    assert (drawn / "results.json").read_bytes() == before


def test_the_help_says_that_a_run_can_be_stopped(capsys):
    for command in ("generate", "fit-laplace"):
        with pytest.raises(SystemExit):
            parser().parse_args([command, "--help"])
        assert "A stopped run goes on where it was" in capsys.readouterr().out
