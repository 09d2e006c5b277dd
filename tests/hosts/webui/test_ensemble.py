"""LoRAs of the web UI as an ensemble: what it costs, what it leaves alone, and which score that gives."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from forge_server import HIRES, Drawn, Forge

pytestmark = pytest.mark.usefixtures("patcher")
LAYERS = ("input_blocks_1_1_transformer_blocks_0_attn1_to_q", "input_blocks_1_1_transformer_blocks_0_attn2_to_v")
NO_GRID = {"override_settings": {"return_grid": False, "grid_save": False}}


@pytest.fixture(scope="module")
def loras(forge: Forge) -> list[str]:
    """Two that fit, each with other values, and one for another model."""
    folder = forge.models / "Lora"
    folder.mkdir(parents=True, exist_ok=True)
    widths = {LAYERS[0]: (320, 320), LAYERS[1]: (768, 320)}
    for seed, name in enumerate(("first", "second", "stranger")):
        draw, tensors = torch.Generator().manual_seed(seed), {}
        for layer, (wide, out) in widths.items():
            prefix = f"lora_unet_{layer}" if name != "stranger" else f"lora_unet_other_{layer}"
            tensors[f"{prefix}.lora_down.weight"] = torch.randn(4, wide, generator=draw) / wide**0.5
            tensors[f"{prefix}.lora_up.weight"] = torch.randn(out, 4, generator=draw)
            tensors[f"{prefix}.alpha"] = torch.tensor(4.0)
        save_file(tensors, folder / f"{name}.safetensors")
    return ["first", "second"]


def ensemble(forge: Forge, members: str, branch: float = 0.5, **parameters: Any) -> Drawn:
    return forge.draw({"score": "ensemble", "members": members, "branch": branch}, **{**NO_GRID, **parameters})


@pytest.mark.parametrize("sampler", ["Euler", "Euler a", "DPM++ 2M"])
def test_the_image_stays_and_loras_that_differ_part(forge: Forge, loras: list[str], sampler: str) -> None:
    plain = forge.draw(sampler_name=sampler, batch_size=2, **NO_GRID)
    drawn = ensemble(forge, ", ".join(loras), sampler_name=sampler, batch_size=2)
    assert drawn.pixels == plain.pixels
    assert all(0 < score <= math.log(2) for score in drawn.scores())
    assert len(set(drawn.scores())) == 2
    assert ensemble(forge, "first, first", sampler_name=sampler).scores() == [0.0]
    assert forge.draw(sampler_name=sampler, batch_size=2, **NO_GRID).pixels == plain.pixels  # the weights are as they were


def test_the_later_they_part_the_less_it_costs_and_the_less_they_differ(forge: Forge, loras: list[str]) -> None:
    forge.draw(steps=8, **NO_GRID)
    plain = forge.get("/probe")["rows"]
    costs, scores = [], []
    for branch in (0.0, 0.5, 1.0):
        drawn = ensemble(forge, ",".join(loras), branch, steps=8)
        costs.append(forge.get("/probe")["rows"] - plain)
        assert float(drawn.field("Uncertainty calls") or 0) == costs[-1]
        scores.append(drawn.scores()[0])
    assert costs[0] == 2 * plain
    assert costs[2] == 2 * plain / 8  # one step each
    assert costs[0] > costs[1] > costs[2]
    assert scores[0] > scores[1] > scores[2] > 0


def test_a_strength_of_zero_parts_from_nothing(forge: Forge, loras: list[str]) -> None:
    assert ensemble(forge, "first:0, second:0").scores() == [0.0]
    weak, strong = (ensemble(forge, f"first:0, second:{strength}").scores()[0] for strength in (0.2, 1.0))
    assert 0 < weak < strong


@pytest.mark.parametrize(
    ("settings", "parameters", "sentence"),
    [
        ({"members": "first, nobody"}, {}, "There is no LoRA 'nobody' here"),
        ({"members": "first, stranger"}, {}, "The LoRA 'stranger' has no weight that this model knows"),
        ({"members": "first"}, {}, "name two or more in members"),
        ({"members": "first:much, second"}, {}, "members must be names of LoRAs with or without a strength"),
        ({"members": "first, second", "strength": 0.2}, {}, "does not go with guidance"),
        ({"members": "first, second"}, HIRES, "LoRAs can't be compared with hires fix"),
    ],
)
def test_what_cannot_be_compared_is_drawn_with_a_sentence(
    forge: Forge, loras: list[str], settings: dict[str, Any], parameters: dict[str, Any], sentence: str
) -> None:
    drawn = forge.draw({"score": "ensemble", **settings}, **parameters, **NO_GRID)
    assert sentence in (drawn.field("Uncertainty note") or "")
    assert drawn.pixels == forge.draw(**parameters, **NO_GRID).pixels
    assert drawn.field("Uncertainty") is None
