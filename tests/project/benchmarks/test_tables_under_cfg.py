"""Benchmarks under classifier-free guidance at a tiny size, and those of scores that cost no call."""

from __future__ import annotations

import json

import pytest
import torch

pytest.importorskip("matplotlib")
pytest.importorskip("diffusers")

from uncertainty_nodes.hosts.diffusers.demo import load_demo  # noqa: E402
from uncertainty_nodes.hosts.diffusers.space import Space  # noqa: E402


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


def test_every_score_under_guidance_from_drawing_to_report(benchmark, run, monkeypatch, tmp_path):
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
    run(module, "--scales", 1.5, "--images", 4, "--work", tmp_path / "work")
    found = json.loads((tmp_path / "filtering_cfg.json").read_text())["scales"]["1.5"]
    rows = found["off_the_real_digits"]["scores"]
    assert found["images"] == 12 and found["off_the_digits"] == 6
    assert rows["denoised, mix"]["nfe"] == 2 * rows["denoised, conditional"]["nfe"] and rows["trajectory"]["nfe"] == 0
    told = found["off_the_real_digits"]["mix_less_conditional"]["noise"]
    assert told["difference"] == pytest.approx(rows["noise, mix"]["auroc"] - rows["noise, conditional"]["auroc"], abs=2e-4)
    written = benchmark("report.under_cfg.scores").section(json.loads((tmp_path / "filtering_cfg.json").read_text()))
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


def test_pixels_under_guidance(benchmark, run, tmp_path):
    run(benchmark("quality.pixels"), "--cfg", 1.5, "--images", 2, "--size", 2, "--steps", 20, "--work", tmp_path / "work")
    scales = json.loads((tmp_path / "pixels_cfg.json").read_text())["scales"]
    plain, guided = scales["1"]["methods"], scales["1.5"]["methods"]
    assert plain["trajectory"]["nfe"] == guided["condition gap"]["nfe"] == 0 and "condition gap" not in plain
    assert guided["denoised, mix"]["nfe"] == 2 * guided["denoised, conditional"]["nfe"]
    assert "At CFG 1.5" in benchmark("report.under_cfg.scores").pixels({"images": 2, "scales": scales})


def test_free_scorers_choose_at_no_call(benchmark, run, monkeypatch, tmp_path):
    candidates, module = benchmark("shared.candidates"), benchmark("quality.best_of")
    monkeypatch.setattr(candidates, "PROMPTS", 2)
    monkeypatch.setattr(module, "PROMPTS", 2)
    monkeypatch.setattr(module, "SETTINGS", (candidates.Setting(20, 1.0), candidates.Setting(20, 1.5)))
    run(module, "--free", "--prompts", 2, "--work", tmp_path / "work")
    found = json.loads((tmp_path / "best_of_free.json").read_text())["settings"]
    plain, guided = (found[f"20 steps, CFG {cfg}"]["plans"] for cfg in ("1", "1.5"))
    assert plain["best of 8, trajectory"]["calls"] == 8 * 20 and guided["best of 8, condition gap"]["calls"] == 8 * 40
    assert not any("gap" in name for name in plain)
    assert "scores that cost nothing" in benchmark("report.best_of").free({"prompts": 2, "candidates": 8, "settings": found}) or all(
        rows["plans"]["best of 8"]["gain_interval"][0] <= 0 for rows in found.values()
    )
    run(benchmark("report.draw_figures"))
    assert (tmp_path / "choosing.png").exists()
