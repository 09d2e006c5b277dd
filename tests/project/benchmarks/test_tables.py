"""Benchmarks at a tiny size, from drawing to report."""

from __future__ import annotations

import json

import pytest
import torch

pytest.importorskip("matplotlib")
pytest.importorskip("diffusers")

from uncertainty_nodes.hosts.diffusers.demo import load_demo  # noqa: E402


def test_from_drawing_to_report(benchmark, run, monkeypatch, tmp_path):
    tiny = ("--size", 2, "--steps", 10, "--images", 2, "--work", tmp_path / "work")
    monkeypatch.setattr(benchmark("shared.judging"), "RESAMPLES", 2)
    monkeypatch.setattr(benchmark("shared.costs"), "BATCH", 1)
    run(benchmark("quality.filtering"), *tiny)
    run(benchmark("quality.pixels"), *tiny)
    run(benchmark("report.draw_figures"))
    run(benchmark("report.write_report"), "--out", tmp_path / "REPORT.md")
    found = json.loads((tmp_path / "filtering.json").read_text())
    assert found["images"] == 6 and {"denoised", "noise", "BayesDiff", "prompt information"} <= set(found["methods"])
    assert all(row["nfe"] >= 0 and row["seconds"] >= -1 and row["images"] == 6 for row in found["methods"].values())
    rows = json.loads((tmp_path / "pixels.json").read_text())["methods"]
    assert rows["oracle"]["ause"] == 0 and all(row["ause"] >= 0 for row in rows.values())
    assert rows["denoised"]["aurg"] == pytest.approx(rows["random"]["aurg"] + rows["random"]["ause"] - rows["denoised"]["ause"], abs=1e-4)
    assert {"cost.png", "cost.svg", "calibration.svg"} <= {path.name for path in tmp_path.iterdir()}
    written = (tmp_path / "REPORT.md").read_text(encoding="utf-8")
    assert "Not measured: run `python benchmarks/quality/guidance.py`." in written and "| denoised |" in written


def test_the_bayesian_sweep(benchmark, run, monkeypatch, tmp_path):
    from uncertainty_nodes.hosts.diffusers.demo import sample, starting_noise

    bayesian, labels = benchmark("quality.bayesian"), torch.arange(4)
    images = sample(*load_demo(), starting_noise(4, 0), labels, 6)
    monkeypatch.setattr(bayesian, "gather", lambda count, drawn: {"images": images, "labels": labels})
    monkeypatch.setattr(bayesian, "CHUNK", 4)
    monkeypatch.setattr(bayesian, "STEPS", 6)
    monkeypatch.setattr(bayesian, "CHOSEN", bayesian.Setting(steps=2, members=1))
    monkeypatch.setattr(bayesian, "SWEEP", [bayesian.CHOSEN])
    monkeypatch.setattr(bayesian.Lab, "bad", property(lambda lab: torch.arange(len(lab.labels)) % 2 == 0))
    run(bayesian, "--images", 4, "--sweep", 4, "--confirm", "--work", tmp_path / "work")
    found = json.loads((tmp_path / "bayesian.json").read_text())
    assert (found["images"], found["bad"], found["all images"]["images"]) == (4, 2, 4)
    (generative,) = found["generative"].values()
    assert generative["nfe"] == 2 * 2 and 0 <= generative["auroc"]["bundled features, semantic variance 0.001"]["auroc"] <= 1
    assert [row["nfe"] for row in found["bayesdiff"].values()] == [3]  # steps 0 and 5 are uncertain, and only the second costs
    assert all(row["moved"] < 1e-3 for row in found["bayesdiff"].values())  # from images that were drawn in another memory format


def test_the_cost_of_a_fit(benchmark, run, tmp_path):
    run(benchmark("cost.laplace_speed"), "--samples", 8, "--batch", 4, "--pairs", 1)
    peaks = json.loads((tmp_path / "laplace_speed.json").read_text())["memory"]["peak_bytes"]
    assert all(len(set(peak.values())) == 1 for peak in peaks.values())  # as much for four times as many samples


def test_a_second_run_measures_nothing(benchmark, run, monkeypatch, tmp_path):
    tiny = ("--size", 2, "--steps", 10, "--images", 2, "--work", tmp_path / "work", "--only", "MC dropout")
    module = benchmark("quality.pixels")
    run(module, *tiny)
    first = (tmp_path / "pixels.json").read_text()
    monkeypatch.setattr(module, "MAPS", dict.fromkeys(module.MAPS, None))
    monkeypatch.setattr(module, "recorded", None)
    run(module, *tiny)
    assert (tmp_path / "pixels.json").read_text() == first


