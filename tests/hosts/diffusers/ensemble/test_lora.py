"""A LoRA counts by what it puts on the weights: on the network, on the text encoders, or not at all, which is refused."""

from __future__ import annotations

import copy

import pytest
import torch

import tiny_pipelines
import tiny_text
from uncertainty_nodes.core.ensemble.file import EnsembleParameters, MemberParameters
from uncertainty_nodes.core.options import EnsembleKind, EnsembleOptions
from uncertainty_nodes.hosts.diffusers.ensemble.decu import decu
from uncertainty_nodes.hosts.diffusers.ensemble.lora import lora_applied
from uncertainty_nodes.hosts.diffusers.ensemble.members import ConditionMembers, LoraMembers
from uncertainty_nodes.hosts.diffusers.images import with_prompt

pytestmark = pytest.mark.filterwarnings("ignore")  # diffusers' own deprecations
IN_UNET = "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k"
IN_TEXT = "text_model.encoder.layers.0.self_attn.out_proj"


def factors(layer: torch.nn.Linear, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    down, up = tiny_pipelines.embeddings(2, layer.in_features, seed=seed), tiny_pipelines.embeddings(layer.out_features, 2, seed=seed + 50)
    return down, up


def text_lora(pipe, seed=0, names="kohya", end=""):
    """A LoRA for a text encoder alone, its change of the weights, and where."""
    encoder = getattr(pipe, f"text_encoder{end}")
    place = next(name for name, _ in encoder.named_modules() if name.endswith("layers.0.self_attn.out_proj"))
    layer = encoder.get_submodule(place)
    down, up = factors(layer, seed)
    if names == "kohya":
        te = {"": "te" if not hasattr(pipe, "text_encoder_2") else "te1", "_2": "te2"}[end]
        base = f"lora_{te}_{IN_TEXT.replace('.', '_')}"
        return {f"{base}.lora_down.weight": down, f"{base}.lora_up.weight": up, f"{base}.alpha": torch.tensor(2.0)}, up @ down, place
    base = f"text_encoder{end}.{IN_TEXT}"
    return {f"{base}.lora_A.weight": down, f"{base}.lora_B.weight": up}, up @ down, place


def unet_lora(pipe, seed=0, scale=1.0):
    down, up = factors(pipe.unet.get_submodule(IN_UNET), seed)
    return {f"unet.{IN_UNET}.lora_A.weight": down, f"unet.{IN_UNET}.lora_B.weight": scale * up}


def state(pipe) -> dict[str, torch.Tensor]:
    parts = {name: part for name, part in pipe.components.items() if isinstance(part, torch.nn.Module)}
    return {f"{name}.{key}": value.clone() for name, part in parts.items() for key, value in part.state_dict().items()}


def is_unchanged(pipe, before: dict[str, torch.Tensor]) -> bool:
    after = state(pipe)
    return after.keys() == before.keys() and all(torch.equal(after[key], before[key]) for key in before)


@pytest.mark.parametrize("end", ["", "_2"])
@pytest.mark.parametrize("names", ["kohya", "peft"])
@pytest.mark.parametrize("kind", ["sd", "sdxl"])
def test_a_lora_for_the_text_encoder_alone_loads(tmp_path, kind, names, end):
    if kind == "sd" and end:
        pytest.skip("SD has one text encoder")
    pipe = tiny_text.make(kind, tmp_path)
    tensors, change, place = text_lora(pipe, names=names, end=end)
    moved, before = copy.deepcopy(pipe), state(pipe)
    getattr(moved, f"text_encoder{end}").get_submodule(place).weight.data += change
    expected = with_prompt(moved, "a cat").cond
    plain = with_prompt(pipe, "a cat").cond
    with lora_applied(pipe, tensors) as on_text:
        assert on_text
        found = with_prompt(pipe, "a cat").cond
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-3, atol=1e-4)
    assert any(not torch.allclose(found[name], plain[name]) for name in plain)
    assert is_unchanged(pipe, before)


