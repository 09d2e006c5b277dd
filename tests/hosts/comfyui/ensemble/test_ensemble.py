"""Ensemble Uncertainty in a real ComfyUI: what members share, what they cost, what they leave behind."""

from __future__ import annotations

import pytest
import torch

import tiny_checkpoints as tiny
from comfy_client import PromptFailed, PromptInterrupted, PromptRefused
from comfy_ensembles import ensemble, found, load_latents, plain_state, sampled
from comfy_events import Events
from comfy_graph import Node
from comfy_scenes import Scene, ksampler, scene, text
from comfy_server import Server
from comfy_uncertainty import samples, save, save_uncertainty


def texts(s: Scene, family: str, count: int) -> list[Node]:
    return [text(s.graph, family, 10 + i) for i in range(count)]


@pytest.mark.parametrize("family", ["eps", "flow", "flux", "video"])
def test_members_part_after_the_branch_and_one_batch_holds_them(comfy: Server, family: str) -> None:
    s = scene(family, batch=2, tokens=(7, 7), salt=1)
    counted = s.graph.node("UQTest_CountCalls", model=s.model)
    node = sampled(s, ensemble(s.having(model=counted), *texts(s, family, 3)))
    calls = s.graph.node("UQTest_ReadCalls", calls=counted[1], after=node)
    information, distance, kept = save_uncertainty(s, node[1]), save_uncertainty(s, node[3]), save(s, node)
    history = comfy.run(s.graph)
    u, d, rows = found(comfy, history, information), found(comfy, history, distance), history.outputs[str(calls)]["all_rows"]
    shared = int(u["provenance"]["branch"].split()[1])
    assert 0 < shared < 4 and len(u["curve"]) == 4 - shared
    assert sum(rows) == 2 * 2 * (shared + 3 * (4 - shared)), "positive and negative, two images"
    assert u["nfe"] == d["nfe"] == 2 * (shared + 3 * (4 - shared))
    assert min(u["scores"]) > 0 and max(u["scores"]) <= torch.log(torch.tensor(3.0)) and min(d["scores"]) > 0
    assert u["quantity"] == "epistemic" and u["direction"] == "high_is_bad"
    assert samples(comfy, history, kept).isfinite().all()


ALL = ["euler", "heun", "dpmpp_2m", "uni_pc", "euler_ancestral", "dpmpp_2m_sde", "euler_cfg_pp", "ddim", "lcm"]


@pytest.mark.parametrize(("family", "sampler"), [("flow", name) for name in ALL] + [("eps", name) for name in ALL[2:6]])
def test_equal_members_draw_what_ksampler_draws(comfy: Server, family: str, sampler: str) -> None:
    s = scene(family, batch=2)
    same = [text(s.graph, family, 1) for _ in range(3)]
    node = sampled(s, ensemble(s, *same), sampler_name=sampler)
    plain = save(s, ksampler(s, sampler))
    kept, information = save(s, node), save_uncertainty(s, node[1])
    history = comfy.run(s.graph)
    u = found(comfy, history, information)
    assert torch.equal(samples(comfy, history, kept), samples(comfy, history, plain))
    assert u["scores"] == [0.0, 0.0] and u["nfe"] == comfy_calls(sampler) * 2
    assert u["provenance"]["note"] == "All members predict the same for 2 of 2 images: their uncertainty is 0."


def comfy_calls(sampler: str) -> int:
    return {"heun": 7}.get(sampler, 4)


@pytest.mark.parametrize("sampler", ["euler", "heun", "dpmpp_2m", "uni_pc", "euler_ancestral", "dpmpp_2m_sde", "euler_cfg_pp"])
def test_the_member_that_draws_the_start_draws_on_as_if_it_were_alone(comfy: Server, sampler: str) -> None:
    s = scene("flow", batch=2)
    one, other = texts(s, "flow", 2)
    longer = text(s.graph, "flow", 12, tokens=9)  # does not fit into one batch with the others
    node = sampled(s, ensemble(s, one, other, longer), sampler_name=sampler)
    plain = [save(s, ksampler(s.having(positive=p), sampler)) for p in (one, other, longer)]
    kept, information = save(s, node), save_uncertainty(s, node[1])
    history = comfy.run(s.graph)
    base = ["conditioning 1", "conditioning 2", "conditioning 3"].index(found(comfy, history, information)["provenance"]["base"])
    assert torch.equal(samples(comfy, history, kept), samples(comfy, history, plain[base]))


