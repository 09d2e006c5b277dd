"""Things to sample with: conditioning without a text encoder, random latents, a Flux too small for the stock loader."""

from __future__ import annotations

import json
import sys

import comfy.latent_formats
import comfy.model_base
import comfy.model_management as mm
import comfy.model_patcher
import comfy.sd
import comfy.sd1_clip
import comfy.supported_models_base
import folder_paths
import torch
from comfy.ldm.flux.model import FluxParams
from comfy_execution.graph_utils import GraphBuilder

from .observe import Any

SEED = ("INT", {"default": 0, "min": 0, "max": 0xFFFFFFFFFFFFFFFF})


def integer(default: int, low: int = 0) -> tuple:
    return ("INT", {"default": default, "min": low, "max": 65536})


class Conditioning:
    """Deterministic CONDITIONING: (1, tokens, width), and pooled_output (1, pooled) unless pooled is 0."""

    CATEGORY, FUNCTION, RETURN_TYPES = "uncertainty/test", "make", ("CONDITIONING",)

    @classmethod
    def INPUT_TYPES(cls):
        sizes = {"tokens": integer(77, 1), "width": integer(768, 1), "pooled": integer(0), "batch": integer(1, 1)}
        return {"required": {"seed": SEED, **sizes}}

    def make(self, seed, tokens, width, pooled, batch):
        generator = torch.Generator().manual_seed(seed)
        extra = {"pooled_output": torch.randn(batch, pooled, generator=generator)} if pooled else {}
        return ([[torch.randn(batch, tokens, width, generator=generator), extra]],)


class NoConditioning:
    """A CONDITIONING without any part, as some packs make for an empty prompt."""

    CATEGORY, FUNCTION, RETURN_TYPES = "uncertainty/test", "make", ("CONDITIONING",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {}}

    def make(self):
        return ([],)


class RandomLatent:
    """A latent of any size; frames 0 is a 4-D one, else 5-D (B, C, T, H, W). A new salt makes all that follows run again."""

    CATEGORY, FUNCTION, RETURN_TYPES = "uncertainty/test", "make", ("LATENT",)

    @classmethod
    def INPUT_TYPES(cls):
        sizes = {"batch": integer(1, 1), "channels": integer(4, 1), "frames": integer(0), "height": integer(8, 1), "width": integer(8, 1)}
        return {"required": {"seed": SEED, **sizes, "scale": ("FLOAT", {"default": 1.0, "min": 0.0, "max": 100.0}), "salt": SEED}}

    def make(self, seed, batch, channels, frames, height, width, scale, salt):
        shape = (batch, channels, *([frames] if frames else []), height, width)
        return ({"samples": scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed))},)


class SpoilImage:
    """A latent in which one image is NaN, as one that failed to sample."""

    CATEGORY, FUNCTION, RETURN_TYPES = "uncertainty/test", "spoil", ("LATENT",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"latent": ("LATENT",), "index": integer(0)}}

    def spoil(self, latent, index):
        samples = latent["samples"].clone()
        samples[index] = float("nan")
        return ({**latent, "samples": samples},)


FLUX = {"in_channels": 16, "out_channels": 16, "patch_size": 2, "vec_in_dim": 32, "context_in_dim": 64, "guidance_embed": True}
FLUX |= {"hidden_size": 128, "mlp_ratio": 2.0, "num_heads": 4, "depth": 1, "depth_single_blocks": 1, "qkv_bias": True}
FLUX |= {"axes_dim": [8, 12, 12], "theta": 10000}


def ours(module: str):
    """A module of the pack under test, which ComfyUI loads under the name of its path."""
    return next(found for name, found in sys.modules.items() if name.endswith(f"uncertainty-nodes.{module}"))