def test_members_of_the_text_encoder_draw_as_pipelines_with_its_weights_moved(tmp_path):
    pipe = tiny_text.make("sd", tmp_path)
    noise, model = tiny_pipelines.embeddings(1, 4, 8, 8, seed=9), with_prompt(pipe, "a cat")
    loras = [text_lora(pipe, seed) for seed in range(2)]
    ensemble = EnsembleParameters(EnsembleKind.LORA, tuple(MemberParameters(f"m{k}", lora[0]) for k, lora in enumerate(loras)))
    members = LoraMembers(pipe, ensemble, *model.conditions(noise, []), prompt="a cat")
    found = decu(pipe.unet, pipe.scheduler, noise, members, 3, EnsembleOptions(0.0), guidance_scale=3.0)
    for k, (_, change, place) in enumerate(loras):
        moved = copy.deepcopy(pipe)
        moved.text_encoder.get_submodule(place).weight.data += change
        cond, empty = with_prompt(moved, "a cat").conditions(noise, [])
        alone = decu(moved.unet, pipe.scheduler, noise, ConditionMembers(["x"], [cond], empty), 3, EnsembleOptions(0.0), guidance_scale=3.0)
        torch.testing.assert_close(found.samples[k], alone.samples[0], rtol=1e-3, atol=1e-3)
    assert float(found.information.scores) > 0


def test_a_member_of_the_text_encoder_asks_for_the_prompt(tmp_path):
    pipe = tiny_text.make("sd", tmp_path)
    noise, model = tiny_pipelines.embeddings(1, 4, 8, 8), with_prompt(pipe, "a cat")
    ensemble = EnsembleParameters(EnsembleKind.LORA, (MemberParameters("m", text_lora(pipe)[0]),))
    with pytest.raises(ValueError, match="This LoRA acts on the text encoder: pass the prompt"):
        decu(pipe.unet, pipe.scheduler, noise, LoraMembers(pipe, ensemble, *model.conditions(noise, [])), 3)


def refused(pipe) -> dict[str, tuple[dict[str, torch.Tensor], str]]:
    good, text = unet_lora(pipe), text_lora(pipe, names="peft")[0]
    a, b = good
    return {
        "nothing": ({key: value * (".lora_B." not in key) for key, value in good.items()}, "changes no weight"),
        "NaN": ({a: good[a], b: torch.full_like(good[b], float("nan"))}, "holds NaN or infinite values"),
        "infinite": ({a: good[a], b: torch.full_like(good[b], float("inf"))}, "holds NaN or infinite values"),
        "another width": ({a: torch.ones(2, 99), b: good[b]}, "does not fit"),
        "text of another width": (good | {key: torch.ones(99, 99) for key in text}, "does not fit"),
        "a text encoder that is not there": (
            good | {key.replace("text_encoder", "text_encoder_2"): value for key, value in text.items()},
            "Only 1 of the 2 layers",
        ),
        "a layer that is not there": (good | {key.replace("to_k", "to_nowhere"): value for key, value in good.items()}, "LoRA"),
        "LoHa": ({f"lora_unet_{IN_UNET.replace('.', '_')}.hada_w1_a": torch.ones(2, 2)}, "does not fit"),
        "LoKr": ({f"lora_unet_{IN_UNET.replace('.', '_')}.lokr_w1": torch.ones(2, 2)}, "does not fit"),
        "a difference": ({f"lora_unet_{IN_UNET.replace('.', '_')}.diff": torch.ones(2, 2)}, "does not fit"),
        "none": ({}, "LoRA"),
    }


REFUSED = ["nothing", "NaN", "infinite", "another width", "text of another width", "a text encoder that is not there"]
REFUSED += ["a layer that is not there", "LoHa", "LoKr", "a difference", "none"]


@pytest.mark.parametrize("name", REFUSED)
def test_what_diffusers_leaves_out_is_no_member(tmp_path, name):
    pipe = tiny_text.make("sd", tmp_path)
    tensors, said = refused(pipe)[name]
    before = state(pipe)
    with pytest.raises(ValueError, match=said), lora_applied(pipe, tensors):
        pass
    assert is_unchanged(pipe, before)
    with lora_applied(pipe, unet_lora(pipe)) as on_text:
        assert not on_text


def test_loras_that_are_there_already_are_not_lost(tmp_path):
    pipe = tiny_text.make("sd", tmp_path)
    pipe.load_lora_weights(text_lora(pipe)[0], adapter_name="mine")
    with pytest.raises(ValueError, match=r"CLIPTextModel has LoRAs already \(mine\)"), lora_applied(pipe, unet_lora(pipe)):
        pass
    assert "mine" in pipe.text_encoder.peft_config
