"""The benchmark at a tiny size, from drawing to report, and the rules by which the report judges."""

from __future__ import annotations

import importlib
import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

pytest.importorskip("matplotlib")
pytest.importorskip("diffusers")

from uncertainty_nodes.benchmarks.shared import common  # noqa: E402
from uncertainty_nodes.hosts.diffusers.demo import load_demo  # noqa: E402
from uncertainty_nodes.hosts.diffusers.space import Space  # noqa: E402


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """name -> the benchmark's module, writing to a temporary folder."""
    monkeypatch.setattr(common, "RESULTS", tmp_path)
    return lambda name: importlib.import_module(f"uncertainty_nodes.benchmarks.{name}")


def run(module: ModuleType, monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", [module.__name__, *map(str, arguments)])
    module.main()


def test_from_drawing_to_report(benchmark, monkeypatch, tmp_path):
    tiny = ("--size", 2, "--steps", 10, "--images", 2, "--work", tmp_path / "work")
    monkeypatch.setattr(benchmark("shared.judging"), "RESAMPLES", 2)
    monkeypatch.setattr(benchmark("shared.costs"), "BATCH", 1)
    run(benchmark("quality.filtering"), monkeypatch, *tiny)
    run(benchmark("quality.pixels"), monkeypatch, *tiny)
    run(benchmark("report.draw_figures"), monkeypatch)
    run(benchmark("report.write_report"), monkeypatch, "--out", tmp_path / "REPORT.md")
    found = json.loads((tmp_path / "filtering.json").read_text())
    assert found["images"] == 6 and {"denoised", "noise", "BayesDiff", "prompt information"} <= set(found["methods"])
    assert all(row["nfe"] >= 0 and row["seconds"] >= -1 and row["images"] == 6 for row in found["methods"].values())
    rows = json.loads((tmp_path / "pixels.json").read_text())["methods"]
    assert rows["oracle"]["ause"] == 0 and all(row["ause"] >= 0 for row in rows.values())
    assert rows["denoised"]["aurg"] == pytest.approx(rows["random"]["aurg"] + rows["random"]["ause"] - rows["denoised"]["ause"], abs=1e-4)
    assert {"cost.png", "cost.svg", "calibration.svg"} <= {path.name for path in tmp_path.iterdir()}
    written = (tmp_path / "REPORT.md").read_text(encoding="utf-8")
    assert "Not measured: run `python benchmarks/quality/guidance.py`." in written and "| denoised |" in written


def test_the_bayesian_sweep(benchmark, monkeypatch, tmp_path):
    import torch

    from uncertainty_nodes.hosts.diffusers.demo import load_demo, sample, starting_noise

    bayesian, labels = benchmark("quality.bayesian"), torch.arange(4)
    images = sample(*load_demo(), starting_noise(4, 0), labels, 6)
    monkeypatch.setattr(bayesian, "gather", lambda count, drawn: {"images": images, "labels": labels})
    monkeypatch.setattr(bayesian, "CHUNK", 4)
    monkeypatch.setattr(bayesian, "STEPS", 6)
    monkeypatch.setattr(bayesian, "CHOSEN", bayesian.Setting(steps=2, members=1))
    monkeypatch.setattr(bayesian, "SWEEP", [bayesian.CHOSEN])
    monkeypatch.setattr(bayesian.Lab, "bad", property(lambda lab: torch.arange(len(lab.labels)) % 2 == 0))
    run(bayesian, monkeypatch, "--images", 4, "--sweep", 4, "--confirm", "--work", tmp_path / "work")
    found = json.loads((tmp_path / "bayesian.json").read_text())
    assert (found["images"], found["bad"], found["all images"]["images"]) == (4, 2, 4)
    (generative,) = found["generative"].values()
    assert generative["nfe"] == 2 * 2 and 0 <= generative["auroc"]["bundled features, semantic variance 0.001"]["auroc"] <= 1
    assert [row["nfe"] for row in found["bayesdiff"].values()] == [3]  # steps 0 and 5 are uncertain, and only the second costs
    assert all(row["moved"] < 1e-3 for row in found["bayesdiff"].values())  # from images that were drawn in another memory format


def test_the_cost_of_a_fit(benchmark, monkeypatch, tmp_path):
    run(benchmark("cost.laplace_speed"), monkeypatch, "--samples", 8, "--batch", 4, "--pairs", 1)
    peaks = json.loads((tmp_path / "laplace_speed.json").read_text())["memory"]["peak_bytes"]
    assert all(len(set(peak.values())) == 1 for peak in peaks.values())  # as much for four times as many samples


def test_a_second_run_measures_nothing(benchmark, monkeypatch, tmp_path):
    tiny = ("--size", 2, "--steps", 10, "--images", 2, "--work", tmp_path / "work", "--only", "MC dropout")
    module = benchmark("quality.pixels")
    run(module, monkeypatch, *tiny)
    first = (tmp_path / "pixels.json").read_text()
    monkeypatch.setattr(module, "MAPS", dict.fromkeys(module.MAPS, None))
    monkeypatch.setattr(module, "recorded", None)
    run(module, monkeypatch, *tiny)
    assert (tmp_path / "pixels.json").read_text() == first


def test_another_pipeline(benchmark, monkeypatch, tmp_path):
    import torch

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
    run(benchmark("quality.filtering"), monkeypatch, *given, "--images", 3, "--size", 2, "--steps", 12, "--work", tmp_path / "work")
    found = json.loads((tmp_path / "filtering_model.json").read_text())
    assert found["images"] == 6 and found["prompts"] == ["a cat", "a dog"]
    recorded = {name + when for name in ("denoised", "noise", "posterior") for when in ("", ", last steps")}
    assert set(found["methods"]) == recorded | {"BayesDiff", "prompt information", "generative uncertainty"}
    assert all(len(row["badness"]) == 6 and row["nfe"] > 0 for row in found["methods"].values())
    assert list(found["left_out"]) == ["MC dropout"] and "dropout" in found["left_out"]["MC dropout"]
    for row in found["methods"].values():  # nobody judges these images, but the Fréchet distance of the kept is known
        assert row["auroc"] is None and row["gain"] == pytest.approx(row["fid_random"] - row["fid"], abs=2e-3) and row["fid"] > 0


def test_the_committed_report_is_what_the_committed_results_say(benchmark, monkeypatch):
    report = benchmark("report.write_report")
    monkeypatch.setattr(common, "RESULTS", common.BENCHMARKS / "results")
    assert (common.BENCHMARKS / "REPORT.md").read_text(encoding="utf-8") == report.report()


def test_every_figure_of_the_readme_is_a_result(benchmark, monkeypatch):
    readme = benchmark("report.readme")
    monkeypatch.setattr(common, "RESULTS", common.BENCHMARKS / "results")
    text = readme.README.read_text(encoding="utf-8")
    section = text[text.index("## What it can and cannot do") : text.index("## Cost")]
    for piece in (*readme.blocks().values(), *readme.figures()):
        assert piece in section, "run python benchmarks/report/readme.py, or correct the text by hand"
        section = section.replace(piece, "")
    plain = next(line for line in section.splitlines() if line.startswith("| plain |"))  # a row without a gain
    for known in (*readme.SETTINGS, plain, "p < 0.5", "AUROC: 0.5", "about 0.6"):
        section = section.replace(known, "")
    assert not re.findall(r"[^\n]*\d\.\d[^\n]*", re.sub(r"(CFG|posterior|strength|forward) \d\.\d+|guidance at 0\.02", "", section))


def test_every_claim_of_the_readme_and_the_help_holds(benchmark, monkeypatch):
    readme = benchmark("report.readme")
    monkeypatch.setattr(common, "RESULTS", common.BENCHMARKS / "results")
    text = readme.README.read_text(encoding="utf-8")
    for claim, holds in readme.claims().items():
        assert claim in text and holds, claim
    root = readme.README.parent
    assert readme.control_is_better()
    for page in ("Guidance", "GuidedSampler", "Guider"):
        assert readme.HELP in (root / "web" / "docs" / f"UQ_Uncertainty{page}.md").read_text(encoding="utf-8")
    assert readme.mix_finds_hardly_more()
    assert readme.MIX_HELP in (root / "web" / "docs" / "UQ_UncertaintyEstimator.md").read_text(encoding="utf-8")


def row(gain: float, low: float, high: float, images: int = 2000) -> dict[str, Any]:
    agreement = {"agreement_gain": gain / 10, "agreement_gain_interval": [low / 10, high / 10], "recall": 0.9 - gain / 10}
    return {"images": images, "nfe": 100, "fid_gain": gain, "fid_gain_interval": [low, high], **agreement}


@pytest.mark.parametrize(
    ("guided", "added", "said", "and_said"),
    [
        (row(1.0, 0.8, 1.2), row(0.8, 0.5, 1.1), "Guidance improves", "goes beyond it"),
        (row(1.0, 0.8, 1.2), row(-0.5, -0.9, 0.1), "Guidance improves", "adds nothing"),
        (row(1.0, 0.8, 1.2), row(-0.5, -0.9, -0.1), "Guidance improves", "falls short"),
        (row(1.0, 0.8, 1.2), row(0.1, -0.2, 0.4), "Guidance improves", "is not shown"),
        (row(0.1, -0.2, 0.4), row(0.1, -0.1, 0.3), "is not shown to improve", "is not shown"),
        (row(-0.5, -0.8, -0.2), row(-0.5, -0.8, 0.1), "does not improve sample quality at any setting", "adds nothing"),
    ],
)
def test_what_is_said_of_guidance(benchmark, guided, added, said, and_said):
    few = row(9, 8, 10, images=300)
    settings = {"plain": row(0, 0, 0), "forward 0.2": guided, "forward 0.05": few, "eps x 1.02": row(0.3, 0.2, 0.4), "eps x 1.03": few}
    beyond = {"forward 0.2": {"eps x 1.03": row(5, 4, 6), "eps x 1.02": added}}
    text = benchmark("report.verdicts").guidance({"settings": settings, "beyond": beyond})
    assert said in text and and_said in text and "`forward 0.2`" in text  # not the one of few images
    assert "`eps x 1.02`, gains" in text or "`eps x 1.02` gains" in text  # the control that leaves least
    assert ("More images do show" in text) == (guided["fid_gain"] > 0.5) == ("recall 0.90 to 0.80" in text)


@pytest.mark.parametrize(
    ("rival", "said"), [(row(3.0, 2.5, 3.5), "`forward 0.2` gain clearly"), (row(1.5, 0.9, 2.1), "none gains clearly")]
)
def test_what_is_said_of_the_default(benchmark, rival, said):
    settings = {"plain": row(0, 0, 0), "posterior 0.02": row(1.0, 0.8, 1.2), "forward 0.2": rival, "forward 0.1": row(9, 8, 10, images=300)}
    text = benchmark("report.verdicts").of_default(settings)
    assert "`posterior 0.02`: FID gain +1.00" in text and said in text and "Most agreement: `forward 0.2`" in text


def test_guidance_beside_its_controls(benchmark, monkeypatch, tmp_path):
    module = benchmark("quality.guidance")
    wanted = ("--only", "eps x 1.02", "forward 0.1", "--images", 4, "--work", tmp_path / "work", "--precision", "float32")
    run(module, monkeypatch, *wanted)
    found = json.loads((tmp_path / "guidance.json").read_text())
    plain, scaled, guided = (found["settings"][name] for name in ("plain", "eps x 1.02", "forward 0.1"))
    assert (plain["nfe"], scaled["nfe"], guided["nfe"]) == (20, 20, 100)
    assert plain["fid_gain"] == 0 and plain["fid_gain_interval"] == [0, 0]
    assert guided["fid_gain"] == pytest.approx(plain["fid"] - guided["fid"], abs=2e-3)
    added = found["beyond"]["forward 0.1"]["eps x 1.02"]
    assert added["fid_gain"] == pytest.approx(scaled["fid"] - guided["fid"], abs=2e-3)
    assert added["agreement_gain"] == pytest.approx(guided["agreement"] - scaled["agreement"], abs=2e-4)
    assert added["fid_gain_interval"][0] <= added["fid_gain"] <= added["fid_gain_interval"][1]
    run(benchmark("report.write_report"), monkeypatch, "--out", tmp_path / "REPORT.md")
    assert "| forward 0.1 (100) |" in (tmp_path / "REPORT.md").read_text(encoding="utf-8")


def cfg_results(guided: dict[str, Any], added: dict[str, Any]) -> dict[str, Any]:
    control = row(1.2, 1.0, 1.4) | {"nfe": 40, "agreement": 0.97, "fid": 0.8}
    steered = guided | {"nfe": 80, "agreement": 0.99, "fid": 0.9}
    free = row(0.9, 0.8, 1.0) | {"nfe": 20, "agreement": 0.95, "fid": 1.1}
    settings = {"plain": row(0, 0, 0) | {"agreement": 0.9}, "eps x 1.02": free, "CFG 1.5": control, "CFG 1.5, posterior 0.02": steered}
    return {"settings": settings, "seeds": [1, 2, 3], "beyond": {"CFG 1.5, posterior 0.02": {"CFG 1.5": added, "eps x 1.02": added}}}


@pytest.mark.parametrize(
    ("added", "said"),
    [
        (row(0.3, 0.1, 0.5), "uncertainty guidance gains more"),
        (row(0.1, -0.1, 0.3), "is not shown to gain you anything"),
        (row(-0.1, -0.3, 0.1), "is not shown to gain you anything"),
        (row(-0.3, -0.5, -0.1), "gives you less"),
    ],
)
def test_what_is_said_to_who_uses_cfg(benchmark, added, said):
    text = benchmark("report.under_cfg").in_short(cfg_results(row(1.3, 1.1, 1.5), added))
    assert said in text and "`CFG 1.5` (40 calls) gains +1.20" in text and "the free `eps x 1.02` gains +0.90" in text


def test_verdicts(benchmark):
    verdicts, claims = benchmark("report.verdicts"), benchmark("report.claims")
    assert [verdicts.sign(g, i) for g, i in [(1, [0.5, 2]), (1, [-1, 2]), (-1, [-2, 1]), (-1, [-2, -0.5])]] == [
        verdicts.PROVEN,
        verdicts.LEANING,
        verdicts.REFUTED,
        verdicts.CONTRARY,
    ]
    assert claims.ranked(2, [1.5, 2.5], 1, [0.5, 1.4]) == verdicts.PROVEN
    assert claims.ranked(2, [1.2, 2.5], 1, [0.5, 1.4]) == verdicts.LEANING
    assert claims.ranked(1, [0.5, 1.4], 2, [1.5, 2.5]) == verdicts.CONTRARY


def test_the_best_are_picked_on_other_seeds(benchmark):
    import torch

    seed = torch.tensor([1] * 40 + [2] * 40)
    bad = torch.arange(80) % 4 == 0
    lucky = torch.where(seed == 1, bad.double(), torch.arange(80) % 7)  # sees all on seed 1, nothing on seed 2
    steady = bad.double() + torch.linspace(0, 1.2, 80)
    judging = benchmark("shared.judging")
    pool = judging.Judged(torch.zeros(80, 2), bad, seed, torch.zeros(80), None)
    joined, picked = judging.best_of_other_seeds(pool, {"lucky": lucky.double(), "steady": steady}, 1)
    assert picked == {1: ["steady"], 2: ["lucky"]}
    assert joined.min() == 0 and joined.max() == 1


def test_what_an_ensemble_has_seen_little_of(benchmark, monkeypatch, tmp_path):
    module = benchmark("quality.ensemble")
    monkeypatch.setattr(module, "BRANCHES", (0.5,))
    run(module, monkeypatch, "--images", 1, "--steps", 3, "--repeats", 1, "--work", tmp_path / "work")
    found = json.loads((tmp_path / "ensemble.json").read_text())
    row, shared = found["branches"]["0.5"], found["cost"]["shared_steps_at_branch_0.5"]
    assert shared + row["steps_after"] == 3
    assert found["cost"]["NFE_at_branch_0.5"] == row["NFE"] == shared + found["members"] * row["steps_after"]
    assert all(-1 <= row[moment]["information"]["spearman_of_class_means"] <= 1 for moment in ("first", "last", "mean"))
    assert found["bandwidths"]["published, 1"]["at_log_K"] >= found["bandwidths"]["per dimension"]["at_log_K"]


def test_best_of_replays_what_a_real_search_counts(benchmark, monkeypatch, tmp_path):
    candidates = benchmark("shared.candidates")
    monkeypatch.setattr(candidates, "PROMPTS", 2)
    monkeypatch.setattr(benchmark("shared.steering"), "STEPS", 3)
    module = benchmark("quality.best_of")
    monkeypatch.setattr(module, "PROMPTS", 2)
    monkeypatch.setattr(module, "RUNS", 5)
    monkeypatch.setattr(module, "SETTINGS", (candidates.Setting(3, 1.0), candidates.Setting(2, 1.5)))
    run(module, monkeypatch, "--prompts", 2, "--steered", 2, "--work", tmp_path / "work")  # raises where a real search counts otherwise
    run(benchmark("cost.until_good"), monkeypatch, "--images", 3, "--settings", "2 steps, CFG 1.5", "--work", tmp_path / "plain")
    run(benchmark("report.write_report"), monkeypatch, "--out", tmp_path / "REPORT.md")
    found = json.loads((tmp_path / "best_of.json").read_text())
    rows = found["settings"]["3 steps, CFG 1"]["plans"]
    assert rows["best of 8"]["calls"] == 8 * (3 + 4) and rows["best of 8"]["share_of_calls"] == 1
    assert rows["8 to 1 at 0.5"]["calls"] == 8 * (2 + 4) + 1
    assert rows["one candidate at random"]["calls"] == 3
    assert found["steered"]["one candidate"]["calls"] == 3 and found["steered"]["best of 8"]["calls"] == 8 * (3 + 4)
    assert all(1 <= row["attempts"] <= 8 for row in found["settings"]["2 steps, CFG 1.5"]["until good"].values())
    written = (tmp_path / "REPORT.md").read_text(encoding="utf-8")
    assert "**3 steps, CFG 1.**" in written and "## Until good at equal calls" in written
    (name, limits), *others = json.loads((tmp_path / "until_good.json").read_text())["settings"].items()
    assert name == "2 steps, CFG 1.5" and not others
    assert all(row["plain_steps"] == round(row["calls"] / 2) for row in limits.values())


def test_error_bars_from_measuring_to_report(benchmark, monkeypatch, tmp_path):
    module = benchmark("quality.posterior")
    monkeypatch.setattr(module, "TIMESTEPS", (50, 200))
    run(module, monkeypatch, "--images", 4, "--size", 2, "--work", tmp_path / "work")
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


def test_free_scores_of_kept_samplings_are_sums_over_their_steps(benchmark):
    free, trajectories = benchmark("shared.free_methods"), benchmark("shared.trajectories")
    space = Space.of(load_demo()[1])
    sigmas = torch.tensor([space.sigma_at(t) for t in range(950, -50, -50)])
    x0, without = torch.randn(2, 20, 3, 16)
    sampled = trajectories.Drawn(1.5, x0, without, sigmas, torch.zeros(3, 1, 4, 4), torch.zeros(3))
    followed = without + 1.5 * (x0 - without)
    late = free.record(sampled, free.FREE["trajectory, 0.5 to 1"], space)
    assert torch.allclose(late, followed[9:].var(dim=0, correction=0).mean(dim=1), atol=1e-5)
    gap = free.record(sampled, free.FREE["condition gap of images, 0 to 1"], space)
    assert torch.allclose(gap, (x0 - without).square().mean(dim=(0, 2)), atol=1e-5)
    early = free.partial(sampled, 0.35, space)
    assert torch.allclose(early["trajectory"].exp(), followed[:7].var(dim=0, correction=0).mean(dim=1), atol=1e-5)
    assert torch.allclose(early["condition gap now"].exp(), (x0[6] - without[6]).square().mean(dim=1), atol=1e-5)


def test_every_score_under_guidance_from_drawing_to_report(benchmark, monkeypatch, tmp_path):
    """All images are called bad or good in turn, so that every table has its rows."""
    trajectories, module = benchmark("shared.trajectories"), benchmark("quality.filtering_cfg")
    monkeypatch.setitem(trajectories.STEPS, 1.5, 20)
    monkeypatch.setattr(benchmark("shared.pool"), "CHUNK", 4)
    monkeypatch.setattr(benchmark("shared.judging"), "RESAMPLES", 2)
    monkeypatch.setattr(module, "FEWEST", 1)
    monkeypatch.setattr(module, "EVERY", {1.5: 1})
    monkeypatch.setattr(module, "off_manifold", lambda real, features: torch.arange(len(features)) % 2 == 0)
    monkeypatch.setattr(module, "METHODS", {n: module.METHODS[n] for n in ("prompt information", "redrawn", "DECU")})
    lab_of = module.Lab.open
    monkeypatch.setattr(module.Lab, "open", lambda work, precision: lab_of(work, 4, precision=precision))
    run(module, monkeypatch, "--scales", 1.5, "--images", 4, "--work", tmp_path / "work")
    found = json.loads((tmp_path / "filtering_cfg.json").read_text())["scales"]["1.5"]
    rows = found["off_the_real_digits"]["scores"]
    assert found["images"] == 12 and found["off_the_digits"] == 6
    assert rows["denoised, mix"]["nfe"] == 2 * rows["denoised, conditional"]["nfe"] and rows["trajectory"]["nfe"] == 0
    told = found["off_the_real_digits"]["mix_less_conditional"]["noise"]
    assert told["difference"] == pytest.approx(rows["noise, mix"]["auroc"] - rows["noise, conditional"]["auroc"], abs=2e-4)
    written = benchmark("report.cfg_scores").section(json.loads((tmp_path / "filtering_cfg.json").read_text()))
    assert "| DECU | 44 |" in written and "| denoised, mix |" in written


def test_what_the_recorder_measures_is_what_the_replay_measures(benchmark, tmp_path):
    """The conditional prediction, redrawn from kept samplings, gives the scores that attach records during one."""
    images, trajectories, pool = benchmark("shared.under_cfg.images"), benchmark("shared.trajectories"), benchmark("shared.pool")
    from uncertainty_nodes.core.options import AleatoricOptions, Quantity
    from uncertainty_nodes.hosts.diffusers.demo import attach, sample

    lab = pool.Lab.open(tmp_path, 2)
    chunk = lab.blank(11, 0)
    drawn = trajectories.drawn(lab, 1.5, chunk)
    picked = images.Picked.of(lab, chunk, drawn, torch.arange(2))
    replayed = images.redrawn(images.CONDITIONAL, pool.DEFAULT, picked)
    with attach(lab.network, lab.scheduler, record=AleatoricOptions(), classifier_free=True) as watched:
        sample(lab.network, lab.scheduler, chunk.noise, chunk.labels, 20, 1.5)
    for quantity in (Quantity.DENOISED, Quantity.NOISE):
        assert torch.allclose(replayed[quantity.value].scores, watched.result(quantity).scores, rtol=0.02)  # kept in half precision
    assert replayed["denoised"].nfe == watched.result().nfe


def test_pixels_under_guidance(benchmark, monkeypatch, tmp_path):
    run(benchmark("quality.pixels"), monkeypatch, "--cfg", 1.5, "--images", 2, "--size", 2, "--steps", 20, "--work", tmp_path / "work")
    scales = json.loads((tmp_path / "pixels_cfg.json").read_text())["scales"]
    plain, guided = scales["1"]["methods"], scales["1.5"]["methods"]
    assert plain["trajectory"]["nfe"] == guided["condition gap"]["nfe"] == 0 and "condition gap" not in plain
    assert guided["denoised, mix"]["nfe"] == 2 * guided["denoised, conditional"]["nfe"]
    assert "At CFG 1.5" in benchmark("report.cfg_scores").pixels({"images": 2, "scales": scales})


def test_free_scorers_choose_at_no_call(benchmark, monkeypatch, tmp_path):
    candidates, module = benchmark("shared.candidates"), benchmark("quality.best_of")
    monkeypatch.setattr(candidates, "PROMPTS", 2)
    monkeypatch.setattr(module, "PROMPTS", 2)
    monkeypatch.setattr(module, "SETTINGS", (candidates.Setting(20, 1.0), candidates.Setting(20, 1.5)))
    run(module, monkeypatch, "--free", "--prompts", 2, "--work", tmp_path / "work")
    found = json.loads((tmp_path / "best_of_free.json").read_text())["settings"]
    plain, guided = (found[f"20 steps, CFG {cfg}"]["plans"] for cfg in ("1", "1.5"))
    assert plain["best of 8, trajectory"]["calls"] == 8 * 20 and guided["best of 8, condition gap"]["calls"] == 8 * 40
    assert not any("gap" in name for name in plain)
    assert "scores that cost nothing" in benchmark("report.best_of").free({"prompts": 2, "candidates": 8, "settings": found}) or all(
        rows["plans"]["best of 8"]["gain_interval"][0] <= 0 for rows in found.values()
    )
    run(benchmark("report.draw_figures"), monkeypatch)
    assert (tmp_path / "choosing.png").exists()


def test_the_papers_protocol(benchmark, monkeypatch, tmp_path):
    module = benchmark("quality.paper")
    monkeypatch.setattr(benchmark("shared.judging"), "RESAMPLES", 2)
    run(module, monkeypatch, "--images", 2, "--size", 2, "--real", 2, "--work", tmp_path / "work")
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


def untrained_colour_model(benchmark: Any, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """FOLDER/photos of seven photos a class, checkpoint.safetensors of the smallest network, and judge.safetensors."""
    from PIL import Image

    for name in benchmark("shared.other_models.colour").CLASSES:
        (folder / "photos" / name).mkdir(parents=True)
        for i in range(7):
            pixels = torch.randint(255, (32, 32, 3), generator=torch.Generator().manual_seed(i)).byte().numpy()
            Image.fromarray(pixels).save(folder / "photos" / name / f"{i}.jpg")
    judging, trainer = benchmark("bundle.train_colour_judge"), benchmark("bundle.trainer")
    seen = (torch.arange(70) % 7 < 4).numpy()
    for module in ("bundle.train_colour_judge", "bundle.train_colour_ensemble", "bundle.fit_colour_laplace", "shared.other_models.colour"):
        monkeypatch.setattr(benchmark(module), "split", lambda count, seed: (seen.nonzero()[0], (~seen).nonzero()[0]))
    monkeypatch.setattr(judging, "BATCH", 20)
    run(judging, monkeypatch, folder / "photos", "--epochs", 1, "--out", folder / "judge.safetensors")
    trainer.Trainer(trainer.Plan(folder, 1, 1e-3), benchmark("bundle.train_colour").colour_config(16)).save()


def test_every_table_on_colour_photos(benchmark, monkeypatch, tmp_path):
    """What an untrained network draws is nonsense, but every method has its row beside the digits' own."""
    untrained_colour_model(benchmark, monkeypatch, tmp_path)
    model = ("--model", tmp_path / "checkpoint.safetensors")
    fitted, members = tmp_path / "laplace.safetensors", tmp_path / "ensemble.safetensors"
    run(benchmark("bundle.fit_colour_laplace"), monkeypatch, tmp_path / "photos", *model, "--images", 4, "--out", fitted)
    monkeypatch.setattr(benchmark("bundle.train_ensemble"), "SHARES", (0.5, 1.0) * 5)
    monkeypatch.setattr(benchmark("quality.ensemble"), "SCARCE", 0.6)
    training = ("--members", 2, "--steps", 1, "--batch", 2, "--out", tmp_path)
    run(benchmark("bundle.train_colour_ensemble"), monkeypatch, tmp_path / "photos", *model, *training)
    colour = ("--colour", *model, "--judge", tmp_path / "judge.safetensors", "--laplace", fitted, "--ensemble", members)
    colour = (*colour, "--photos", tmp_path / "photos", "--size", 10)
    monkeypatch.setattr(benchmark("shared.judging"), "RESAMPLES", 2)
    monkeypatch.setattr(benchmark("shared.judging"), "RANDOM_SUBSETS", 2)
    monkeypatch.setattr(benchmark("shared.judging"), "PAIRED", 20)

    def measured(script: str, *given: object) -> None:
        run(benchmark(f"quality.{script}"), monkeypatch, *colour, "--work", tmp_path / "work" / script, *given)

    pool = ("--pool", tmp_path / "pool.safetensors")
    measured("filtering", "--images", 10, "--steps", 10, *pool)
    found = json.loads((tmp_path / "filtering_colour.json").read_text())
    assert found["images"] == 30 and found["methods"]["DECU"]["nfe"] > 0 and "condition gap" not in found["methods"]
    run(benchmark("quality.filtering"), monkeypatch, *colour, "--table", "--steps", 10, *pool)
    again = json.loads((tmp_path / "filtering_colour.json").read_text())
    assert again["methods"] == found["methods"]
    only = ("--only", "prompt information", "DECU", "--work", tmp_path / "work" / "guided")
    measured("filtering", "--images", 10, "--steps", 10, "--cfg", 3, *only)
    guided_images = json.loads((tmp_path / "filtering_colour_cfg.json").read_text())
    rows = guided_images["methods"]
    assert rows["condition gap"]["nfe"] == 0 and rows["DECU"]["nfe"] == 2 * found["methods"]["DECU"]["nfe"]
    for given in ((), ("--cfg", 3)):
        measured("pixels", "--images", 4, "--steps", 10, *given)
        measured("ensemble", "--images", 1, "--steps", 4, *given)
    plain, guided = (json.loads((tmp_path / f"pixels_colour{name}.json").read_text()) for name in ("", "_cfg"))
    assert plain["methods"]["generative uncertainty"]["images"] == 4 and "denoised, mix" in guided["scales"]["3"]["methods"]
    measured("paper", "--images", 2, "--real", 2)
    paper = json.loads((tmp_path / "paper_colour.json").read_text())
    assert paper["selection"]["images"] == 30 and paper["selection"]["nfe"] == 20
    digits = {path.stem: json.loads(path.read_text()) for path in (common.BENCHMARKS / "results").glob("*.json")}
    photos, claims = benchmark("report.photos"), benchmark("report.claims")
    assert "| DECU |" in photos.filtering(found, digits["filtering"])
    assert "| condition gap | 0 |" in photos.filtering_under_cfg(guided_images, digits["filtering_cfg"])
    assert "**CFG 3**" in photos.pixels(plain, digits["pixels"], digits["pixels_cfg"], guided)
    members = [json.loads((tmp_path / f"ensemble_colour{name}.json").read_text()) for name in ("", "_cfg")]
    assert "| 3 | 0.75 | information |" in photos.ensembles(members[0], digits["ensemble"], members[1])
    assert "ours by low V, 50 steps, photos" in claims.protocol(digits["filtering"], digits["pixels"], {", photos": paper})


@pytest.mark.parametrize(
    ("low", "within", "gain", "said"),
    [
        (0.48, 0.6, (-1, 1), "Not shown to find bad photos, AUROC above a half: `a`."),
        (0.7, 0.52, (-1, 1), "They tell classes apart more than photos, within a class below 0.55: `a`."),
        (0.7, 0.6, (-3, -1), "Filtering by them makes FID worse than by chance: `a`."),
        (0.7, 0.6, (1, 3), "FID is better than by chance for `a` (+2.00)."),
        (0.7, 0.6, (-1, 1), "No score is shown to lower FID more than chance does."),
    ],
)
def test_what_is_said_of_filtering_photos(benchmark, low, within, gain, said):
    row = {"auroc": {"auroc": low + 0.1, "interval": [low, low + 0.2]}, "auroc_within_class": within, "nfe": 20.0}
    row |= {"gain": sum(gain) / 2, "gain_interval": list(gain)}
    assert said in benchmark("report.photos").verdict({"methods": {"a": row, "ink (no model)": row}}, {})


def test_the_colour_model_from_checkpoint_to_report(benchmark, monkeypatch, tmp_path):
    """Of an untrained network and judge: what is measured is nonsense, but all of it is there."""
    untrained_colour_model(benchmark, monkeypatch, tmp_path)
    colour = benchmark("quality.colour")
    for module in ("shared.candidates", "quality.colour"):
        monkeypatch.setattr(benchmark(module), "PROMPTS", 2)
        monkeypatch.setattr(benchmark(module), "CANDIDATES", 8)
    monkeypatch.setattr(benchmark("shared.judging"), "RESAMPLES", 2)
    monkeypatch.setattr(colour, "STEPS", 4)
    monkeypatch.setattr(colour, "SETTINGS", {n: colour.SETTINGS[n] for n in ("plain", "eps x 1.01", "posterior 0.02")})
    monkeypatch.setattr(colour, "GUIDED", {"posterior 0.02": colour.GUIDED["posterior 0.02"]})
    monkeypatch.setattr(colour, "RESULTS", tmp_path)
    given = ("--model", tmp_path / "checkpoint.safetensors", "--judge", tmp_path / "judge.safetensors", "--work", tmp_path / "work")
    run(colour, monkeypatch, *given, "--images", 4, "--size", 4, "--prompts", 2, "--cfg", 1, 3)
    found = json.loads((tmp_path / "colour.json").read_text())
    assert found["settings"]["plain"]["fid_gain"] == 0 and found["settings"]["posterior 0.02"]["nfe"] > found["settings"]["plain"]["nfe"]
    assert set(found["candidates"]) == {"4 steps, CFG 1", "4 steps, CFG 3"} and (tmp_path / "colour.jpg").exists()


def test_scaling_eps_of_a_velocity_model(benchmark):
    """The scheduler's own eps of the moved output is as many times as large."""
    from diffusers import DDIMScheduler

    settings = benchmark("shared.guidance.settings")
    scheduler = DDIMScheduler(prediction_type="v_prediction", clip_sample=False)
    scheduler.set_timesteps(20)
    x, output, t = torch.randn(2, 1, 4, 4), torch.randn(2, 1, 4, 4), scheduler.timesteps[10]
    alpha = scheduler.alphas_cumprod[t] ** 0.5
    sigma = (1 - scheduler.alphas_cumprod[t]) ** 0.5

    def eps(v: torch.Tensor) -> torch.Tensor:
        return alpha * v + sigma * x

    moved = settings.scale_eps(scheduler, output, x, t, 1.02)
    assert torch.allclose(eps(moved), 1.02 * eps(output), atol=1e-5)