class Uncertainty:
    """A result with given scores; image i has its worst pixel at (i, i). A new salt makes all that follows run again."""

    CATEGORY, FUNCTION, RETURN_TYPES = "uncertainty/test", "make", ("UNCERTAINTY",)

    @classmethod
    def INPUT_TYPES(cls):
        text = ("STRING", {"default": "0.1,0.2"})
        return {"required": {"scores": text, "direction": ("STRING", {"default": "high_is_bad"}), "frames": integer(0), "salt": SEED}}

    def make(self, scores, direction, frames, salt):
        options, result = ours("core.options"), ours("core.result")
        values = torch.tensor([float(word) for word in scores.split(",")])
        maps = torch.zeros(len(values), 1, *([frames] if frames else []), 8, 8)
        for i in range(len(values)):
            maps[i, ..., i % 8, i % 8] = 1.0
        curve, sigmas = torch.stack([values, 2 * values]), torch.tensor([2.0, 1.0])
        return (result.Uncertainty(maps, values, curve, sigmas, options.Direction(direction), "denoised", 5.0, 0.5),)


class NumberedImages:
    """An IMAGE batch: picture i is grey i / 100, for i from ``first``."""

    CATEGORY, FUNCTION, RETURN_TYPES = "uncertainty/test", "make", ("IMAGE",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"first": integer(0), "count": integer(1), "size": integer(16, 1)}}

    def make(self, first, count, size):
        return (torch.stack([torch.full((size, size, 3), i / 100) for i in range(first, first + count)]),)


class ListOf:
    """Up to three values of any one kind, as a list."""

    CATEGORY, FUNCTION, RETURN_TYPES, OUTPUT_IS_LIST = "uncertainty/test", "make", (Any("*"),), (True,)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"a": (Any("*"),)}, "optional": {"b": (Any("*"),), "c": (Any("*"),)}}

    @classmethod
    def VALIDATE_INPUTS(cls, input_types):
        return True

    def make(self, a, b=None, c=None):
        return ([x for x in (a, b, c) if x is not None],)


class ExpandFilter:
    """A node that stands for a Sample Filter of its own making, as loops and other packs make nodes while they run."""

    CATEGORY, FUNCTION, RETURN_TYPES = "uncertainty/test", "expand", ("IMAGE", "IMAGE")

    @classmethod
    def INPUT_TYPES(cls):
        raw = {"rawLink": True}
        return {"required": {"uncertainty": ("UNCERTAINTY", raw), "images": ("IMAGE", raw), "value": ("FLOAT", {"default": 50.0})}}

    def expand(self, uncertainty, images, value):
        graph = GraphBuilder()
        wires = {"uncertainty": uncertainty, "images": images, "rule": "drop_worst_percent", "value": value}
        node = graph.node("UQ_SampleFilter", **wires)
        return {"result": (node.out(0), node.out(1)), "expand": graph.finalize()}


class ExpandNodes:
    """A node that stands for nodes of its own making, as subgraphs and loops make them while they run.

    nodes: those of a prompt, as JSON; an input ["wire", k] is what is connected to wire_k.  result: the node whose output is handed on;
    of a list ComfyUI hands on the first.
    """

    CATEGORY, FUNCTION, RETURN_TYPES = "uncertainty/test", "expand", (Any("*"),)

    @classmethod
    def INPUT_TYPES(cls):
        wires = {f"wire_{k}": (Any("*"), {"rawLink": True}) for k in range(8)}
        return {"required": {"nodes": ("STRING", {}), "result": ("STRING", {}), "output": integer(0)}, "optional": wires}

    @classmethod
    def VALIDATE_INPUTS(cls, input_types):
        return True

    def expand(self, nodes, result, output, **wires):
        graph, wanted = GraphBuilder(), json.loads(nodes)
        made = {name: graph.node(node["class_type"], name) for name, node in wanted.items()}
        for name, node in wanted.items():
            for key, value in node["inputs"].items():
                if isinstance(value, list):
                    value = wires[f"wire_{value[1]}"] if value[0] == "wire" else made[value[0]].out(value[1])
                made[name].set_input(key, value)
        return {"result": (made[result].out(output),), "expand": graph.finalize()}