@pytest.mark.parametrize("sampler", ["euler", "dpmpp_2m", "euler_ancestral"])
def test_a_branch_at_the_start_draws_each_member_alone(comfy: Server, sampler: str) -> None:
    s = scene("flow", batch=2, tokens=(7, 7))
    conditions = texts(s, "flow", 2)
    node = sampled(s, ensemble(s, *conditions), sampler_name=sampler, branch_percent=0.0)
    plain = [save(s, ksampler(s.having(positive=p), sampler)) for p in conditions]
    listed = s.graph.node("UQTest_SaveLatents", latents=node[2])
    history = comfy.run(s.graph)
    together = samples(comfy, history, listed).unflatten(0, (2, 2))
    alone = torch.stack([samples(comfy, history, node) for node in plain])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)
    assert torch.equal(together, alone) or sampler != "euler_ancestral"


def test_loras_run_one_after_another_and_leave_nothing_behind(comfy: Server) -> None:
    untouched = plain_state(comfy, 1900)
    s = scene("flow", batch=2)
    counted = s.graph.node("UQTest_CountCalls", model=s.model)
    names = "\n".join([*tiny.SD3_LORAS, tiny.SD3_LORAS[0]])  # the fourth is the first again
    node = sampled(s, ensemble(s.having(model=counted), members=names, strength=0.8), s.positive)
    lora = [s.graph.node("LoraLoaderModelOnly", model=s.model, lora_name=name, strength_model=0.8) for name in tiny.SD3_LORAS]
    plain = [save(s, ksampler(s.having(model=model))) for model in lora]
    listed, information = s.graph.node("UQTest_SaveLatents", latents=node[2]), save_uncertainty(s, node[1])
    calls = s.graph.node("UQTest_ReadCalls", calls=counted[1], after=node)
    history = comfy.run(s.graph)
    members = samples(comfy, history, listed).unflatten(0, (4, 2))
    u, rows = found(comfy, history, information), history.outputs[str(calls)]["all_rows"]
    shared = int(u["provenance"]["branch"].split()[1])
    assert len(rows) == 2 * (shared + 3 * (4 - shared)) and set(rows) == {2}, "the prompts of 7 and 5 tokens run apart"
    base = int(u["provenance"]["base"].split("_")[3][0])
    assert torch.equal(members[base], samples(comfy, history, plain[base]))
    assert torch.equal(members[3], members[0]) and not torch.equal(members[1], members[0])
    assert min(u["scores"]) > 0
    assert plain_state(comfy, 1901) == untouched


def test_embeddings_and_loras_of_a_text_encoder_are_encoded_by_each_member(comfy: Server) -> None:
    s = scene("flux")
    clip = s.graph.node("UQTest_TinyClip", seed=1)
    prompt = "a photo of embedding:* at night"
    files = {"members": f"{tiny.EMBEDDINGS[0]}, tiny_embedding_1:0.5\n{tiny.FLUX_LORA}", "prompt": prompt}
    node = sampled(s, ensemble(s, clip=clip, **files), branch_percent=0.0)
    encoded = {
        "one": ("a photo of embedding:tiny_embedding_0 at night", s.model, clip),
        "two": ("a photo of (embedding:tiny_embedding_1:0.5) at night", s.model, clip),
    }
    both = s.graph.node("LoraLoader", model=s.model, clip=clip, lora_name=tiny.FLUX_LORA, strength_model=1.0, strength_clip=1.0)
    encoded["three"] = (prompt, both, both[1])
    plain = []
    for said, model, encoder in encoded.values():
        positive = s.graph.node("CLIPTextEncode", clip=encoder, text=said)
        plain.append(save(s, ksampler(s.having(model=model, positive=positive))))
    listed = s.graph.node("UQTest_SaveLatents", latents=node[2])
    history = comfy.run(s.graph)
    members = samples(comfy, history, listed)
    alone = torch.cat([samples(comfy, history, each) for each in plain])
    assert torch.equal(members, alone)
    assert len({tuple(m.flatten().tolist()) for m in members}) == 3