def test_another_pipeline(benchmark, run, tmp_path):
    from tiny_images import image_tower, write_pictures
    from tiny_pipelines import SIZE
    from tiny_text import make
    from uncertainty_nodes.hosts.diffusers.last_layer.laplace import fit_laplace

    pipe = make("sd", tmp_path / "words")
    pipe.save_pretrained(tmp_path / "tiny")
    (tmp_path / "prompts.txt").write_text("a cat\n\na dog\n")
    latents, text = torch.randn(4, 4, SIZE, SIZE), torch.randn(4, 5, 16)
    fit_laplace(pipe.unet, pipe.scheduler, [(latents, {"encoder_hidden_states": text})]).save(tmp_path / "fit.safetensors")
    image_tower(2 * SIZE).save_pretrained(tmp_path / "clip")
    write_pictures(tmp_path / "real", 6, 2 * SIZE)
    given = ("--model", tmp_path / "tiny", "--prompts", tmp_path / "prompts.txt", "--laplace", tmp_path / "fit.safetensors")
    given += ("--encoder", tmp_path / "clip", "--reference", tmp_path / "real")
    run(benchmark("quality.filtering"), *given, "--images", 3, "--size", 2, "--steps", 12, "--work", tmp_path / "work")
    found = json.loads((tmp_path / "filtering_model.json").read_text())
    assert found["images"] == 6 and found["prompts"] == ["a cat", "a dog"]
    recorded = {name + when for name in ("denoised", "noise", "posterior") for when in ("", ", last steps")}
    assert set(found["methods"]) == recorded | {"BayesDiff", "prompt information", "generative uncertainty"}
    assert all(len(row["badness"]) == 6 and row["nfe"] > 0 for row in found["methods"].values())
    assert list(found["left_out"]) == ["MC dropout"] and "dropout" in found["left_out"]["MC dropout"]
    for row in found["methods"].values():  # nobody judges these images, but the Fréchet distance of the kept is known
        assert row["auroc"] is None and row["gain"] == pytest.approx(row["fid_random"] - row["fid"], abs=2e-3) and row["fid"] > 0


def test_guidance_beside_its_controls(benchmark, run, tmp_path):
    module = benchmark("quality.guidance")
    wanted = ("--only", "eps x 1.02", "forward 0.1", "--images", 4, "--work", tmp_path / "work", "--precision", "float32")
    run(module, *wanted)
    found = json.loads((tmp_path / "guidance.json").read_text())
    plain, scaled, guided = (found["settings"][name] for name in ("plain", "eps x 1.02", "forward 0.1"))
    assert (plain["nfe"], scaled["nfe"], guided["nfe"]) == (20, 20, 100)
    assert plain["fid_gain"] == 0 and plain["fid_gain_interval"] == [0, 0]
    assert guided["fid_gain"] == pytest.approx(plain["fid"] - guided["fid"], abs=2e-3)
    added = found["beyond"]["forward 0.1"]["eps x 1.02"]
    assert added["fid_gain"] == pytest.approx(scaled["fid"] - guided["fid"], abs=2e-3)
    assert added["agreement_gain"] == pytest.approx(guided["agreement"] - scaled["agreement"], abs=2e-4)
    assert added["fid_gain_interval"][0] <= added["fid_gain"] <= added["fid_gain_interval"][1]
    run(benchmark("report.write_report"), "--out", tmp_path / "REPORT.md")
    assert "| forward 0.1 (100) |" in (tmp_path / "REPORT.md").read_text(encoding="utf-8")


def test_the_best_are_picked_on_other_seeds(benchmark):
    seed = torch.tensor([1] * 40 + [2] * 40)
    bad = torch.arange(80) % 4 == 0
    lucky = torch.where(seed == 1, bad.double(), torch.arange(80) % 7)  # sees all on seed 1, nothing on seed 2
    steady = bad.double() + torch.linspace(0, 1.2, 80)
    judging = benchmark("shared.judging")
    pool = judging.Judged(torch.zeros(80, 2), bad, seed, torch.zeros(80), None)
    joined, picked = judging.best_of_other_seeds(pool, {"lucky": lucky.double(), "steady": steady}, 1)
    assert picked == {1: ["steady"], 2: ["lucky"]}
    assert joined.min() == 0 and joined.max() == 1


def test_what_an_ensemble_has_seen_little_of(benchmark, run, monkeypatch, tmp_path):
    module = benchmark("quality.ensemble")
    monkeypatch.setattr(module, "BRANCHES", (0.5,))
    run(module, "--images", 1, "--steps", 3, "--repeats", 1, "--work", tmp_path / "work")
    found = json.loads((tmp_path / "ensemble.json").read_text())
    row, shared = found["branches"]["0.5"], found["cost"]["shared_steps_at_branch_0.5"]
    assert shared + row["steps_after"] == 3
    assert found["cost"]["NFE_at_branch_0.5"] == row["NFE"] == shared + found["members"] * row["steps_after"]
    assert all(-1 <= row[moment]["information"]["spearman_of_class_means"] <= 1 for moment in ("first", "last", "mean"))
    assert found["bandwidths"]["published, 1"]["at_log_K"] >= found["bandwidths"]["per dimension"]["at_log_K"]


