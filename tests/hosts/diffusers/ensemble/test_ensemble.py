"""Ensembles on diffusers: equal members are the single model, each member draws what it draws alone, and nothing sticks."""

from __future__ import annotations

import copy

import pytest
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, EulerAncestralDiscreteScheduler, FlowMatchEulerDiscreteScheduler

import tiny_pipelines
import tiny_text
from uncertainty_nodes.core.ensemble.file import EnsembleParameters, MemberParameters
from uncertainty_nodes.core.last_layer.find import Identity
from uncertainty_nodes.core.options import EnsembleKind, EnsembleOptions
from uncertainty_nodes.hosts.diffusers.demo import NO_CLASS, sample, starting_noise
from uncertainty_nodes.hosts.diffusers.ensemble.decu import decu
from uncertainty_nodes.hosts.diffusers.ensemble.lora import lora_applied
from uncertainty_nodes.hosts.diffusers.ensemble.members import ConditionMembers, LoraMembers, TableMembers
from uncertainty_nodes.hosts.diffusers.ensemble.tables import parameters_replaced, tables

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # diffusers' use of numpy
LABELS = torch.tensor([3, 8])
STEPS = 4


def table_ensemble(network, changes):
    """Members whose tables are the trained ones, moved by so much noise."""
    members = []
    for k, change in enumerate(changes):
        moved = {
            n: t.detach() + change * torch.randn(t.shape, generator=torch.Generator().manual_seed(k)) for n, t in tables(network).items()
        }
        members.append(MemberParameters(f"member {k}", moved))
    return EnsembleParameters(EnsembleKind.CLASS_EMBEDDING, tuple(members))


def state(network):
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}, [id(p) for p in network.parameters()]


def same(before, after):
    return before[1] == after[1] and all(torch.equal(before[0][name], after[0][name]) for name in before[0])


@pytest.mark.parametrize("guidance", [1.0, 3.0])
@pytest.mark.parametrize("branch", [0.0, 0.5])
def test_equal_members_are_the_single_model_bit_for_bit(demo, guidance, branch):
    network, scheduler = demo
    noise, before = starting_noise(2, 0), state(network)
    members = TableMembers(network, table_ensemble(network, [0, 0, 0]), LABELS, NO_CLASS)
    found = decu(network, scheduler, noise, members, STEPS, EnsembleOptions(branch), guidance)
    alone = sample(network, scheduler, noise, LABELS, STEPS, guidance)
    assert torch.equal(found.samples, alone.expand(3, *alone.shape))
    assert found.information.scores.tolist() == [0, 0] and found.distance.scores.tolist() == [0, 0]
    assert found.information.nfe == STEPS * (2 if guidance > 1 else 1)
    assert same(before, state(network))


@pytest.mark.parametrize("micro_batch", [0, 1, 2])
def test_each_member_draws_what_it_draws_alone(demo, micro_batch):
    network, scheduler = demo
    ensemble, noise = table_ensemble(network, [0, 0.5, 1.0]), starting_noise(2, 0)
    found = decu(network, scheduler, noise, TableMembers(network, ensemble, LABELS), STEPS, EnsembleOptions(0.0, micro_batch=micro_batch))
    for k, member in enumerate(ensemble.members):
        with parameters_replaced(network, {name: torch.nn.Parameter(table) for name, table in member.tensors.items()}):
            torch.testing.assert_close(found.samples[k], sample(network, scheduler, noise, LABELS, STEPS), rtol=1e-3, atol=1e-4)
    finished = found.samples.flatten(2).double()
    pairs = torch.stack([(finished[i] - finished[j]).square().sum(dim=1) for i, j in [(0, 1), (0, 2), (1, 2)]]).mean(dim=0)
    torch.testing.assert_close(found.distance.scores.double(), pairs, rtol=1e-3, atol=0)


def test_the_shared_part_is_paid_once_and_is_the_base_members(demo):
    network, scheduler = demo
    ensemble, noise, rows = table_ensemble(network, [0, 0.5]), starting_noise(2, 0), []
    members = TableMembers(network, ensemble, LABELS)
    found = decu(network, scheduler, noise, members, 6, EnsembleOptions(0.5), progress=rows.append)
    shared = 6 - len(found.information.curve)
    assert 0 < shared < 6
    assert rows == [2] * shared + [4] * (6 - shared)
    assert found.information.nfe == shared + 2 * (6 - shared)
    base = ensemble.members[found.base].tensors
    with parameters_replaced(network, {name: torch.nn.Parameter(table) for name, table in base.items()}):
        torch.testing.assert_close(found.samples[found.base], sample(network, scheduler, noise, LABELS, 6), rtol=1e-3, atol=1e-4)


