"""The train-ensemble command: folders become an ensemble's file, a stopped run goes on, and what it says when it can't."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import tiny_text
from uncertainty_nodes.cli import main
from uncertainty_nodes.core.demo.extractor import load_reference
from uncertainty_nodes.core.ensemble.file import EnsembleParameters
from uncertainty_nodes.core.options import EnsembleKind

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # diffusers' use of numpy
SHORT = ["--members", "2", "--steps", "2", "--batch", "2"]


def run(*arguments):
    return main(["train-ensemble", *map(str, arguments)])


@pytest.fixture
def digits(tmp_path):
    reference = load_reference()
    for i in range(6):
        place = tmp_path / "digits" / str(int(reference.labels[i]))
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(((reference.images[i, 0] + 1) * 127.5).round().byte().numpy()).save(place / f"{i}.png")
    return tmp_path / "digits"


@pytest.fixture
def pictures(tmp_path):
    rng = np.random.default_rng(0)
    for i, place in enumerate(["cat", "cat", "dog"]):
        (tmp_path / "pictures" / place).mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (20, 30, 3), dtype=np.uint8)).save(tmp_path / "pictures" / place / f"{i}.png")
    (tmp_path / "pictures" / "cat" / "0.txt").write_text("a * b\n")
    return tmp_path / "pictures"


@pytest.fixture
def pipeline(tmp_path):
    tiny_text.make("sd", tmp_path / "words").save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_digits_become_tables_that_belong_to_the_demo(tmp_path, digits, demo):
    out = tmp_path / "e.safetensors"
    assert run(digits, "--out", out, *SHORT) == 0
    made = EnsembleParameters.load(out)
    made.check(demo[0])
    assert made.kind is EnsembleKind.CLASS_EMBEDDING and len(made) == 2
    assert all(len(member.losses) == 2 for member in made.members)
    assert made.provenance["samples"] == "6"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["digits", "e.safetensors"]  # the checkpoint is gone


def test_a_stopped_run_goes_on_to_the_same_file(tmp_path, digits, monkeypatch):
    from uncertainty_nodes.cli.train_ensemble import run as command

    whole, stopped = tmp_path / "whole.safetensors", tmp_path / "stopped.safetensors"
    assert run(digits, "--out", whole, *SHORT) == 0
    save = EnsembleParameters.save
    monkeypatch.setattr(command.EnsembleParameters, "save", lambda *given: (_ for _ in ()).throw(KeyboardInterrupt))
    assert run(digits, "--out", stopped, *SHORT) == 130
    assert len(list(tmp_path.glob("stopped.member-*.checkpoint.safetensors"))) == 2 and not stopped.exists()
    monkeypatch.setattr(command.EnsembleParameters, "save", save)
    assert run(digits, "--out", stopped, *SHORT) == 0
    for a, b in zip(EnsembleParameters.load(whole).members, EnsembleParameters.load(stopped).members, strict=True):
        assert a.equals(b) and a.losses == b.losses


@pytest.mark.parametrize("kind", ["lora", "embedding"])
def test_pictures_become_members_and_ordinary_files(tmp_path, pictures, pipeline, kind):
    out, folder = tmp_path / "e.safetensors", tmp_path / "exported"
    given = ["--model", pipeline, "--kind", kind, "--prompt", "a {folder}", "--rank", 2, "--vectors", 3, "--export", folder]
    assert run(pictures, "--out", out, *SHORT, *given) == 0
    made = EnsembleParameters.load(out)
    assert made.kind.value == kind
    for path, member in zip(sorted(folder.iterdir()), made.members, strict=True):
        found = load_file(path)
        assert all(torch.equal(found[name], tensor) for name, tensor in member.tensors.items())
    sizes = {tensor.shape[0] for name, tensor in made.members[0].tensors.items() if name.endswith(("lora_down.weight", "clip_l"))}
    assert sizes == {2 if kind == "lora" else 3}


def test_captions_come_from_beside_the_picture_or_from_the_prompt(pictures, tmp_path, pipeline):
    from uncertainty_nodes.cli.shared.pictures import find_images_below
    from uncertainty_nodes.cli.train_ensemble.images import read_captions
    from uncertainty_nodes.cli.train_ensemble.options import TrainOptions

    for kind, expected in (("lora", ["a * b", "a cat", "a dog"]), ("embedding", ["a * b", "a cat *", "a dog *"])):
        options = TrainOptions(pictures, tmp_path / "e.safetensors", str(pipeline), EnsembleKind(kind), prompt="a {folder}")
        assert list(read_captions(find_images_below(pictures), options).values()) == expected


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--kind", "lora"], "kind lora can't be trained on 'demo', which takes class_embedding."),
        (["--export", "x"], "Class-embedding tables have no file format of their own: leave export out."),
        (["--out", "x.bin"], "out must name a .safetensors file, got 'x.bin'."),
        (["--bootstrap-size", "7"], "A bootstrap of 7 samples can't come of the 6 that there are: use fewer members"),
        (["--learning-rate", "-1"], "learning_rate must be between 0 and 10, got -1.0."),
        (["--model", "nowhere"], "There is no diffusers pipeline in 'nowhere'"),
        (["--device", "nowhere"], "device 'nowhere' is not available here; use cpu."),
    ],
)  # fmt: skip
def test_what_is_refused(digits, tmp_path, monkeypatch, caplog, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    more = ["--prompt", "a"] if "--model" in arguments else []
    assert run(digits, *SHORT, *arguments, *more) == 1
    assert sentence in caplog.text
    assert not list(tmp_path.glob("*.safetensors"))


def test_what_is_there_is_kept(digits, tmp_path, caplog):
    out = tmp_path / "e.safetensors"
    out.write_bytes(b"mine")
    assert run(digits, "--out", out, *SHORT) == 1
    assert "is already there: choose another name for out, or delete it." in caplog.text
    assert out.read_bytes() == b"mine"


def test_a_missing_caption_is_named(tmp_path, pictures, pipeline, caplog):
    assert run(pictures, "--out", tmp_path / "e.safetensors", "--model", pipeline, *SHORT) == 1
    assert "cat/1.png has no caption: write 1.txt beside it, or give one prompt for all." in caplog.text
