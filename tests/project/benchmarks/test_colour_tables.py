"""Benchmarks on colour photos, of an untrained network at a tiny size."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("matplotlib")
pytest.importorskip("diffusers")

from uncertainty_nodes.benchmarks.shared import common  # noqa: E402
from uncertainty_nodes.hosts.diffusers.demo import sample  # noqa: E402


def untrained_colour_model(benchmark: Any, run: Callable[..., None], monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
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
    run(judging, folder / "photos", "--epochs", 1, "--out", folder / "judge.safetensors")
    trainer.Trainer(trainer.Plan(folder, 1, 1e-3), benchmark("bundle.train_colour").colour_config(16)).save()


def test_every_table_on_colour_photos(benchmark, run, monkeypatch, tmp_path):
    """What an untrained network draws is nonsense, but every method has its row beside the digits' own."""
    untrained_colour_model(benchmark, run, monkeypatch, tmp_path)
    model = ("--model", tmp_path / "checkpoint.safetensors")
    fitted, members = tmp_path / "laplace.safetensors", tmp_path / "ensemble.safetensors"
    run(benchmark("bundle.fit_colour_laplace"), tmp_path / "photos", *model, "--images", 4, "--out", fitted)
    monkeypatch.setattr(benchmark("bundle.train_ensemble"), "SHARES", (0.5, 1.0) * 5)
    monkeypatch.setattr(benchmark("quality.ensemble"), "SCARCE", 0.6)
    training = ("--members", 2, "--steps", 1, "--batch", 2, "--out", tmp_path)
    run(benchmark("bundle.train_colour_ensemble"), tmp_path / "photos", *model, *training)
    colour = ("--colour", *model, "--judge", tmp_path / "judge.safetensors", "--laplace", fitted, "--ensemble", members)
    colour = (*colour, "--photos", tmp_path / "photos", "--size", 10)
    monkeypatch.setattr(benchmark("shared.judging"), "RESAMPLES", 2)
    monkeypatch.setattr(benchmark("shared.judging"), "RANDOM_SUBSETS", 2)
    monkeypatch.setattr(benchmark("shared.judging"), "PAIRED", 20)

    def measured(script: str, *given: object) -> None:
        run(benchmark(f"quality.{script}"), *colour, "--work", tmp_path / "work" / script, *given)

    pool = ("--pool", tmp_path / "pool.safetensors")
    measured("filtering", "--images", 10, "--steps", 10, *pool)
    found = json.loads((tmp_path / "filtering_colour.json").read_text())
    assert found["images"] == 30 and found["methods"]["DECU"]["nfe"] > 0 and "condition gap" not in found["methods"]
    run(benchmark("quality.filtering"), *colour, "--table", "--steps", 10, *pool)
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
    photos, claims = benchmark("report.photos.tables"), benchmark("report.claims")
    assert "| DECU |" in photos.filtering(found, digits["filtering"])
    assert "| condition gap | 0 |" in photos.filtering_under_cfg(guided_images, digits["filtering_cfg"])
    assert "**CFG 3**" in photos.pixels(plain, digits["pixels"], digits["pixels_cfg"], guided)
    members = [json.loads((tmp_path / f"ensemble_colour{name}.json").read_text()) for name in ("", "_cfg")]
    assert "| 3 | 0.75 | information |" in photos.ensembles(members[0], digits["ensemble"], members[1])
    assert "ours by low V, 50 steps, photos" in claims.protocol(digits["filtering"], digits["pixels"], {", photos": paper})


def test_the_colour_model_from_checkpoint_to_report(benchmark, run, monkeypatch, tmp_path):
    """Of an untrained network and judge: what is measured is nonsense, but all of it is there."""
    untrained_colour_model(benchmark, run, monkeypatch, tmp_path)
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
    run(colour, *given, "--images", 4, "--size", 4, "--prompts", 2, "--cfg", 1, 3)
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


def test_the_model_that_comes_with_the_benchmarks_draws_what_is_asked(benchmark):
    subject, labels = benchmark("shared.subject").colour(), torch.arange(20) % 10
    images = sample(subject.network, subject.scheduler, subject.noise(20, 5, 0), labels, 20, 2.0)
    assert (subject.judged(images, labels)["asked"] > 0.5).sum() >= 12  # 83 % of 2,250
    assert subject.ensemble.provenance["frozen_weights"] == benchmark("bundle.train_ensemble").digest(subject.network)
    subject.laplace.posterior(subject.network)  # raises where it is of another model
