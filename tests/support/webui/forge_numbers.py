"""What Forge tells of the tiny network of all hosts. Imported by the probe, within a running Forge."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import torch
from backend.modules.k_prediction import Prediction
from backend.patcher.unet import UnetPatcher
from backend.sampling.condition import compile_conditions
from backend.sampling.sampling_function import sampling_function_inner
from safetensors.torch import load_file, save_file

from tiny_network import PERCENT, SAMPLES, SEED, STRENGTH, network_of

PREDICTION = {
    "prediction_type": "epsilon",
    "beta_schedule": "linear",
    "sigma_data": 1.0,
    "linear_start": 0.00085,
    "linear_end": 0.012,
    "timesteps": 1000,
}


class Processing:
    """What the adapter knows by a weak reference."""


@torch.inference_mode()
def tell(given_file: str, result_file: str) -> None:
    ours = "uncertainty_nodes_webui.hosts.webui"
    patch, running, settings = (sys.modules[f"{ours}.{name}"] for name in ("sampling.patch", "sampling.run", "settings"))
    model_of = sys.modules[f"{ours}.sampling.model"]
    information = __import__(f"{ours}.sampling.information", fromlist=["measure_information"])
    given = load_file(given_file)
    predictor = Prediction(**PREDICTION)
    patcher = UnetPatcher.from_model(network_of(given), None, SimpleNamespace(memory_usage_factor=1.0), k_predictor=predictor)
    p = Processing()
    p.sd_model = SimpleNamespace(forge_objects=SimpleNamespace(unet=patcher))
    process, resolve = model_of.process_of(predictor), model_of.percent_to_sigma(predictor)
    sigma = torch.tensor([predictor.percent_to_sigma(PERCENT)] * 2)
    x = given["latents"] + sigma[0] * given["noise"]
    cond, uncond = compile_conditions(given["positive"]), compile_conditions(given["negative"])

    def step(**chosen):
        values = {"start_percent": PERCENT, "end_percent": PERCENT, "samples": SAMPLES, "seed": SEED, **chosen}
        run = running.SamplingRun(settings.Settings.from_mapping(values), process, resolve)
        p.sd_model.forge_objects.unet = patcher
        patch.attach(p, run)
        unet = p.sd_model.forge_objects.unet
        x0 = sampling_function_inner(unet.model, x, sigma, uncond, cond, 4.0, unet.model_options)
        assert not run.problem, run.problem
        return x0, run

    _, run = step(score="denoised")
    result = {quantity.value: total for quantity, total in run.recorder.totals.items()}
    result["guided"], run = step(score="information", levels=2, strength=STRENGTH, guidance_samples=SAMPLES)
    options = settings.Settings.from_mapping(
        {"start_percent": PERCENT, "end_percent": PERCENT, "samples": SAMPLES, "seed": SEED, "levels": 2}
    ).measuring()
    told = information.measure_information(run, given["latents"], options)
    result["information"] = told.scores
    save_file({name: value.clone().contiguous() for name, value in result.items()}, result_file)
