"""What ComfyUI tells of the tiny network: run with its interpreter, as ``comfyui_numbers.py HOME ROOT GIVEN RESULT``."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path

home, root, given_file, result_file = map(Path, sys.argv[1:])
sys.argv = [sys.argv[0], "--cpu"]
sys.path.insert(0, str(home))

import comfy.options  # noqa: E402

comfy.options.enable_args_parsing()

import comfy.model_base  # noqa: E402
import comfy.model_management as mm  # noqa: E402
import comfy.model_patcher  # noqa: E402
import comfy.sampler_helpers  # noqa: E402
import comfy.samplers  # noqa: E402
import comfy.supported_models  # noqa: E402
import torch  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

from tiny_network import PERCENT, SAMPLES, SEED, STRENGTH, network_of  # noqa: E402

package = "uncertainty_nodes"
spec = importlib.util.spec_from_file_location(package, root / "__init__.py", submodule_search_locations=[str(root)])
sys.modules[package] = importlib.util.module_from_spec(spec)
core, patch = importlib.import_module(f"{package}.core.options"), importlib.import_module(f"{package}.hosts.comfyui.patch")
information = importlib.import_module(f"{package}.hosts.comfyui.information")

given = load_file(given_file)
config = comfy.supported_models.SD15({"disable_unet_model_creation": True})
model = comfy.model_base.BaseModel(config, device=torch.device("cpu"))
model.diffusion_model = network_of(given)
patcher = comfy.model_patcher.ModelPatcher(model, load_device=mm.get_torch_device(), offload_device=mm.unet_offload_device())
model.current_patcher = patcher  # as a run sets it
window, draws = core.StepWindow(PERCENT, PERCENT), core.DrawOptions(SAMPLES, SEED)
sigma = torch.tensor([model.model_sampling.percent_to_sigma(PERCENT)] * 2)
x = given["latents"] + sigma[0] * given["noise"]
device, texts = torch.device("cpu"), {"positive": None, "negative": None}
for name in texts:
    cond = comfy.sampler_helpers.convert_cond([[given[name], {}]])
    texts[name] = comfy.samplers.encode_model_conds(model.extra_conds, cond, x, device, name)


def step(guide):
    run = patch.Run(model.model_sampling, core.AleatoricOptions(draws, window), guide)
    options = {"transformer_options": {}, "sampler_post_cfg_function": [run.observe]}
    with torch.inference_mode():
        return comfy.samplers.sampling_function(model, x, sigma, texts["negative"], texts["positive"], 4.0, options), run.recorder


_, recorder = step(None)
result = {quantity.value: total for quantity, total in recorder.totals.items()}
result["guided"], _ = step(core.GuidanceOptions(STRENGTH, draws=draws))
options = core.InformationOptions(core.DrawOptions(SAMPLES, SEED, antithetic=True), window, levels=2)
scale = model.latent_format.scale_factor
told = information.prompt_information(
    patcher, [[given["positive"], {}]], [[given["negative"], {}]], {"samples": given["latents"] / scale}, options
)
result["information"] = told.result.scores
save_file({name: value.clone().contiguous() for name, value in result.items()}, result_file)
