"""Single files, variants, LoRAs, embeddings, schedulers and offloading: each against the same pipeline made by hand."""

from __future__ import annotations

import pytest
import torch
from diffusers import DDIMScheduler, EulerAncestralDiscreteScheduler, StableDiffusionPipeline
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file

import single_files
import tiny_text
from uncertainty_nodes.core.options import SchedulerName
from uncertainty_nodes.hosts.diffusers.images import prepare
from uncertainty_nodes.hosts.diffusers.load import Setup, load_pipeline, pipeline_kind


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("models")
    pipe = tiny_text.make("sd", home / "words")
    pipe.save_pretrained(home / "sd")
    pipe.save_pretrained(home / "half", variant="fp16")
    single_files.write_single_file(pipe, home / "one.safetensors")
    return home


def draw(pipe, prompt="a b"):
    pipe.set_progress_bar_config(disable=True)
    inputs = {"num_inference_steps": 2, "height": 16, "width": 16, "output_type": "pt", "generator": torch.Generator().manual_seed(0)}
    return pipe(prompt, **inputs)[0]


def test_one_file_draws_what_the_folder_draws(home):
    setup = Setup(config=home / "sd")
    assert pipeline_kind(home / "one.safetensors", setup) == "StableDiffusionPipeline"
    assert torch.equal(draw(load_pipeline(home / "one.safetensors", setup=setup)), draw(load_pipeline(home / "sd")))


def test_a_folder_of_its_name_beside_it_tells_how_it_is_built(home, tmp_path):
    (tmp_path / "one.safetensors").symlink_to(home / "one.safetensors")
    (tmp_path / "one").symlink_to(home / "sd")
    assert pipeline_kind(tmp_path / "one.safetensors") == "StableDiffusionPipeline"


def test_without_a_config_nothing_is_downloaded(home, monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="looks like stable-diffusion-v1-5/.* Name the folder of a saved pipeline .* with --config"):
        load_pipeline(home / "one.safetensors")


def test_what_is_no_whole_model_is_one_sentence(home, tmp_path):
    save_file({"lora.down": torch.zeros(2)}, tmp_path / "lora.safetensors")
    with pytest.raises(ValueError, match="no checkpoint of a whole model: it holds 1 tensors such as 'lora.down'. A LoRA goes to --lora"):
        pipeline_kind(tmp_path / "lora.safetensors")
    with pytest.raises(OSError, match="can't be loaded as the StableDiffusionPipeline"):
        load_pipeline(tmp_path / "lora.safetensors", setup=Setup(config=home / "sd"))
    (tmp_path / "cut.safetensors").write_bytes((home / "one.safetensors").read_bytes()[:100])
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        pipeline_kind(tmp_path / "cut.safetensors")
    with pytest.raises(ValueError, match="pickled checkpoint"):
        pipeline_kind(tmp_path / "model.ckpt")
    with pytest.raises(FileNotFoundError, match="There is no file"):
        pipeline_kind(tmp_path / "gone.safetensors")


def test_a_variant_is_taken_or_refused_by_name(home):
    assert torch.equal(draw(load_pipeline(home / "half", setup=Setup(variant="fp16"))), draw(load_pipeline(home / "sd")))
    with pytest.raises(ValueError, match="no weights of the variant 'bf16'; it has fp16"):
        load_pipeline(home / "half", setup=Setup(variant="bf16"))
    with pytest.raises(ValueError, match="it has only plain ones"):
        load_pipeline(home / "sd", setup=Setup(variant="fp16"))


def test_a_precision_is_what_it_computes_in(home):
    assert load_pipeline(home / "sd", dtype=torch.bfloat16).unet.dtype is torch.bfloat16


@pytest.mark.parametrize("name", SchedulerName)
def test_every_scheduler_samples(home, name):
    pipe = load_pipeline(home / "sd", setup=Setup(scheduler=name))
    assert draw(pipe).isfinite().all()


