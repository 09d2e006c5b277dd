"""An extension for tests: counts what the network is asked for, fails where it is told to, and tells what is left on the model."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from modules import script_callbacks, scripts, shared

SUPPORT = Path(__file__).resolve().parents[3]


class Counts:
    """Of a class: what a function around the network keeps otherwise is put back after evaluations that are no step of the sampler."""

    rows = calls = fail_at = seconds = 0

    @classmethod
    def take(cls, rows):
        """Before each call of the network."""
        cls.calls += 1
        cls.rows += rows
        if cls.calls == cls.fail_at:
            raise RuntimeError("the probe was told to fail here")
        time.sleep(cls.seconds)


class Probe(scripts.Script):
    def title(self):
        return "Probe"

    def show(self, is_img2img):
        return scripts.AlwaysVisible

    def ui(self, is_img2img):
        import gradio as gr

        return [gr.Number(0, visible=False), gr.Number(0, visible=False)]

    def process(self, p, fail_at=0, seconds=0):
        Counts.rows = Counts.calls = 0
        Counts.fail_at, Counts.seconds = fail_at, seconds
        if not hasattr(p.sd_model, "forge_objects"):  # A1111: nothing can be put around the network but a hook that stays
            network = p.sd_model.model
            if not network._forward_pre_hooks:
                network.register_forward_pre_hook(lambda _, inputs: Counts.take(inputs[0].shape[0]))

    def process_before_every_sampling(self, p, fail_at=0, seconds=0, **kwargs):
        if not hasattr(p.sd_model, "forge_objects"):
            return

        def wrapper(apply_model, args):
            Counts.take(args["input"].shape[0])
            return apply_model(args["input"], args["timestep"], **args["c"])

        unet = p.sd_model.forge_objects.unet.clone()
        unet.set_model_unet_function_wrapper(wrapper)
        p.sd_model.forge_objects.unet = unet


def report(_, app):
    @app.get("/probe")
    def probe():
        model = shared.sd_model
        patchers = getattr(model, "forge_objects", None), getattr(model, "forge_objects_original", None)
        options, original = (getattr(getattr(each, "unet", None), "model_options", {}) for each in patchers)
        callbacks = {name: len(value) for name, value in script_callbacks.callback_map.items()}
        return {
            "rows": Counts.rows,
            "calls": Counts.calls,
            "post_cfg": len(options.get("sampler_post_cfg_function", [])),
            "original": str(original),
            "callbacks": callbacks,
            "attributes": sorted(vars(model)),
        }

    @app.get("/search_path")
    def search_path():
        return sys.path

    @app.get("/agreement")
    def agreement(given: str, result: str):
        sys.path += [str(SUPPORT / "webui"), str(SUPPORT / "agreement")]
        import forge_numbers

        forge_numbers.tell(given, result)
        return {}


script_callbacks.on_app_started(report)
