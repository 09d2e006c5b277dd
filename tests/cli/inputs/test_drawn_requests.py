"""generate with all that a line of a list may ask for: each image is the one that the pipeline draws when that line is asked for alone."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from diffusers import EulerAncestralDiscreteScheduler, StableDiffusionPipeline
from PIL import Image

import tiny_text
from bad_items import run

pytestmark = pytest.mark.filterwarnings("ignore")  # diffusers' use of numpy
PROMPTS = 'prompt,negative,seed,size\n"a cat, big",blur,7,24x16\na dog,,11,\nsea,dull,,16x24\na cat,,7,24x16\n'
# of image k: what its line says, and for what it leaves open what the command says; a line's turn comes again with the next seed
ASKED = [
    {"prompt": "a cat, big", "negative_prompt": "blur", "seed": 7, "width": 24, "height": 16},
    {"prompt": "a dog", "negative_prompt": "bad", "seed": 11, "width": 16, "height": 16},
    {"prompt": "sea", "negative_prompt": "dull", "seed": None, "width": 16, "height": 24},
    {"prompt": "a cat", "negative_prompt": "bad", "seed": 7, "width": 24, "height": 16},
    {"prompt": "a cat, big", "negative_prompt": "blur", "seed": 8, "width": 24, "height": 16},
    {"prompt": "a dog", "negative_prompt": "bad", "seed": 12, "width": 16, "height": 16},
]
STEPS, SCALE = 3, 4.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("pipeline")
    tiny_text.make("sd", root / "words").save_pretrained(root / "sd")
    (root / "prompts.csv").write_text(PROMPTS)
    return root


def draw_alone(pipe, asked):
    """By diffusers' own call."""
    asked = {**asked, "generator": torch.Generator().manual_seed(asked["seed"])}
    del asked["seed"]
    image = pipe(**asked, num_inference_steps=STEPS, guidance_scale=SCALE, output_type="pt").images[0]
    return (image.float().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()


@pytest.mark.parametrize("batch", [1, 6])
def test_image_k_is_the_one_drawn_alone(folder, tmp_path, batch):
    asked = ["--model", folder / "sd", "--prompts", folder / "prompts.csv", "--size", "16x16", "--negative", "bad", "-n", len(ASKED)]
    asked += ["--scheduler", "euler_a", "--guidance-scale", SCALE, "--steps", STEPS, "--samples", 2, "--batch", batch]
    assert run("generate", "--out", tmp_path, *asked) == 0
    pipe = StableDiffusionPipeline.from_pretrained(folder / "sd")
    pipe.scheduler = EulerAncestralDiscreteScheduler.from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)
    rows = {row["image"]: row for row in json.loads((tmp_path / "results.json").read_text())["images"]}
    assert sorted(rows) == list(range(len(ASKED)))
    drawn = {number: np.asarray(Image.open(tmp_path / row["file"])) for number, row in rows.items()}
    for number, alone in enumerate(ASKED):
        seed = rows[number]["seed"]
        assert alone["seed"] in (None, seed) and rows[number]["shown"] == alone["prompt"]
        expected = draw_alone(pipe, {**alone, "seed": seed}).astype(int)
        assert np.abs(drawn[number].astype(int) - expected).max() <= 1  # a batch of another size may round otherwise
    assert not np.array_equal(drawn[0], drawn[3]) and not np.array_equal(drawn[0], drawn[4])  # the prompt and the seed count