def test_a_scheduler_is_made_of_the_models_own_settings(home):
    pipe = load_pipeline(home / "sd", setup=Setup(scheduler=SchedulerName.EULER_ANCESTRAL))
    assert isinstance(pipe.scheduler, EulerAncestralDiscreteScheduler) and pipe.scheduler.config.steps_offset == 1
    assert isinstance(load_pipeline(home / "sd").scheduler, DDIMScheduler)


def test_a_flow_model_keeps_its_scheduler(tmp_path):
    tiny_text.make("sd3", tmp_path / "words").save_pretrained(tmp_path / "sd3")
    with pytest.raises(ValueError, match="--scheduler ddim can't sample a StableDiffusion3Pipeline"):
        load_pipeline(tmp_path / "sd3", setup=Setup(scheduler=SchedulerName.DDIM))


def write_lora(home, path, seed):
    pipe = load_pipeline(home / "sd")
    pipe.unet.add_adapter(LoraConfig(r=2, lora_alpha=2, target_modules=["to_q", "to_v"], init_lora_weights=False))
    generator = torch.Generator().manual_seed(seed)
    state = {name: torch.randn(w.shape, generator=generator) * 0.3 for name, w in get_peft_model_state_dict(pipe.unet).items()}
    StableDiffusionPipeline.save_lora_weights(path.parent, unet_lora_layers=state, weight_name=path.name)
    return {
        name.removesuffix(".lora_A.weight"): state[name.replace("lora_A", "lora_B")] @ w for name, w in state.items() if "lora_A" in name
    }


def test_loras_add_up_by_their_strengths(home, tmp_path):
    files = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    changes = [write_lora(home, path, seed) for seed, path in enumerate(files)]
    pipe = load_pipeline(home / "sd", setup=Setup(loras=((files[0], 0.5), (files[1], -1.0))))
    before, after = load_pipeline(home / "sd").unet.state_dict(), pipe.unet.state_dict()
    assert before.keys() == after.keys() and changes[0]
    for name, weight in before.items():
        layer = name.removesuffix(".weight")
        change = 0.5 * changes[0][layer] - changes[1][layer] if layer in changes[0] else torch.zeros_like(weight)
        torch.testing.assert_close(after[name], weight + change)


def test_an_embedding_is_a_word_of_prompts(home, tmp_path):
    save_file({"emb_params": torch.ones(16)}, tmp_path / "style.safetensors")
    pipe = load_pipeline(home / "sd", setup=Setup(embeddings=(("mystyle", tmp_path / "style.safetensors"),)))
    token = pipe.tokenizer.convert_tokens_to_ids("mystyle")
    assert torch.equal(pipe.text_encoder.get_input_embeddings().weight[token], torch.ones(16))
    assert not torch.equal(draw(pipe, "a mystyle"), draw(load_pipeline(home / "sd"), "a mystyle"))


def test_what_does_not_fit_is_one_sentence(home, tmp_path):
    save_file({"emb_params": torch.ones(3)}, tmp_path / "wide.safetensors")
    with pytest.raises(ValueError, match="embedding .*wide.safetensors.* doesn't fit this model"):
        load_pipeline(home / "sd", setup=Setup(embeddings=(("x", tmp_path / "wide.safetensors"),)))
    with pytest.raises(ValueError, match="LoRA .*wide.safetensors.* doesn't fit this model"):
        load_pipeline(home / "sd", setup=Setup(loras=((tmp_path / "wide.safetensors", 1.0),)))
    with pytest.raises(FileNotFoundError, match="--lora needs the path of one"):
        pipeline_kind(home / "sd", Setup(loras=((tmp_path / "gone.safetensors", 1.0),)))


def test_offloading_needs_a_gpu_and_changes_nothing(home):
    with pytest.raises(ValueError, match="name the GPU with --device"):
        load_pipeline(home / "sd", setup=Setup(cpu_offload=True))
    pipe = load_pipeline(home / "sd")
    pipe.enable_model_cpu_offload(device="cpu")  # the hooks alone: what they move stays where it is
    assert torch.equal(draw(pipe), draw(load_pipeline(home / "sd")))
    model = prepare(pipe, "a b")
    assert model.device.type == "cpu" and model.cond["encoder_hidden_states"].shape[0] == 1
