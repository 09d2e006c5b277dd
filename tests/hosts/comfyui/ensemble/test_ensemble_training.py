"""Train Ensemble in a real ComfyUI: from latents to members that disagree, and nothing but them has changed."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from comfy_client import PromptFailed, PromptInterrupted, PromptRefused
from comfy_ensembles import ensemble as wired
from comfy_ensembles import found, load_latents, plain_state, sampled
from comfy_events import Events
from comfy_graph import Graph, Node
from comfy_scenes import Scene, ksampler, scene
from comfy_server import Server
from comfy_uncertainty import samples, save, save_uncertainty
from uncertainty_nodes.core.ensemble import file as trained_file
from uncertainty_nodes.core.last_layer.find import Identity
from uncertainty_nodes.core.options import EnsembleKind

TRAINING = {"members": 3, "kind": "embedding", "rank": 2, "steps": 4, "learning_rate": 0.0, "seed": 5}
TRAINING |= {"bootstrap": "with_replacement", "bootstrap_size": 0, "batch_size": 2}
CHANNELS = {"flow": 16, "eps": 4, "flux": 16, "video": 16}


def data(s: Scene, family: str = "flow", count: int = 4, seed: int = 3, **more: Any) -> Node:
    shape = {"channels": CHANNELS[family], "frames": 2 if family == "video" else 0, "height": 8, "width": 8, "salt": 0}
    return s.graph.node("UQTest_RandomLatent", seed=seed, scale=1.0, batch=count, **shape | more)


def trained(s: Scene, latents: Any, positive: Any = None, **options: Any) -> Node:
    wires = {"model": s.model, "latents": latents, "positive": positive or s.positive}
    return s.graph.node("UQ_TrainEnsemble", **wires, **TRAINING | options)


def demo(g: Graph, digit: int, count: int) -> Scene:
    node = g.node("UQ_LoadDemoModel", digit=digit, batch_size=count)
    return Scene(g, node, *(node[i] for i in (1, 2, 4)))


def test_train_ensemble_uncertainty_filter_on_the_demo_model(comfy: Server) -> None:
    g = Graph()
    s = demo(g, 3, 4)
    ensemble = trained(s, ksampler(s, cfg=1.0), steps=20, members=5, batch_size=4)
    node = sampled(s, ensemble, s.positive, cfg=1.0)
    information = save_uncertainty(s, node[1])
    chosen = g.node("UQ_SampleFilter", uncertainty=node[1], latents=node, rule="drop_worst_percent", value=50.0)
    accepted, losses = save(s, chosen[2]), g.node("UQTest_SaveLosses", losses=ensemble[1])
    history = comfy.run(g)
    u = found(comfy, history, information)
    assert len(set(u["scores"])) == 4 and min(u["scores"]) > 0
    assert u["provenance"]["members"] == "member 1, member 2, member 3, member 4, member 5"
    assert samples(comfy, history, accepted).shape == (2, 1, 32, 32)
    assert len(comfy.value(history, losses)) == 20


def test_the_bundled_ensemble_disagrees_more_about_digits_that_it_saw_few_images_of(comfy: Server) -> None:
    g, scores = Graph(), {}
    for digit in (8, 3):  # 1 % and all of the images
        s = demo(g, digit, 4)
        loaded = g.node("UQ_LoadEnsemble", model=s.model, name="demo (bundled)")
        scores[digit] = save_uncertainty(s, sampled(s, loaded, s.positive, cfg=1.0, steps=10, branch_percent=0.3)[1])
    history = comfy.run(g)
    few, all_of = (sum(found(comfy, history, node)["scores"]) for node in scores.values())
    assert few > 2 * all_of


@pytest.mark.parametrize("family", ["flow", "eps", "flux", "video"])
@pytest.mark.parametrize("kind", ["embedding", "lora"])
def test_both_kinds_train_on_every_family(comfy: Server, family: str, kind: str) -> None:
    s = scene(family)
    node = sampled(s, trained(s, data(s, family), kind=kind, learning_rate=0.01), s.positive)
    information = save_uncertainty(s, node[1])
    assert min(found(comfy, comfy.run(s.graph), information)["scores"]) > 0


@pytest.mark.parametrize("kind", ["embedding", "lora"])
def test_training_moves_nothing_of_the_model_and_is_the_same_each_time(comfy: Server, kind: str) -> None:
    untouched, drawn = plain_state(comfy, 3000), []
    for salt in (0, 1):
        s = scene("flow")
        node = sampled(s, trained(s, data(s, salt=salt), kind=kind), s.positive)
        kept = save(s, node)
        drawn.append(samples(comfy, comfy.run(s.graph), kept))
        assert plain_state(comfy, 3001 + salt) == untouched
    assert torch.equal(*drawn)


def test_without_learning_the_members_are_the_model_itself(comfy: Server) -> None:
    s = scene("flow")
    node = sampled(s, trained(s, data(s), steps=1, learning_rate=1e-30), s.positive)
    plain, kept, information = save(s, ksampler(s)), save(s, node), save_uncertainty(s, node[1])
    history = comfy.run(s.graph)
    assert torch.equal(samples(comfy, history, kept), samples(comfy, history, plain))
    assert found(comfy, history, information)["scores"] == [0.0]


def test_each_latent_of_a_list_may_have_a_prompt_of_its_own(comfy: Server) -> None:
    g = Graph()
    digits = [demo(g, digit, 2) for digit in (3, 5)]
    latents = g.node("UQTest_ListOf", **{name: ksampler(s, cfg=1.0) for name, s in zip("ab", digits, strict=True)})
    prompts = g.node("UQTest_ListOf", a=digits[0].positive, b=digits[1].positive)
    ensemble = trained(digits[0], latents, prompts)
    scores = [save_uncertainty(s, sampled(s, ensemble, s.positive, cfg=1.0)[1]) for s in digits]
    history = comfy.run(g)
    assert all(min(found(comfy, history, node)["scores"]) > 0 for node in scores)


def test_an_untrained_digit_is_the_same_for_all_members(comfy: Server) -> None:
    g = Graph()
    three, four = demo(g, 3, 2), demo(g, 4, 2)
    ensemble = trained(three, ksampler(three, cfg=1.0))
    information = save_uncertainty(four, sampled(four, ensemble, four.positive, cfg=1.0)[1])
    assert found(comfy, comfy.run(g), information)["scores"] == [0.0, 0.0]


@pytest.mark.parametrize("kind", ["embedding", "lora"])
def test_a_saved_ensemble_is_the_same_when_loaded(comfy: Server, kind: str) -> None:
    s, name = scene("flow"), f"kept {kind}"
    ensemble = trained(s, data(s), kind=kind, learning_rate=0.01)
    kept = s.graph.node("UQ_SaveEnsemble", ensemble=ensemble, name=name, export_loras=kind == "lora")
    before = save(s, sampled(s, kept, s.positive))
    first = samples(comfy, comfy.run(s.graph), before)
    s = scene("flow", salt=1)
    after = save(s, sampled(s, s.graph.node("UQ_LoadEnsemble", model=s.model, name=name), s.positive))
    if kind == "lora":
        loras = [
            s.graph.node("LoraLoaderModelOnly", model=s.model, lora_name=f"{name}_{k}.safetensors", strength_model=1.0) for k in (1, 2, 3)
        ]
        alone = [save(s, ksampler(s.having(model=model))) for model in loras]
    history = comfy.run(s.graph)
    assert torch.equal(samples(comfy, history, after), first)
    if kind == "lora":
        assert any(torch.equal(samples(comfy, history, each), first) for each in alone), "stock Load LoRA reads what was exported"


def test_an_ensemble_of_another_model_is_refused(comfy: Server) -> None:
    s = scene("flow")
    s.graph.node("UQ_SaveEnsemble", ensemble=trained(s, data(s)), name="of flow", export_loras=False)
    comfy.run(s.graph)
    s = scene("eps")
    save(s, sampled(s, s.graph.node("UQ_LoadEnsemble", model=s.model, name="of flow"), s.positive))
    with pytest.raises(PromptFailed, match="This ensemble is for layer 'final_layer.linear', which UNetModel does not have"):
        comfy.run(s.graph)


def test_an_ensemble_of_words_says_how_to_use_it(comfy: Server) -> None:
    words = trained_file.EnsembleParameters(EnsembleKind.EMBEDDING, (trained_file.MemberParameters("one", {"clip_l": torch.ones(1, 768)}),))
    words.save(comfy.base / "output" / "uncertainty" / "ensemble" / "words.safetensors")
    s = scene("flow")
    save(s, sampled(s, s.graph.node("UQ_LoadEnsemble", model=s.model, name="words"), s.positive))
    with pytest.raises(PromptFailed, match="holds embeddings of a word, which only a text encoder can read: export its members"):
        comfy.run(s.graph)


def test_loras_that_were_trained_on_diffusers_load_by_their_keys(comfy: Server) -> None:
    name = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
    generator = torch.Generator().manual_seed(0)
    members = []
    for k in range(2):
        up, down = torch.randn(320, 2, generator=generator), torch.randn(2, 320, generator=generator)
        tensors = {f"{name}.lora_up.weight": up, f"{name}.lora_down.weight": down, f"{name}.alpha": torch.tensor(2.0)}
        members.append(trained_file.MemberParameters(f"member {k + 1}", tensors))
    elsewhere = Identity("conv_out", "Conv2d 4x320x3x3", "a", "b")
    loras = trained_file.EnsembleParameters(EnsembleKind.LORA, tuple(members), elsewhere, {"host": "diffusers"})
    loras.save(comfy.base / "output" / "uncertainty" / "ensemble" / "elsewhere.safetensors")
    s = scene("eps")
    loaded = s.graph.node("UQ_LoadEnsemble", model=s.model, name="elsewhere")
    information = save_uncertainty(s, sampled(s, loaded, s.positive)[1])
    assert min(found(comfy, comfy.run(s.graph), information)["scores"]) > 0
    s = scene("flow")
    save(s, sampled(s, s.graph.node("UQ_LoadEnsemble", model=s.model, name="elsewhere"), s.positive))
    with pytest.raises(PromptFailed, match="The LoRA of 'member 1' has no weight that this model knows"):
        comfy.run(s.graph)


def test_a_missing_ensemble_is_refused_before_anything_runs(comfy: Server) -> None:
    s = scene("flow")
    save(s, sampled(s, s.graph.node("UQ_LoadEnsemble", model=s.model, name="nobody"), s.positive))
    with pytest.raises(PromptRefused, match="There is no ensemble named 'nobody'"):
        comfy.run(s.graph)


def test_nothing_is_saved_of_members_that_were_not_trained(comfy: Server) -> None:
    s = scene("flow")
    s.graph.node("UQ_SaveEnsemble", ensemble=wired(s, s.positive), name="empty", export_loras=False)
    with pytest.raises(PromptFailed, match="there is nothing to save"):
        comfy.run(s.graph)


def test_another_prompt_than_was_trained_on_is_refused(comfy: Server) -> None:
    s = scene("flow")
    save(s, sampled(s, trained(s, data(s)), s.negative))
    with pytest.raises(PromptFailed, match="was trained on other prompts than positive"):
        comfy.run(s.graph)


REFUSED = {
    "bootstrap": ({"bootstrap_size": 5}, "A bootstrap of 5 samples can't come of the 4 that there are"),
    "disjoint": ({"bootstrap": "disjoint", "members": 5}, "5 disjoint bootstraps of 1 samples can't come of the 4"),
    "rate": ({"learning_rate": 10.0, "kind": "lora", "steps": 20}, "is not finite: train with a smaller learning rate"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_trained_is_one_sentence(comfy: Server, case: str) -> None:
    options, sentence = REFUSED[case]
    s = scene("flow")
    save(s, sampled(s, trained(s, data(s), **options), s.positive))
    with pytest.raises(PromptFailed, match=sentence):
        comfy.run(s.graph)


@pytest.mark.parametrize("kind", ["embedding", "lora"])
def test_a_failed_latent_is_left_out_and_named(comfy: Server, kind: str) -> None:
    latents = torch.randn((8, 16, 8, 8), generator=torch.Generator().manual_seed(4))
    broken = latents.clone()
    broken[2] = torch.nan
    s, log = scene("flow"), len(comfy.log())
    whole, rest = load_latents(comfy, s, "one_is_nan", broken), load_latents(comfy, s, "seven", latents[[0, 1, 3, 4, 5, 6, 7]])
    drawn = [save(s, sampled(s, trained(s, data, kind=kind), s.positive)) for data in (whole, rest)]
    history = comfy.run(s.graph)
    one, other = (samples(comfy, history, node) for node in drawn)
    assert torch.equal(one, other) and one.isfinite().all()
    assert "Train Ensemble leaves out number 3 of 8 latents, which hold NaN or infinite values." in comfy.log()[log:]


def test_latents_of_several_sizes_are_refused(comfy: Server) -> None:
    s = scene("flow")
    both = s.graph.node("UQTest_ListOf", a=data(s), b=data(s, height=16))
    save(s, sampled(s, trained(s, both), s.positive))
    with pytest.raises(PromptFailed, match="latents must be of one size to train on"):
        comfy.run(s.graph)


def test_prompts_in_parts_are_refused(comfy: Server) -> None:
    s = scene("flow")
    combined = s.graph.node("ConditioningCombine", conditioning_1=s.positive, conditioning_2=s.negative)
    save(s, sampled(s, trained(s, data(s), combined), s.positive))
    with pytest.raises(PromptFailed, match="positive must be one prompt for the whole image and all steps here, got one with 2 parts"):
        comfy.run(s.graph)


def test_bad_options_are_refused_before_training(comfy: Server) -> None:
    for options in ({"kind": "weights"}, {"steps": 0}, {"learning_rate": -1.0}, {"bootstrap": "none"}):
        s = scene("flow")
        save(s, sampled(s, trained(s, data(s), **options), s.positive))
        with pytest.raises(PromptRefused, match=next(iter(options))):
            comfy.run(s.graph)


@pytest.mark.parametrize("kind", ["embedding", "lora"])
def test_a_cancel_comes_at_the_next_step_and_leaves_nothing_behind(comfy: Server, kind: str) -> None:
    untouched = plain_state(comfy, 3100)
    s = scene("flow")
    s = s.having(model=s.graph.node("UQTest_CancelAtCall", model=s.model, call=4))
    save(s, sampled(s, trained(s, data(s), kind=kind, steps=50), s.positive))
    with pytest.raises(PromptInterrupted):
        comfy.run(s.graph)
    assert plain_state(comfy, 3101) == untouched


def test_a_cancelled_training_goes_on_where_it_was(comfy: Server) -> None:
    s, options = scene("flow"), {"steps": 30, "members": 1}
    whole = save(s, sampled(s, trained(s, data(s, seed=12), **options), s.positive))
    unbroken = samples(comfy, comfy.run(s.graph), whole)
    s = scene("flow")
    counted = s.graph.node("UQTest_CountCalls", model=s.graph.node("UQTest_CancelAtCall", model=s.model, call=28))
    again = trained(s.having(model=counted), data(s, seed=12), **options)
    calls, kept = s.graph.node("UQTest_ReadCalls", calls=counted[1], after=again), save(s, sampled(s, again, s.positive))
    with pytest.raises(PromptInterrupted):
        comfy.run(s.graph)
    history = comfy.run(s.graph)
    rows = history.outputs[str(calls)]["all_rows"]
    assert len(rows) < 28 + 10 + 8, "28 calls before the cancel, 25 of them kept; 5 more steps, and 8 calls of the sampler"
    assert torch.equal(samples(comfy, history, kept), unbroken)


def test_progress_counts_the_training_steps(comfy: Server) -> None:
    s = scene("flow")
    s.graph.node("UQTest_SaveLosses", losses=trained(s, data(s, seed=11))[1])
    with Events(comfy) as events:
        comfy.run(s.graph, client_id=events.client_id)
        events.wait_for("execution_success")
    told = events.of("progress")
    assert [p["value"] for p in told] == sorted(p["value"] for p in told) and told[-1]["value"] == told[-1]["max"] == 12