def test_best_of_replays_what_a_real_search_counts(benchmark, run, monkeypatch, tmp_path):
    candidates = benchmark("shared.candidates")
    monkeypatch.setattr(candidates, "PROMPTS", 2)
    monkeypatch.setattr(benchmark("shared.steering"), "PROMPTS", 2)
    module = benchmark("quality.best_of")
    monkeypatch.setattr(module, "PROMPTS", 2)
    monkeypatch.setattr(module, "RUNS", 5)
    monkeypatch.setattr(module, "SETTINGS", (candidates.Setting(3, 1.0), candidates.Setting(2, 1.5)))
    run(module, "--prompts", 2, "--steered", 2, "--work", tmp_path / "work")  # raises where a real search counts otherwise
    run(benchmark("cost.until_good"), "--images", 3, "--settings", "2 steps, CFG 1.5", "--work", tmp_path / "plain")
    run(benchmark("report.write_report"), "--out", tmp_path / "REPORT.md")
    found = json.loads((tmp_path / "best_of.json").read_text())
    rows = found["settings"]["3 steps, CFG 1"]["plans"]
    assert rows["best of 8"]["calls"] == 8 * (3 + 4) and rows["best of 8"]["share_of_calls"] == 1
    assert rows["8 to 1 at 0.5"]["calls"] == 8 * (2 + 4) + 1
    assert rows["one candidate at random"]["calls"] == 3
    assert list(found["steered"]) == list(found["settings"])
    searches = found["steered"]["3 steps, CFG 1"]
    assert searches["one candidate"]["calls"] == 3 and searches["best of 8"]["calls"] == 8 * (3 + 4)
    pruned, resampled = (row for name, row in searches.items() if "8 to 4" in name)
    assert pruned["calls"] == resampled["calls"] == 8 + 8 + 2 + 4 * (8 + 2)  # the second step passes both points
    assert "one candidate" in resampled["beyond"] and pruned["beyond"].keys() == {"one candidate"}
    assert all(1 <= row["attempts"] <= 8 for row in found["settings"]["2 steps, CFG 1.5"]["until good"].values())
    written = (tmp_path / "REPORT.md").read_text(encoding="utf-8")
    assert "**3 steps, CFG 1.**" in written and "## Until good at equal calls" in written
    (name, limits), *others = json.loads((tmp_path / "until_good.json").read_text())["settings"].items()
    assert name == "2 steps, CFG 1.5" and not others
    assert all(row["plain_steps"] == round(row["calls"] / 2) for row in limits.values())


def test_error_bars_from_measuring_to_report(benchmark, run, monkeypatch, tmp_path):
    module = benchmark("quality.posterior")
    monkeypatch.setattr(module, "TIMESTEPS", (50, 200))
    run(module, "--images", 4, "--size", 2, "--work", tmp_path / "work")
    found = json.loads((tmp_path / "posterior.json").read_text())
    assert found["images"] == 4 and list(found["levels"]) == ["50", "200"]
    assert all(level[where]["error"] > 0 for level in found["levels"].values() for where in ("prediction", "sample"))
    assert "| 200 | 0.72 | sample |" in benchmark("report.free_scores").posterior(found)


def test_the_calibrated_slope_is_1_for_errors_that_are_what_c_says(benchmark):
    """Noise in C pulls the ordinary slope down and leaves the one by instruments alone."""
    generator = torch.Generator().manual_seed(0)
    c = torch.rand(200, 1, 8, 8, generator=generator).double()
    e = c * torch.randn(c.shape, generator=generator).square()
    a, b = (c + 0.5 * torch.randn(c.shape, generator=generator) for _ in range(2))
    found = benchmark("quality.posterior").figures(benchmark("quality.posterior").products(e, a, b))
    assert found["slope"] == pytest.approx(1, abs=0.1) and found["ratio"] == pytest.approx(1, abs=0.05)
    assert found["ordinary_slope"] < 0.7


def test_the_papers_protocol(benchmark, run, monkeypatch, tmp_path):
    module = benchmark("quality.paper")
    monkeypatch.setattr(benchmark("shared.judging"), "RESAMPLES", 2)
    run(module, "--images", 2, "--size", 2, "--real", 2, "--work", tmp_path / "work")
    found = json.loads((tmp_path / "paper.json").read_text())
    assert found["selection"]["nfe"] == 20 and found["selection"]["images"] == 6
    u, v = found["pixels"]["methods"]["U"], found["pixels"]["methods"]["V"]
    assert v["aurg"] > u["aurg"]
    line = benchmark("report.claims").map_row("U", u)[2]
    assert float(line) == pytest.approx(127.5 * u["ause"], abs=0.01)


def test_off_the_manifold_is_what_precision_does_not_count(benchmark):
    from uncertainty_nodes.core.metrics.features import precision_recall

    generator = torch.Generator().manual_seed(0)
    real, drawn = torch.randn(60, 3, generator=generator), 1.5 * torch.randn(40, 3, generator=generator)
    off = benchmark("shared.judging").off_manifold(real, drawn)
    assert 1 - float(off.double().mean()) == pytest.approx(precision_recall(real, drawn).precision)
    assert 0 < int(off.sum()) < 40
