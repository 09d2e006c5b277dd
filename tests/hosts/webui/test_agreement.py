"""The same weights, latents, noise and seed: ComfyUI, diffusers and Forge tell the same numbers of one tiny network, A1111 of one image."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import torch
from diffusers import DDIMScheduler
from safetensors.torch import load_file, save_file
from torch import Tensor

import forge_checkpoint
from comfy_installations import installations
from forge_server import Forge
from tiny_network import ASKED, SAMPLES, SEED, STEP, STRENGTH, TinyNetwork, network_of, problem
from uncertainty_nodes.core.denoiser import Process, vp_to_ve
from uncertainty_nodes.core.guidance.step import guide_step
from uncertainty_nodes.core.options import AleatoricOptions, DrawOptions, GuidanceOptions, InformationOptions, StepWindow
from uncertainty_nodes.core.pixelwise.aleatoric import estimate_aleatoric_step
from uncertainty_nodes.core.pixelwise.information import estimate_information
from uncertainty_nodes.core.pixelwise.quadrature import window_quadrature
from uncertainty_nodes.hosts.diffusers.attach import denoiser
from uncertainty_nodes.hosts.diffusers.space import Space

ROOT = Path(__file__).resolve().parents[3]
TOLERANCE = {"rtol": 1e-3, "atol": 1e-4}  # float32 through other coordinates


class DiffusersNetwork(TinyNetwork):
    """As diffusers names the inputs."""

    def forward(self, sample: Tensor, timestep: Tensor, encoder_hidden_states: Tensor, return_dict: bool = True) -> tuple[Tensor]:  # type: ignore[override]
        return (super().forward(sample, timestep, encoder_hidden_states),)


def told_by_diffusers(given: dict[str, Tensor]) -> dict[str, Tensor]:
    network = DiffusersNetwork(network_of(given).state_dict())
    scheduler = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    space, percent = Space.of(scheduler), 1 - STEP / 999
    sigma = torch.tensor([space.percent_to_sigma(percent)] * 2)
    alpha = Process.VP.alpha(sigma)[:, None, None, None]
    conditional, unconditional = (denoiser(network, scheduler, {"encoder_hidden_states": given[n]}, 2) for n in ("positive", "negative"))
    _, ve = vp_to_ve(given["latents"], sigma)
    x = alpha * (given["latents"] + ve[0] * given["noise"])
    x0, draws = conditional(x, sigma), DrawOptions(SAMPLES, SEED)
    spread = estimate_aleatoric_step(conditional, x, x0, sigma, Process.VP, AleatoricOptions(draws), 0)
    mix = unconditional(x, sigma) + 4.0 * (x0 - unconditional(x, sigma))
    guided = guide_step(conditional, x, mix, sigma, Process.VP, GuidanceOptions(STRENGTH, draws=draws), 0, x0)
    options = InformationOptions(DrawOptions(SAMPLES, SEED, antithetic=True), StepWindow(percent, percent), levels=2)
    quadrature = window_quadrature(options, space.percent_to_sigma, Process.VP)
    information = estimate_information(conditional, unconditional, given["latents"], quadrature, Process.VP, options)
    return {"denoised": spread.denoised, "noise": spread.noise, "guided": guided.x0, "information": information.result.scores}


def told_by_comfyui(given: Path, result: Path) -> dict[str, Tensor]:
    copy = installations()[0]
    if reason := copy.why_not():
        pytest.skip(reason)
    script = ROOT / "tests" / "support" / "agreement" / "comfyui_numbers.py"
    command = [copy.python, str(script), str(copy.home), str(ROOT), str(given), str(result)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return load_file(result)


@pytest.mark.usefixtures("patcher")
def test_three_hosts_tell_the_same_numbers(forge: Forge, tmp_path: Path) -> None:
    given = problem()
    save_file(given, tmp_path / "given.safetensors")
    told = told_by_diffusers(given)
    forge.draw({"score": "denoised"})  # its adapter is loaded with the first measured image
    forge.get("/agreement?" + urlencode({"given": tmp_path / "given.safetensors", "result": tmp_path / "forge.safetensors"}))
    others = {
        "Forge": load_file(tmp_path / "forge.safetensors"),
        "ComfyUI": told_by_comfyui(tmp_path / "given.safetensors", tmp_path / "comfyui.safetensors"),
    }
    for name in ASKED:
        assert told[name].std() > 1e-3
        for host, numbers in others.items():
            assert torch.allclose(numbers[name], told[name], **TOLERANCE), (host, name, numbers[name], told[name])


SCORED: list[dict[str, Any]] = [
    {"score": "denoised"},
    {"score": "posterior"},
    {"score": "information", "levels": 2, "samples": 2},
    {"score": "trajectory"},
    {"score": "condition_gap"},
    {"score": "noise", "strength": 0.3},
    {"score": "noise", "strength": 0.3, "mode": "forward"},
]


@pytest.mark.usefixtures("patcher")
def test_a1111_tells_what_forge_tells(forge: Forge, tmp_path: Path) -> None:
    """By callbacks what the other tells by its patcher, of one checkpoint."""
    if (path := os.environ.get("A1111_PATH")) is None:
        pytest.skip("no A1111: set A1111_PATH to the folder that holds its launch.py, and A1111_PYTHON to its Python")
    home, python = Path(path), os.environ.get("A1111_PYTHON", "python")
    checkpoint = tmp_path / "checkpoints" / forge_checkpoint.NAME
    checkpoint.parent.mkdir()
    forge_checkpoint.make(home, python, checkpoint)
    checkpoint.unlink()
    checkpoint.symlink_to(forge.base / "checkpoints" / forge_checkpoint.NAME)
    job = {"batch_size": 2, "steps": 8, "override_settings": {"return_grid": False}}
    with Forge(tmp_path, python, path=home) as a1111:
        for settings in SCORED:
            ours, theirs = (host.draw(settings, **job) for host in (a1111, forge))
            assert ours.scores() == pytest.approx(theirs.scores(), rel=5e-3), settings
            assert len(set(theirs.scores())) == 2
            assert [ours.field("Uncertainty calls", i) for i in (0, 1)] == [theirs.field("Uncertainty calls", i) for i in (0, 1)]
