"""Every form of a model for the commands that fit and train: a folder, one file, LoRAs, embeddings, a number format; and bad ones."""

from __future__ import annotations

import shutil

import pytest
import torch
from diffusers import StableDiffusionPipeline
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save_file

import single_files
import tiny_text
from bad_items import run
from tiny_images import write_pictures
from uncertainty_nodes.hosts.diffusers.load import load_pipeline

pytestmark = pytest.mark.filterwarnings("ignore")  # diffusers' use of numpy
COMMANDS = {
    "fit-laplace": ["--draws", 1, "--batch", 2],
    "train-ensemble": ["--members", 1, "--steps", 2, "--batch", 2, "--kind", "lora", "--size", 16],
}
commands = pytest.mark.parametrize("command", COMMANDS)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A tiny Stable Diffusion as a folder and as a file, a LoRA and an embedding for it, and pictures."""
    home = tmp_path_factory.mktemp("home")
    pipe = tiny_text.make("sd", home / "words")
    pipe.save_pretrained(home / "sd")
    single_files.write_single_file(pipe, home / "one.safetensors")
    write_pictures(home / "pictures", 2, 16)
    write_lora(home / "sd", home / "style.safetensors")
    save_file({"emb_params": torch.ones(16)}, home / "word.safetensors")
    save_file({"weight": torch.ones(3)}, home / "stranger.safetensors")
    (home / "half.safetensors").write_bytes((home / "one.safetensors").read_bytes()[:1000])
    (home / "old.ckpt").write_bytes(b"pickle")
    return home


def write_lora(folder, path):
    pipe = load_pipeline(folder)
    pipe.unet.add_adapter(LoraConfig(r=2, lora_alpha=2, target_modules=["to_q", "to_v"], init_lora_weights=False))
    state = {name: torch.ones_like(weight) for name, weight in get_peft_model_state_dict(pipe.unet).items()}
    StableDiffusionPipeline.save_lora_weights(path.parent, unet_lora_layers=state, weight_name=path.name)


def make(command, home, tmp_path, model, *more, prompt="a b"):
    """What a command writes, by name; None where it ends with an error."""
    out = tmp_path / "made.safetensors"
    out.unlink(missing_ok=True)
    asked = [home / "pictures", "--out", out, "--model", home / model, "--prompt", prompt, *COMMANDS[command], *more]
    return load_file(out) if run(command, *asked) == 0 else None


def same(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


@commands
def test_one_file_does_as_its_folder(home, tmp_path, command):
    folder = make(command, home, tmp_path, "sd")
    assert folder and same(folder, make(command, home, tmp_path, "one.safetensors", "--config", home / "sd"))
    shutil.copytree(home / "sd", tmp_path / "one")  # of the file's name beside it: found without being named
    shutil.copy(home / "one.safetensors", tmp_path)
    assert same(folder, make(command, home, tmp_path, tmp_path / "one.safetensors"))


@commands
def test_what_is_added_to_the_model_counts(home, tmp_path, command):
    words = {"prompt": "a mystyle"}
    plain = make(command, home, tmp_path, "sd", **words)
    with_lora = make(command, home, tmp_path, "sd", "--lora", home / "style.safetensors", **words)
    with_word = make(command, home, tmp_path, "sd", "--textual-inversion", f"mystyle={home / 'word.safetensors'}", **words)
    coarse = make(command, home, tmp_path, "sd", "--dtype", "bfloat16", **words)
    for other in (with_lora, with_word, coarse):
        assert other and other.keys() == plain.keys() and not same(plain, other)
        assert all(value.isfinite().all() for value in other.values())
    assert same(plain, make(command, home, tmp_path, "sd", "--lora", f"{home / 'style.safetensors'}:0", **words))
    assert [path.name for path in tmp_path.iterdir()] == ["made.safetensors"]  # no checkpoint of another model is left or gone on with


@commands
def test_bad_forms_are_refused_in_a_sentence(home, tmp_path, caplog, command):
    for model, more, sentence in (
        ("gone", [], "There is no diffusers pipeline in"),
        ("gone.safetensors", [], "There is no file"),
        ("old.ckpt", [], "is a pickled checkpoint, which can run code when it is read"),
        ("one.safetensors", [], "how they are laid out can't be found on this machine"),
        ("one.safetensors", ["--config", home / "pictures"], "There is no diffusers pipeline in"),
        ("half.safetensors", [], "is not a whole safetensors file"),
        ("stranger.safetensors", [], "is no checkpoint of a whole model"),
        ("sd", ["--variant", "fp16"], "has no weights of the variant 'fp16'"),
        ("sd", ["--lora", home / "gone.safetensors"], "--lora needs the path of one"),
        ("sd", ["--lora", home / "stranger.safetensors"], "doesn't fit this model"),
        ("sd", ["--textual-inversion", home / "stranger.safetensors"], "doesn't fit this model"),
    ):
        caplog.clear()
        assert make(command, home, tmp_path, model, *more) is None
        assert sentence in caplog.text, caplog.text
    caplog.clear()
    assert run(command, home / "pictures", "--out", tmp_path / "a.safetensors", "--dtype", "float16") == 1
    assert "--dtype is for other models than demo" in caplog.text
    for absent in (["--scheduler", "ddim"], *([["--cpu-offload"]] if command == "train-ensemble" else [])):
        with pytest.raises(SystemExit):
            make(command, home, tmp_path, "sd", *absent)
    assert not list(tmp_path.iterdir())
