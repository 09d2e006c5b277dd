"""Training on diffusers: only the members' parameters move, the loss is the network's own, and files load where stock ones do."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig
from safetensors.torch import load_file

import tiny_pipelines
import tiny_text
from uncertainty_nodes.core.demo.extractor import load_reference
from uncertainty_nodes.core.draws import step_generator
from uncertainty_nodes.core.ensemble.training import member_start_generator
from uncertainty_nodes.core.options import BootstrapOptions, EnsembleOptions, EnsembleTrainingOptions
from uncertainty_nodes.hosts.diffusers.ensemble.decu import decu
from uncertainty_nodes.hosts.diffusers.ensemble.lora import lora_applied
from uncertainty_nodes.hosts.diffusers.ensemble.members import LoraMembers, word_members
from uncertainty_nodes.hosts.diffusers.ensemble.train import TrainingPlan, train_loras, train_tables, train_words
from uncertainty_nodes.hosts.diffusers.ensemble.words import Word
from uncertainty_nodes.hosts.diffusers.images import encode_prompts, prepare

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # diffusers' use of numpy
PLAN = TrainingPlan(2, EnsembleTrainingOptions(3, 2, 0.05))
CLEAN, PROMPTS = tiny_pipelines.embeddings(4, 4, 8, 8, seed=7), ["a * b", "*", "* c", "c *"]


def everything(pipe):
    parts = {name: part for name, part in pipe.components.items() if isinstance(part, torch.nn.Module)}
    tensors = {f"{n}.{key}": t.clone() for n, part in parts.items() for key, t in part.state_dict().items()}
    return tensors, [(id(p), p.requires_grad, p.grad) for part in parts.values() for p in part.parameters()]


def same(before, after):
    return before[1] == after[1] and before[0].keys() == after[0].keys() and all(torch.equal(t, after[0][n]) for n, t in before[0].items())


def digits(count=12):
    reference = load_reference()
    return reference.images[:count], reference.labels[:count]


def test_tables_are_trained_and_nothing_else(demo):
    network, scheduler = demo
    images, labels = digits()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    made = train_tables(network, scheduler, images, labels, PLAN)
    assert all(torch.equal(tensor, network.state_dict()[name]) for name, tensor in before.items())
    assert not any(p.requires_grad or p.grad is not None for p in network.parameters())
    absent = [c for c in range(11) if c not in labels.tolist()]
    (name,) = made.members[0].tensors
    first, second = (member.tensors[name] for member in made.members)
    assert absent and torch.equal(first[absent], before[name][absent])  # no class, and classes without images, stay as trained
    assert not torch.equal(first[labels.unique()], second[labels.unique()])
    made.check(network)


def test_the_loss_of_tables_is_the_networks_own(demo):
    """The first step, by hand: images, levels and noise from the step's own draws, the table from the member's."""
    network, scheduler = demo
    images, labels = digits()
    made = train_tables(network, scheduler, images, labels, TrainingPlan(1, EnsembleTrainingOptions(1, 3, 0.05), BootstrapOptions(seed=4)))
    table = network.class_embedding.weight.detach().clone()
    rows = labels.unique()
    table[rows] = torch.randn(len(rows), table.shape[1], generator=member_start_generator(0, 0)) * table.std()
    kept = []
    for c in rows.tolist():
        places = (labels == c).nonzero()[:, 0]
        kept.append(places[torch.randint(len(places), (len(places),), generator=step_generator(4, c + 1))])
    bootstrap = torch.cat(kept).sort().values
    g = step_generator(0, 1 << 48)
    pick = bootstrap[torch.randint(len(bootstrap), (3,), generator=g)]
    t = ((torch.arange(3) + torch.rand(3, generator=g)) / 3 * 1000).long()
    noise = torch.randn(images[pick].shape, generator=g)
    with torch.no_grad():
        embedding = network.time_embedding(network.time_proj(t)) + table[labels[pick]]
        x = scheduler.add_noise(images[pick], noise, t)
        hook = network.time_embedding.register_forward_hook(lambda *_: embedding - network.class_embedding.weight[labels[pick]])
        try:
            eps = network(x, t, class_labels=labels[pick]).sample
        finally:
            hook.remove()
    assert made.members[0].losses[0] == pytest.approx(float((eps - noise).square().mean()), rel=1e-3)


@pytest.mark.parametrize("kind", ["sd", "sdxl", "sd3"])
def test_words_and_loras_are_trained_and_nothing_else(tmp_path, kind):
    pipe = tiny_text.make(kind, tmp_path)
    before, noise = everything(pipe), tiny_pipelines.embeddings(2, 4, 8, 8, seed=9)
    words, loras = train_words(pipe, CLEAN, PROMPTS, PLAN, vectors=2), train_loras(pipe, CLEAN, PROMPTS, PLAN, rank=2)
    model = prepare(pipe, "a")
    sampled = [
        decu(model.network, pipe.scheduler, noise, members, 3, EnsembleOptions(0.0), 2.0)
        for members in (word_members(model, pipe, words, "a *", noise), LoraMembers(pipe, loras, *model.conditions(noise, [None, None])))
    ]
    assert all(bool((found.information.scores > 0).all()) for found in sampled)
    assert same(before, everything(pipe))
    again = train_words(pipe, CLEAN, PROMPTS, PLAN, vectors=2), train_loras(pipe, CLEAN, PROMPTS, PLAN, rank=2)
    for first, second in zip((words, loras), again, strict=True):
        assert all(a.equals(b) for a, b in zip(first.members, second.members, strict=True))


def test_an_interrupted_training_leaves_nothing_behind(tmp_path):
    pipe = tiny_text.make("sd", tmp_path)
    before = everything(pipe)

    def stop(*now):
        raise KeyboardInterrupt

    plan = TrainingPlan(2, PLAN.options, progress=stop)
    for train in (train_words, train_loras):
        with pytest.raises(KeyboardInterrupt):
            train(pipe, CLEAN, PROMPTS, plan)
        assert same(before, everything(pipe))


def test_a_trained_lora_loads_as_it_was_trained(tmp_path):
    """The first loss of a run that goes on from nothing is the plain network's; the file's change of a weight is B A."""
    pipe = tiny_text.make("sd3", tmp_path / "words")
    made = train_loras(pipe, CLEAN, PROMPTS, PLAN, rank=2)
    path, _ = made.export(tmp_path, "style")
    tensors, place = load_file(path), "transformer_blocks.0.attn.to_q"
    with lora_applied(pipe, tensors):
        layer = pipe.transformer.get_submodule(place)
        x = torch.ones(1, layer.in_features)
        with torch.no_grad():
            moved = layer(x) - layer.base_layer(x)
    change = tensors[f"transformer.{place}.lora_B.weight"] @ tensors[f"transformer.{place}.lora_A.weight"]
    torch.testing.assert_close(moved, x @ change.T, rtol=1e-4, atol=1e-6)
    assert float(change.abs().max()) > 0


def test_a_word_is_what_the_library_makes_of_its_file(tmp_path):
    """The exported file as diffusers loads it, in the place of the star."""
    pipe = tiny_text.make("sd", tmp_path / "words")
    made = train_words(pipe, CLEAN, PROMPTS, PLAN, vectors=1)
    path, _ = made.export(tmp_path, "word")
    with torch.no_grad(), Word.of(pipe, ["a * b"]).vectors_inserted(made.members[0].tensors):
        ours = Word.of(pipe, ["a * b"]).encode(["a * b"])[0]["encoder_hidden_states"]
    pipe.load_textual_inversion(path, token="<new>")
    with torch.no_grad():
        theirs = encode_prompts(pipe, "a <new> b", "")[0]["encoder_hidden_states"]
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_bad_input_is_a_sentence(tmp_path, demo):
    images, labels = digits()
    with pytest.raises(ValueError, match="^labels must be below 11, the rows of class_embedding.weight, got 12.$"):
        train_tables(*demo, images, labels - labels.max() + 12, PLAN)
    with pytest.raises(ValueError, match="^A bootstrap of 13 samples can't come of the 12 that there are"):
        train_tables(*demo, images, labels, TrainingPlan(bootstrap=BootstrapOptions(size=13)))
    pipe = tiny_text.make("sd", tmp_path)
    with pytest.raises(ValueError, match="^prompts must hold one for each of 4 samples, got 1.$"):
        train_loras(pipe, CLEAN, ["a"], PLAN)
    with pytest.raises(ValueError, match="^Each prompt must say \\* where the new word belongs, got 'a'.$"):
        train_words(pipe, CLEAN, ["a"] * 4, PLAN)
    pipe.unet.add_adapter(LoraConfig(target_modules=["to_q"]), "mine")
    with pytest.raises(ValueError, match="^UNet2DConditionModel has LoRAs already \\(mine\\): fuse or unload them first.$"):
        train_loras(pipe, CLEAN, PROMPTS, PLAN)
    bare = tiny_pipelines.sd().pipe
    with pytest.raises(ValueError, match="^StableDiffusionPipeline has no text encoder"):
        Word.of(bare, ["*"])