def test_one_member_is_0_with_a_note(demo):
    network, scheduler = demo
    found = decu(network, scheduler, starting_noise(2, 0), TableMembers(network, table_ensemble(network, [1.0]), LABELS), STEPS)
    assert found.information.scores.tolist() == [0, 0]
    assert found.information.provenance["note"].startswith("One member has none to disagree with")


def test_an_error_or_a_cancel_leaves_nothing_behind(demo):
    network, scheduler = demo
    before, members = state(network), TableMembers(network, table_ensemble(network, [0, 1.0]), LABELS)
    timesteps = scheduler.timesteps

    def cancel(rows):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        decu(network, scheduler, starting_noise(2, 0), members, STEPS, EnsembleOptions(0.0), progress=cancel)
    assert same(before, state(network)) and scheduler.timesteps is timesteps


@pytest.mark.parametrize("kind", ["sd", "sd_v", "sd3"])
def test_the_pipelines_own_loop_draws_the_same(kind):
    """Conditions of their own, under guidance, with DDIM, Euler by v-prediction, and flow."""
    tiny = getattr(tiny_pipelines, kind)()
    noise, inputs = tiny_pipelines.embeddings(2, 4, 8, 8, seed=9), tiny.inputs(2, 2.0)
    names = {"encoder_hidden_states": "prompt_embeds"} | ({"pooled_projections": "pooled_prompt_embeds"} if kind == "sd3" else {})
    cond, empty = ({ours: inputs[prefix + theirs] for ours, theirs in names.items()} for prefix in ("", "negative_"))
    members = ConditionMembers(["a", "a"], [cond, cond], empty)
    found = decu(tiny.network, tiny.pipe.scheduler, noise, members, tiny_pipelines.STEPS, EnsembleOptions(0.3), 2.0)
    torch.testing.assert_close(found.samples[1], tiny.draw(2, 2.0, latents=noise.clone()).float(), rtol=1e-4, atol=1e-4)


def test_a_dit_has_a_table_in_every_block():
    tiny = tiny_pipelines.dit()
    noise, labels = tiny_pipelines.embeddings(2, 4, 8, 8, seed=9), torch.tensor([0, 1])
    before, ensemble = state(tiny.network), table_ensemble(tiny.network, [0.5, 1.0])
    given = tiny.network, tiny.pipe.scheduler, noise
    found = decu(*given, TableMembers(tiny.network, ensemble, labels, 1000), STEPS, EnsembleOptions(0.0), 2.0)
    cond, empty = {"class_labels": labels}, {"class_labels": torch.full((2,), 1000)}
    for k, member in enumerate(ensemble.members):
        with parameters_replaced(tiny.network, {name: torch.nn.Parameter(table) for name, table in member.tensors.items()}):
            alone = decu(*given, ConditionMembers(["x"], [cond], empty), STEPS, EnsembleOptions(0.0), 2.0)
        torch.testing.assert_close(found.samples[k], alone.samples[0], rtol=1e-4, atol=1e-4)
    assert not torch.equal(found.samples[0], found.samples[1]) and same(before, state(tiny.network))


def test_conditions_are_members_of_one_batch():
    tiny = tiny_pipelines.sd()
    noise = tiny_pipelines.embeddings(2, 4, 8, 8, seed=9)
    conds = [{"encoder_hidden_states": tiny_pipelines.embeddings(1, 5, 16, seed=k)} for k in range(3)]
    network, scheduler = tiny.network, tiny.pipe.scheduler
    found = decu(network, scheduler, noise, ConditionMembers(list("abc"), conds), STEPS, EnsembleOptions(0.0))
    for k, cond in enumerate(conds):
        alone = decu(network, scheduler, noise, ConditionMembers(["x"], [cond]), STEPS, EnsembleOptions(0.0))
        torch.testing.assert_close(found.samples[k], alone.samples[0], rtol=1e-4, atol=1e-4)
    assert bool((found.information.scores > 0).all())


def lora(pipe, k, names):
    layer = pipe.unet.get_submodule("down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k")
    down, up = tiny_pipelines.embeddings(2, layer.in_features, seed=k), tiny_pipelines.embeddings(layer.out_features, 2, seed=k + 50)
    place = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k"
    kohya = {f"{place}.lora_down.weight": down, f"{place}.lora_up.weight": up, f"{place}.alpha": torch.tensor(2.0)}
    peft = {
        "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k." + n: t
        for n, t in [("lora_A.weight", down), ("lora_B.weight", up)]
    }
    return layer, up @ down, kohya if names == "kohya" else peft