class Floats:
    """A FLOAT list."""

    CATEGORY, FUNCTION, RETURN_TYPES, OUTPUT_IS_LIST = "uncertainty/test", "make", ("FLOAT",), (True,)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"values": ("STRING", {"default": "0.1,0.2"})}}

    def make(self, values):
        return ([float(word) for word in values.split(",")],)


class Ints(Floats):
    """An INT list."""

    RETURN_TYPES = ("INT",)

    def make(self, values):
        return ([int(word) for word in values.split(",")],)


class TinyFluxConfig(comfy.supported_models_base.BASE):
    unet_extra_config = {}
    latent_format = comfy.latent_formats.Flux
    sampling_settings = {"shift": 1.15}
    memory_usage_factor = 2.8


class TinyFlux:
    """ComfyUI's own Flux at width 128: the stock loader knows width 3072 only. Context 64, pooled 32, distilled guidance."""

    CATEGORY, FUNCTION, RETURN_TYPES = "uncertainty/test", "make", ("MODEL",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"seed": SEED}}

    def make(self, seed):
        network = {**FLUX, "txt_ids_dims": []} if "txt_ids_dims" in FluxParams.__dataclass_fields__ else FLUX  # since 0.8.0
        config = TinyFluxConfig(dict(network))
        config.set_inference_dtype(torch.float32, None)
        model = comfy.model_base.Flux(config)
        generator = torch.Generator().manual_seed(seed)
        for name, weight in model.diffusion_model.named_parameters():
            noise = torch.randn(weight.shape, generator=generator)
            weight.data = 0.7 * noise / weight[0].numel() ** 0.5 if weight.ndim > 1 else 0.02 * noise + name.endswith("scale")
        patcher = comfy.model_patcher.ModelPatcher(model, load_device=mm.get_torch_device(), offload_device=mm.unet_offload_device())
        return (patcher,)


TEXT = {"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 2, "num_hidden_layers": 1, "max_position_embeddings": 77}
TEXT |= {"vocab_size": 49408, "hidden_act": "quick_gelu", "eos_token_id": 49407}


class TinyText(comfy.sd1_clip.SDClipModel):
    def __init__(self, device="cpu", dtype=None, model_options=None):
        options = {"model_options": model_options or {}, "return_projected_pooled": False}
        super().__init__(device=device, textmodel_json_config=dict(TEXT), dtype=dtype, **options)

    def encode_token_weights(self, pairs):
        text, pooled, *rest = super().encode_token_weights(pairs)
        return text, pooled[:, :32], *rest


class TinyTokenizer(comfy.sd1_clip.SDTokenizer):
    def __init__(self, **options):
        super().__init__(embedding_size=64, **options)


class TinyTarget:
    """What comfy.sd.CLIP is told to build."""

    params: dict = {}

    @staticmethod
    def clip(**options):
        return comfy.sd1_clip.SD1ClipModel(clip_model=TinyText, **options)

    @staticmethod
    def tokenizer(**options):
        return comfy.sd1_clip.SD1Tokenizer(tokenizer=TinyTokenizer, **options)


class TinyClip:
    """A text encoder in the sizes of TinyFlux, with random weights and ComfyUI's own tokenizer."""

    CATEGORY, FUNCTION, RETURN_TYPES = "uncertainty/test", "make", ("CLIP",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"seed": SEED}}

    def make(self, seed):
        clip = comfy.sd.CLIP(TinyTarget, embedding_directory=folder_paths.get_folder_paths("embeddings"))
        generator = torch.Generator().manual_seed(seed)
        for weight in clip.cond_stage_model.parameters():
            weight.data = torch.randn(weight.shape, generator=generator) / max(weight.shape[-1:] or [1]) ** 0.5
        return (clip,)


NODES = [
    TinyClip,
    Conditioning,
    NoConditioning,
    RandomLatent,
    SpoilImage,
    Uncertainty,
    NumberedImages,
    ListOf,
    ExpandFilter,
    ExpandNodes,
    Floats,
    Ints,
    TinyFlux,
]