REFUSED = {
    "nobody": ({"members": " , "}, "The ensemble is empty: name at least one LoRA or embedding, or connect a conditioning"),
    "missing": (
        {"members": "nothing_like_it"},
        "members names 'nothing_like_it', but no file in the folders loras and embeddings is called so",
    ),
    "foreign": ({"members": tiny.FLUX_LORA}, "LoRA 'tiny_flux_lora.safetensors' has no weight that this model knows"),
    "wide": ({"members": tiny.SD3_LORA_WIDE}, "LoRA 'tiny_sd3_lora_wide.safetensors' is for another model"),
    "no text": ({"members": tiny.EMBEDDINGS[0]}, "is an embedding, which needs a text: connect clip and write the prompt"),
    "no prompt": ({"members": tiny.SD3_LORA}, "has no conditioning of its own: connect positive"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_members_that_do_not_fit_are_one_sentence(comfy: Server, case: str) -> None:
    files, sentence = REFUSED[case]
    s = scene("flow")
    save(s, sampled(s, ensemble(s, **files)))
    with pytest.raises(PromptFailed, match=sentence):
        comfy.run(s.graph)


def test_an_embedding_for_another_text_encoder_is_refused(comfy: Server) -> None:
    s = scene("flux")
    clip = s.graph.node("UQTest_TinyClip", seed=1)
    save(s, sampled(s, ensemble(s, clip=clip, members=tiny.EMBEDDING_WIDE, prompt="a photo")))
    with pytest.raises(PromptFailed, match="changes nothing: it was made for another text encoder"):
        comfy.run(s.graph)


@pytest.mark.parametrize("sampler", ["dpm_fast", "dpm_adaptive"])
def test_a_sampler_with_levels_of_its_own_is_refused(comfy: Server, sampler: str) -> None:
    s = scene("eps")
    save(s, sampled(s, ensemble(s, *texts(s, "eps", 2)), sampler_name=sampler))
    with pytest.raises(
        PromptFailed, match=f"sampler_name '{sampler}' can't be branched.*Choose another sampler, such as euler or dpmpp_2m"
    ):
        comfy.run(s.graph)


def test_every_distance_and_moment_tells_the_members_apart(comfy: Server) -> None:
    s = scene("flow", batch=2, tokens=(7, 7))
    members, found_by = ensemble(s, *texts(s, "flow", 3)), {}
    for distance in ("w2", "kl", "bhattacharyya"):
        for moment in ("first", "last", "mean"):
            node = sampled(s, members, distance=distance, moment=moment, branch_percent=0.3)
            found_by[distance, moment] = save_uncertainty(s, node[1])
    history = comfy.run(s.graph)
    results = {key: found(comfy, history, node) for key, node in found_by.items()}
    assert all(u["finite"] and min(u["scores"]) > 0 for u in results.values())
    assert all(results[distance, "first"]["scores"] == results[distance, "last"]["curve"][0] for distance in ("w2", "kl", "bhattacharyya"))
    assert len(results["w2", "last"]["curve"]) == len(results["kl", "last"]["curve"]) + 1, "the last step has no variance"


def test_one_member_is_plain_sampling_with_a_note(comfy: Server) -> None:
    s = scene("flow")
    node = sampled(s, ensemble(s, s.positive))
    plain, kept, information = save(s, ksampler(s)), save(s, node), save_uncertainty(s, node[1])
    history = comfy.run(s.graph)
    assert torch.equal(samples(comfy, history, kept), samples(comfy, history, plain))
    u = found(comfy, history, information)
    assert u["scores"] == [0.0] and u["provenance"]["note"].startswith("One member has none to disagree with")


def test_bad_options_are_refused_before_sampling(comfy: Server) -> None:
    for options in ({"branch_percent": 1.5}, {"distance": "l1"}, {"moment": "now"}, {"bandwidth": -1.0}):
        s = scene("flow")
        save(s, sampled(s, ensemble(s, s.positive), **options))
        with pytest.raises(PromptRefused, match=next(iter(options))):
            comfy.run(s.graph)


DISTURBED = {
    "raise": ("UQTest_RaiseAtCall", {"call": 2}, PromptFailed),
    "memory": ("UQTest_OutOfMemory", {"rows": 0, "from_call": 2, "times": 99}, PromptFailed),
    "cancel": ("UQTest_CancelAtCall", {"call": 2}, PromptInterrupted),
}


@pytest.mark.parametrize("case", DISTURBED)
def test_errors_and_cancel_leave_no_patch_behind(comfy: Server, case: str) -> None:
    kind, options, error = DISTURBED[case]
    untouched = plain_state(comfy, 2000 + list(DISTURBED).index(case))
    s = scene("flow", batch=2)
    broken = s.having(model=s.graph.node(kind, model=s.model, **options))
    save(s, sampled(s, ensemble(broken, members="\n".join(tiny.SD3_LORAS)), s.positive))
    with pytest.raises(error):
        comfy.run(s.graph)
    assert plain_state(comfy, 2100 + list(DISTURBED).index(case)) == untouched


def test_memory_for_fewer_members_halves_them_and_says_so(comfy: Server) -> None:
    log = len(comfy.log())
    s = scene("flow", tokens=(7, 7))
    s = s.having(model=s.graph.node("UQTest_OutOfMemory", model=s.model, rows=4, from_call=1, times=1))
    information = save_uncertainty(s, sampled(s, ensemble(s, *texts(s, "flow", 4)))[1])
    u = found(comfy, comfy.run(s.graph), information)
    assert "Out of memory with 4 members of the ensemble in a call: going on with 2." in comfy.log()[log:]
    assert min(u["scores"]) > 0


@pytest.mark.parametrize("differential", [False, True])
def test_masked_and_partly_denoised_latents_keep_what_the_mask_keeps(comfy: Server, differential: bool) -> None:
    s = scene("flow", batch=2, tokens=(7, 7), scale=1.0)
    if differential:
        s = s.having(model=s.graph.node("DifferentialDiffusion", model=s.model))
    mask = s.graph.node("SolidMask", value=0.0, width=64, height=64)
    s = s.having(latent=s.graph.node("SetLatentNoiseMask", samples=s.latent, mask=mask))
    node = sampled(s, ensemble(s, *texts(s, "flow", 2)), denoise=0.6)
    information, given, kept = save_uncertainty(s, node[1]), save(s, s.latent), save(s, node)
    history = comfy.run(s.graph)
    assert found(comfy, history, information)["scores"] == [0.0, 0.0]
    torch.testing.assert_close(samples(comfy, history, kept), samples(comfy, history, given), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("bad", [0, 5, 7])
def test_a_failed_image_leaves_the_seven_others_as_they_are(comfy: Server, bad: int) -> None:
    latents = torch.randn((8, 16, 8, 8), generator=torch.Generator().manual_seed(2))
    broken = latents.clone()
    broken[bad] = torch.nan
    s = scene("flow", tokens=(7, 7))
    members, kept = ensemble(s, *texts(s, "flow", 2)), {}
    for name, values in (("whole", latents), (f"broken_{bad}", broken)):
        node = sampled(s.having(latent=load_latents(comfy, s, name, values)), members, denoise=0.6)
        kept[name] = save(s, node), save_uncertainty(s, node[1])
    history = comfy.run(s.graph)
    (whole, u), (one_broken, v) = ((samples(comfy, history, a), found(comfy, history, b)) for a, b in kept.values())
    others = [i for i in range(8) if i != bad]
    assert torch.equal(whole[others], one_broken[others]) and [u["scores"][i] for i in others] == [v["scores"][i] for i in others]
    assert one_broken[bad].isnan().all() and v["scores"][bad] != v["scores"][bad]
    assert v["provenance"]["failed"].startswith(f"Image {bad + 1} of 8 failed: ") and "failed" not in u["provenance"]


def test_progress_counts_the_shared_steps_once(comfy: Server) -> None:
    s = scene("flow", salt=9)
    save(s, sampled(s, ensemble(s, members="\n".join(tiny.SD3_LORAS)), s.positive, steps=6))
    with Events(comfy) as events:
        comfy.run(s.graph, client_id=events.client_id)
        events.wait_for("execution_success")
    told = events.of("progress")
    values, total = [p["value"] for p in told], told[-1]["max"]
    assert values == sorted(values) and values[-1] == total and 6 < total < 18
    assert events.previews