@pytest.mark.parametrize("names", ["kohya", "peft"])
def test_a_lora_member_is_the_network_with_its_weights_moved(tmp_path, names):
    pipe = tiny_text.make("sd", tmp_path)
    noise, cond = tiny_pipelines.embeddings(1, 4, 8, 8, seed=9), {"encoder_hidden_states": tiny_pipelines.embeddings(1, 6, 16)}
    before, parts = state(pipe.unet), [lora(pipe, k, names) for k in range(2)]
    ensemble = EnsembleParameters(EnsembleKind.LORA, tuple(MemberParameters(f"m{k}", part[2]) for k, part in enumerate(parts)))
    found = decu(pipe.unet, pipe.scheduler, noise, LoraMembers(pipe, ensemble, cond), STEPS, EnsembleOptions(0.0))
    assert same(before, state(pipe.unet)) and not hasattr(pipe.unet, "peft_config")
    for k, (layer, change, _) in enumerate(parts):
        moved = copy.deepcopy(pipe.unet)
        place = next(name for name, module in pipe.unet.named_modules() if module is layer)
        moved.get_submodule(place).weight.data += change
        alone = decu(moved, pipe.scheduler, noise, ConditionMembers(["x"], [cond]), STEPS, EnsembleOptions(0.0))
        torch.testing.assert_close(found.samples[k], alone.samples[0], rtol=1e-3, atol=1e-4)
    assert float(found.information.scores) > 0


def test_a_lora_that_fits_nowhere_is_refused(tmp_path):
    pipe = tiny_text.make("sd", tmp_path)
    before = state(pipe.unet)
    for name in ("unet.nowhere.to_k.lora_A.weight", "lora_unet_nowhere.lora_down.weight"):
        with pytest.raises(ValueError, match="LoRA.* fit"), lora_applied(pipe, {name: torch.ones(1, 2)}):
            pass
        assert same(before, state(pipe.unet)) and not hasattr(pipe.unet, "peft_config")


@pytest.mark.parametrize(
    "scheduler",
    [DPMSolverMultistepScheduler(), EulerAncestralDiscreteScheduler(), FlowMatchEulerDiscreteScheduler(stochastic_sampling=True)],
)
def test_schedulers_that_cannot_branch_are_refused(demo, scheduler):
    members = TableMembers(demo[0], table_ensemble(demo[0], [0, 1]), LABELS)
    with pytest.raises(
        ValueError, match=f"^Members can't go on alone from a branch with {type(scheduler).__name__} as it is set; use DDIM"
    ):
        decu(demo[0], scheduler, starting_noise(2, 0), members, STEPS)


def test_bad_input_is_a_sentence(demo):
    network, scheduler = demo
    good = table_ensemble(network, [0, 1])
    with pytest.raises(ValueError, match="^labels must lie between 0 and 10, got \\[3, 11\\].$"):
        TableMembers(network, good, torch.tensor([3, 11]))
    with pytest.raises(ValueError, match="^Guidance needs no_class"):
        decu(network, scheduler, starting_noise(2, 0), TableMembers(network, good, LABELS), STEPS, guidance_scale=2.0)
    with pytest.raises(ValueError, match="^This ensemble is of the kind embedding, asked for is class_embedding.$"):
        TableMembers(network, EnsembleParameters(EnsembleKind.EMBEDDING, good.members), LABELS)
    foreign = Identity("conv_out", "Conv2d 1x24x3x3", "another", "another")
    with pytest.raises(ValueError, match="^This ensemble is for a model of another architecture"):
        TableMembers(network, EnsembleParameters(EnsembleKind.CLASS_EMBEDDING, good.members, foreign), LABELS)
    with pytest.raises(ValueError, match="^The members' tables are"):
        TableMembers(network, EnsembleParameters(EnsembleKind.CLASS_EMBEDDING, (MemberParameters("a", {"x": torch.ones(2, 2)}),)), LABELS)
    with pytest.raises(ValueError, match="has no table of class embeddings"):
        tables(tiny_pipelines.unet())
    conds = [{"encoder_hidden_states": torch.ones(1, n, 16)} for n in (5, 6)]
    with pytest.raises(ValueError, match="^All members must have conditions of one shape: 'a' has"):
        ConditionMembers(["a", "b"], conds)
    assert isinstance(scheduler, DDIMScheduler)
