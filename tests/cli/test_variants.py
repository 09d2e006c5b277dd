"""Every command reads a pipeline whose files carry a variant's name, as half precision is often handed out."""

from __future__ import annotations

import json

import pytest

import tiny_text
from tiny_images import write_pictures
from uncertainty_nodes.cli import main

pytestmark = pytest.mark.filterwarnings("ignore")  # diffusers' use of numpy


@pytest.fixture(scope="module")
def pipelines(tmp_path_factory):
    """The same weights twice, once under the names of the variant."""
    root = tmp_path_factory.mktemp("pipelines")
    pipe = tiny_text.make("sdxl", root / "words")
    pipe.save_pretrained(root / "plain")
    pipe.save_pretrained(root / "fp16", variant="fp16")
    assert list((root / "fp16" / "unet").glob("*.fp16.safetensors"))
    return root


def results_of(command, model, folder):
    """What a command makes, without its times."""
    out = folder / {"score": "a.json", "generate": "drawn"}.get(command, "a.safetensors")
    arguments = {
        "score": [write_pictures(folder / "p", 2, 16), "--levels", 1],
        "generate": ["-n", 2, "--steps", 2, "--method", "information"],
        "fit-laplace": [write_pictures(folder / "p", 2, 16), "--draws", 1],
        "train-ensemble": [write_pictures(folder / "p", 2, 16), "--members", 1, "--steps", 1, "--kind", "embedding", "--size", 16],
    }[command]
    assert main([command, *map(str, arguments), "--model", str(model), "--prompt", "a *", "--out", str(out)]) == 0
    if out.suffix == ".safetensors":
        return out.stat().st_size
    content = json.loads((out if out.suffix else out / "results.json").read_text())
    return [row["score"] for row in content.get("rows") or content["images"]]


@pytest.mark.parametrize("command", ["score", "generate", "fit-laplace", "train-ensemble"])
def test_a_variant_does_as_well(pipelines, tmp_path, command):
    plain, variant = (results_of(command, pipelines / name, tmp_path / name) for name in ("plain", "fp16"))
    assert variant == plain
