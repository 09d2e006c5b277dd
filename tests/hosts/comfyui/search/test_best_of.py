"""Best of N in a real ComfyUI: what survives is what KSampler draws alone, and what ended cost nothing more."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from comfy_client import PromptFailed, PromptInterrupted, PromptRefused
from comfy_ensembles import load_latents
from comfy_events import Events
from comfy_graph import Node
from comfy_scenes import Scene, ksampler, scene
from comfy_searches import best_of, best_sampler, value, values
from comfy_server import Server
from comfy_uncertainty import advanced, guidance, read, record, samples, save, save_uncertainty
from uncertainty_nodes.core.search.seeds import derive_seed

ASKED = ["euler", "ddim", "dpmpp_2m", "euler_ancestral", "lcm"]
OTHERS = ["heun", "uni_pc", "dpmpp_2m_sde", "euler_cfg_pp"]


def alone(s: Scene, sampler: str, count: int, **options: float) -> list[Node]:
    """Every candidate by the stock KSampler."""
    return [save(s, ksampler(s, sampler, seed=derive_seed(1, i), **options)) for i in range(count)]


def drawn(comfy: Server, history: object, nodes: list[Node]) -> Tensor:
    return torch.cat([samples(comfy, history, node) for node in nodes])


DRAWN = [("flow", name, "information") for name in ASKED + OTHERS] + [("eps", name, "information") for name in ASKED[2:4]]
FREE = [("flow", name, scorer) for name in ASKED for scorer in ("trajectory", "condition_gap")]


@pytest.mark.parametrize(("family", "sampler", "scorer"), DRAWN + FREE)
def test_a_survivor_is_what_ksampler_draws_alone(comfy: Server, family: str, sampler: str, scorer: str) -> None:
    s = scene(family)
    node = best_of(s, sampler_name=sampler, steps=5, points="0.3, 0.6", fractions="0.75, 0.5", scorer=scorer)
    kept, seeds, plain = save(s, node), value(s, node[3]), alone(s, sampler, 4, steps=5)
    history = comfy.run(s.graph)
    (seed,) = values(comfy, history, seeds)
    number = [derive_seed(1, i) for i in range(4)].index(seed)
    assert torch.equal(samples(comfy, history, kept), drawn(comfy, history, plain)[number][None])


@pytest.mark.parametrize("family", ["flow", "eps"])
def test_candidates_that_end_cost_no_call_more(comfy: Server, family: str) -> None:
    s = scene(family)
    counted = s.graph.node("UQTest_CountCalls", model=s.model)
    node = best_of(s.having(model=counted), steps=6, points="0.5", fractions="0.25", sampler_name="dpmpp_2m")
    calls = s.graph.node("UQTest_ReadCalls", calls=counted[1], after=node)
    report, found, compared = value(s, node[2]), save_uncertainty(s, node[1]), save_uncertainty(s, node[4])
    history = comfy.run(s.graph)
    (text,), rows = values(comfy, history, report), sum(history.outputs[str(calls)]["all_rows"])
    sampling, comparing = (int(word) for word in text.split("Network passes: ")[1].splitlines()[0].split() if word.isdigit())
    u = comfy.value(history, found)[0]
    assert sampling + comparing == rows and comparing == 4 * 2
    assert 4 * 2 * 3 <= sampling < 4 * 2 * 6 and (sampling - 6 * 2) % (3 * 2) == 0, "three of four ended at one step, for both prompts"
    assert u["quantity"] == "denoised at 0.5" and u["direction"] == "high_is_bad" and u["nfe"] == 8
    assert u["seconds"] == sum(each["seconds"] for each in comfy.value(history, compared)) > 0
    assert "1 kept" in text and "steps were not needed" in text


@pytest.mark.parametrize(("family", "points", "count"), [("eps", "0", 1), ("flow", "0", 1), ("eps", "1", 4), ("eps", "", 4)])
def test_points_at_either_end(comfy: Server, family: str, points: str, count: int) -> None:
    """At 0 all but the first prediction is spared; at 1 finished images are compared."""
    s = scene(family)
    node = best_of(s, points=points, fractions="0.25" if points else "")
    kept, seeds, plain, report = save(s, node), value(s, node[3]), alone(s, "euler", 4), value(s, node[2])
    history = comfy.run(s.graph)
    number = [derive_seed(1, i) for i in range(4)].index(values(comfy, history, seeds)[0])
    assert torch.equal(samples(comfy, history, kept), drawn(comfy, history, plain)[number][None])
    sampling = int(values(comfy, history, report)[0].split("Network passes: ")[1].split()[0])
    assert sampling == (4 + 3 if count == 1 else 16) * 2


def test_one_candidate_is_ksampler(comfy: Server) -> None:
    s = scene("flow", batch=2)
    node = best_of(s, candidates=1)
    kept, found, seeds = save(s, node), save_uncertainty(s, node[1]), value(s, node[3])
    plain = [save(s, ksampler(s.having(latent=s.graph.node("LatentFromBatch", samples=s.latent, batch_index=i, length=1)))) for i in (0, 1)]
    history = comfy.run(s.graph)
    assert torch.equal(samples(comfy, history, kept), drawn(comfy, history, plain))
    assert values(comfy, history, seeds) == [1, 1] and len(comfy.value(history, found)[0]["scores"]) == 2


def test_keep_all_gives_all_best_first(comfy: Server) -> None:
    s = scene("flow")
    node = best_of(s, keep=4)
    kept, found, seeds, plain = save(s, node), save_uncertainty(s, node[1]), value(s, node[3]), alone(s, "euler", 4)
    history = comfy.run(s.graph)
    order = [[derive_seed(1, i) for i in range(4)].index(seed) for seed in values(comfy, history, seeds)]
    assert sorted(order) == [0, 1, 2, 3]
    assert torch.equal(samples(comfy, history, kept), drawn(comfy, history, plain)[order])
    assert comfy.value(history, found)[0]["quantity"] == "denoised at 1"


def with_masks(s: Scene, *values: float) -> Node:
    """The scene's two latents, each with a mask and a place in the batch of its own."""
    masks = [s.graph.node("SolidMask", value=v, width=64, height=64) for v in values]
    images = [s.graph.node("MaskToImage", mask=mask) for mask in masks]
    mask = s.graph.node("ImageToMask", image=s.graph.node("ImageBatch", image1=images[0], image2=images[1]), channel="red")
    return s.graph.node("SetLatentNoiseMask", samples=s.graph.node("UQTest_BatchIndex", latent=s.latent, indexes="3,1"), mask=mask)


@pytest.mark.parametrize("sampler", ["euler", "euler_ancestral"])
def test_each_seed_that_is_told_draws_its_image_alone(comfy: Server, sampler: str) -> None:
    """Of several images with places, masks and rows of the prompt of their own, after pruning, two of each."""
    s = scene("flow", batch=2, scale=1.0)
    latent = with_masks(s, 1.0, 0.5)
    s = s.having(latent=latent)
    node = best_of(s, sampler_name=sampler, keep=2, steps=5, points="0.3, 0.6", fractions="0.75, 0.5", denoise=0.8)
    kept, seeds = save(s, node), value(s, node[3])
    history = comfy.run(s.graph)
    found, told, plain = samples(comfy, history, kept), values(comfy, history, seeds), []
    assert len(told) == 4
    for place, seed in zip((0, 0, 1, 1), told, strict=True):
        one = s.graph.node("LatentFromBatch", samples=latent, batch_index=place, length=1)
        plain.append(save(s, ksampler(s.having(latent=one), sampler, steps=5, seed=seed, denoise=0.8)))
    assert torch.equal(found, drawn(comfy, comfy.run(s.graph), plain))


@pytest.mark.parametrize("family", ["flux", "video"])
def test_flux_and_video_latents(comfy: Server, family: str) -> None:
    s = scene(family)
    node = best_of(s, candidates=3, scorer="information", second_scorer="denoised")
    kept, seeds, plain = save(s, node), value(s, node[3]), alone(s, "euler", 3)
    history = comfy.run(s.graph)
    number = [derive_seed(1, i) for i in range(3)].index(values(comfy, history, seeds)[0])
    assert torch.equal(samples(comfy, history, kept), drawn(comfy, history, plain)[number][None])


@pytest.mark.parametrize("sampler", ["euler", "ddim"])
def test_image_to_image_with_masks_conditions_and_batch_index(comfy: Server, sampler: str) -> None:
    """Each image of a batch has its own mask, prompt row and place, as Latent From Batch cuts it out."""
    s = scene("flow", batch=2, scale=1.0)
    latent = with_masks(s, 1.0, 0.0)
    prompts = s.graph.node("UQTest_Conditioning", seed=4, tokens=7, width=4096, pooled=2048, batch=2)
    s = s.having(latent=latent, positive=prompts)
    kept = save(s, best_of(s, candidates=1, sampler_name=sampler, denoise=0.6))
    given, plain = save(s, s.latent), save(s, ksampler(s, sampler, denoise=0.6))
    history = comfy.run(s.graph)
    saved = comfy.latent(history, kept)
    torch.testing.assert_close(saved["samples"][1], samples(comfy, history, given)[1], rtol=1e-4, atol=1e-4)
    assert saved["batch_index"].tolist() == [3, 1] and saved["noise_mask"].shape[0] == 2
    if sampler == "euler":
        torch.testing.assert_close(saved["samples"], samples(comfy, history, plain), rtol=1e-4, atol=1e-4)


def test_a_control_net_of_two_hints_follows_its_images(comfy: Server) -> None:
    s = scene("eps", batch=2, size=8)
    hints = [s.graph.node("EmptyImage", width=64, height=64, batch_size=1, color=color) for color in (0, 0xFFFFFF)]
    hint = s.graph.node("ImageBatch", image1=hints[0], image2=hints[1])
    adapter = s.graph.node("UQTest_Adapter")
    options = {"strength": 1.0, "start_percent": 0.0, "end_percent": 1.0}
    applied = s.graph.node("ControlNetApplyAdvanced", positive=s.positive, negative=s.negative, control_net=adapter, image=hint, **options)
    s = s.having(positive=applied, negative=applied[1])
    kept, plain = save(s, best_of(s, candidates=1)), save(s, ksampler(s))
    other = save(s, best_of(s, candidates=2, keep=2))
    history = comfy.run(s.graph)
    both = samples(comfy, history, plain)
    torch.testing.assert_close(samples(comfy, history, kept), both, rtol=1e-3, atol=1e-3)
    swapped = s.graph.node("ImageBatch", image1=hints[1], image2=hints[0])
    s.graph[applied.id]["inputs"]["image"] = [swapped.id, 0]
    turned = save(s, ksampler(s))
    assert not torch.allclose(samples(comfy, comfy.run(s.graph), turned), both, atol=1e-2), "hints matter"
    assert len(samples(comfy, history, other)) == 4


@pytest.mark.parametrize("micro_batch", [1, 2])
def test_no_call_holds_more_candidates_than_micro_batch(comfy: Server, micro_batch: int) -> None:
    s = scene("flow", tokens=(7, 7), salt=50)  # both prompts fit into one call
    own = s.graph.node("UQTest_Wait", model=s.model, seconds=0.003 + micro_batch / 1e4)  # else the cache would hand out one count for all
    counted = s.graph.node("UQTest_CountCalls", model=own)
    node = best_of(s.having(model=counted), scorer="information", second_scorer="denoised", micro_batch=micro_batch)
    calls = s.graph.node("UQTest_ReadCalls", calls=counted[1], after=node)
    rows = comfy.run(s.graph).outputs[str(calls)]["all_rows"]
    assert max(rows) == 2 * micro_batch


@pytest.mark.parametrize("scorer", ["information", "denoised", "trajectory"])
def test_what_a_mask_keeps_is_not_compared(comfy: Server, scorer: str) -> None:
    """Where it keeps everything, candidates are all one image."""
    s = scene("flow", scale=1.0)
    kept = s.graph.node("SetLatentNoiseMask", samples=s.latent, mask=s.graph.node("SolidMask", value=0.0, width=64, height=64))
    points = {"points": "0.6, 0.8", "fractions": "1, 0.5"}
    nodes = [best_of(s.having(latent=latent), scorer=scorer, steps=8, **points) for latent in (kept, s.latent)]
    saved = [save_uncertainty(s, node[4]) for node in nodes]
    history = comfy.run(s.graph)
    spread = [max(scores) - min(scores) for scores in (comfy.value(history, each)[0]["scores"] for each in saved)]
    assert spread[0] <= 1e-6 < 1e-4 < spread[1]


def test_micro_batches_change_rounding_alone_and_memory_halves_them(comfy: Server) -> None:
    s = scene("flow", tokens=(7, 7))
    log = len(comfy.log())
    short = s.having(model=s.graph.node("UQTest_OutOfMemory", model=s.model, rows=4, from_call=1, times=9))
    nodes = [best_of(s), best_of(s, micro_batch=4), best_of(short, micro_batch=4)]
    kept, reports = [save(s, node) for node in nodes], [value(s, node[2]) for node in nodes]
    history = comfy.run(s.graph)
    one, four, two = (samples(comfy, history, node) for node in kept)
    torch.testing.assert_close(one, four, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-4)
    assert "Out of memory with 4 candidates in a call: going on with 2." in comfy.log()[log:]
    assert "Memory was short: 2 candidates in a call, not 4." in values(comfy, history, reports[2])[0]
    assert "Memory was short" not in values(comfy, history, reports[1])[0]


def test_a_failed_candidate_goes_first_and_takes_no_other_with_it(comfy: Server) -> None:
    latents = torch.randn((2, 16, 8, 8), generator=torch.Generator().manual_seed(2))
    latents[0] = torch.nan
    s = scene("flow")
    node = best_of(s.having(latent=load_latents(comfy, s, "spoilt", latents)), denoise=0.6)
    kept, found = save(s, node), save_uncertainty(s, node[1])
    history = comfy.run(s.graph)
    images = samples(comfy, history, kept)
    assert images[0].isnan().all() and images[1].isfinite().all()
    assert comfy.value(history, found)[0]["provenance"]["failed"].startswith("Image 1 of 2 failed")


@pytest.mark.parametrize("sampler", ["dpm_fast", "dpm_adaptive"])
def test_a_sampler_with_levels_of_its_own_is_refused(comfy: Server, sampler: str) -> None:
    s = scene("eps")
    save(s, best_of(s, sampler_name=sampler))
    with pytest.raises(PromptFailed, match=f"sampler_name '{sampler}' can't be"):
        comfy.run(s.graph)


@pytest.mark.parametrize("sampler", ["euler", "dpmpp_2m_sde"])
def test_resampling_needs_a_sampler_that_adds_plain_noise(comfy: Server, sampler: str) -> None:
    s = scene("flow")
    save(s, best_of(s, sampler_name=sampler, mode="resample"))
    with pytest.raises(PromptFailed, match=f"fresh noise, which sampler '{sampler}' does not take: use euler_ancestral"):
        comfy.run(s.graph)


@pytest.mark.parametrize("family", ["flow", "eps"])
def test_resampled_copies_part(comfy: Server, family: str) -> None:
    s = scene(family)
    options = {"sampler_name": "euler_ancestral", "mode": "resample", "steps": 6, "fractions": "1", "sharpness": 100.0, "keep": 4}
    node = best_of(s, points="0.4", **options)
    kept, report, seeds, plain = save(s, node), value(s, node[2]), value(s, node[3]), alone(s, "euler_ancestral", 4, steps=6)
    history = comfy.run(s.graph)
    images, text, stock = samples(comfy, history, kept), values(comfy, history, report)[0], drawn(comfy, history, plain)
    assert "4 of 4 go on from here" in text or "3 of 4 go on from here" in text
    assert len({tuple(image.flatten().tolist()) for image in images}) == 4, "copies draw noise of their own"
    own = {derive_seed(1, i): stock[i] for i in range(4)}
    told = values(comfy, history, seeds)
    assert told.count(-1) in (2, 3) and text.count("with fresh noise since then: no seed draws it again") == told.count(-1)
    for image, seed in zip(images, told, strict=True):
        again = [other for other, each in own.items() if torch.equal(image, each)]
        assert again == ([] if seed == -1 else [seed])


def test_fewer_particles_go_on_later(comfy: Server) -> None:
    s = scene("flow")
    options = {"sampler_name": "euler_ancestral", "mode": "resample", "steps": 6, "candidates": 6, "keep": 2}
    node = best_of(s, points="0.3, 0.6", fractions="0.5, 0.7", **options)
    kept, report = save(s, node), value(s, node[2])
    history = comfy.run(s.graph)
    text = values(comfy, history, report)[0]
    assert "6 candidates were compared by denoised: 3 kept" in text and "3 candidates were compared by denoised: 3 kept" in text
    assert "finished, 3 candidates were compared by denoised: 2 kept" in text and len(samples(comfy, history, kept)) == 2


def test_stop_ends_what_earlier_scores_call_hopeless(comfy: Server) -> None:
    """At a limit of 100 % the worst of the earlier scores still goes on, and at 0 % only the best."""
    s = scene("flow")
    earlier = best_of(s, fractions="0.25")
    calibration = s.graph.node("UQ_Calibrate", uncertainty=earlier[4], name="")
    best, every = (best_of(s, calibration=calibration, mode="stop", limit=limit, keep=4) for limit in (0.0, 100.0))
    reports, kept = [value(s, node[2]) for node in (best, every)], [save(s, node) for node in (best, every)]
    none = best_of(s, calibration=calibration, mode="stop", limit=0.0, seed=99, candidates=1)
    nothing, skipped = value(s, none[2]), save(s, none)
    history = comfy.run(s.graph)
    assert [len(samples(comfy, history, node)) for node in kept] == [1, 4]
    assert "1 kept" in values(comfy, history, reports[0])[0] and "4 kept" in values(comfy, history, reports[1])[0]
    assert "seconds" in values(comfy, history, reports[0])[0]
    assert "Every candidate was stopped." in values(comfy, history, nothing)[0] and str(skipped) not in history.outputs


def test_cancel_in_the_middle_of_a_round_leaves_nothing_behind(comfy: Server) -> None:
    s = scene("flow", salt=31)
    state = s.graph.node("UQTest_ModelState", model=s.model, after=ksampler(s))
    before = comfy.value(comfy.run(s.graph), state)
    cancelled = scene("flow", salt=32)
    broken = cancelled.having(model=cancelled.graph.node("UQTest_CancelAtCall", model=cancelled.model, call=7))
    save(cancelled, best_of(broken))
    with pytest.raises(PromptInterrupted):
        comfy.run(cancelled.graph)
    again = scene("flow", salt=33)
    state = again.graph.node("UQTest_ModelState", model=again.model, after=ksampler(again))
    assert comfy.value(comfy.run(again.graph), state) == before


def test_progress_and_previews_run_through_all_candidates(comfy: Server) -> None:
    s = scene("flow", salt=9)
    save(s, best_of(s, steps=6))
    with Events(comfy) as events:
        comfy.run(s.graph, client_id=events.client_id)
        events.wait_for("execution_success")
    told = [p for p in events.of("progress") if p["max"] > 6]
    numbers, total = [p["value"] for p in told], told[-1]["max"]
    assert numbers == sorted(numbers) and numbers[-1] == total and 6 < total < 24
    assert events.previews


@pytest.mark.parametrize("sampler", ["euler", "dpmpp_2m", "euler_ancestral", "lcm"])
def test_as_a_sampler_for_custom_sampling(comfy: Server, sampler: str) -> None:
    s = scene("flow")
    guider = s.graph.node("CFGGuider", model=s.model, positive=s.positive, negative=s.negative, cfg=4.0)
    wrapped = best_sampler(s, sampler, candidates=3, fractions="0.3")
    sampled = advanced(s, guider, sampler)
    s.graph[sampled.id]["inputs"]["sampler"] = [wrapped.id, 0]
    kept = save(s, sampled)
    read = s.graph.node("UQ_ReadUncertainty", latent=sampled, record=wrapped[1])
    found, plain = save_uncertainty(s, read[1]), []
    for i in range(3):
        other = advanced(s, guider, sampler)
        s.graph[s.graph[other.id]["inputs"]["noise"][0]]["inputs"]["noise_seed"] = derive_seed(1, i)
        plain.append(save(s, other))
    history = comfy.run(s.graph)
    one, candidates = samples(comfy, history, kept), drawn(comfy, history, plain)
    u = comfy.value(history, found)[0]
    assert len(u["scores"]) == 1 and u["quantity"] == "denoised at 0.5"
    number = [derive_seed(1, i) for i in range(3)].index(int(u["provenance"]["seeds"]))
    assert torch.equal(one, candidates[number][None])


def without_noise(s: Scene, sampler: Node, seed: int) -> Node:
    """The second half of a run, as SamplerCustom is used for it."""
    sigmas = s.graph.node(
        "SplitSigmas", sigmas=s.graph.node("BasicScheduler", model=s.model, scheduler="simple", steps=6, denoise=1.0), step=2
    )
    wires = {"model": s.model, "positive": s.positive, "negative": s.negative, "latent_image": s.latent}
    return s.graph.node("SamplerCustom", **wires, add_noise=False, noise_seed=seed, cfg=4.0, sampler=sampler, sigmas=sigmas[1])


def test_in_a_run_without_noise_candidates_differ_by_the_samplers_own(comfy: Server) -> None:
    s = scene("eps", scale=2.0)
    kept = save(s, without_noise(s, best_sampler(s, "euler_ancestral"), 1))
    chosen = s.graph.node("KSamplerSelect", sampler_name="euler_ancestral")
    plain = [save(s, without_noise(s, chosen, derive_seed(1, i))) for i in range(4)]
    history = comfy.run(s.graph)
    assert sum(torch.equal(samples(comfy, history, kept), samples(comfy, history, each)) for each in plain) == 1


def test_in_a_run_without_any_noise_there_is_nothing_to_choose(comfy: Server) -> None:
    s = scene("eps", scale=2.0)
    save(s, without_noise(s, best_sampler(s, "euler"), 1))
    with pytest.raises(
        PromptFailed, match="adds no noise, and neither does sampler 'euler': its 4 candidates would all be one image. Connect"
    ):
        comfy.run(s.graph)
    s = scene("eps", scale=2.0)
    kept, plain = (
        without_noise(s, sampler, 1)
        for sampler in (best_sampler(s, "euler", candidates=1), s.graph.node("KSamplerSelect", sampler_name="euler"))
    )
    kept, plain = save(s, kept), save(s, plain)
    history = comfy.run(s.graph)
    assert torch.equal(samples(comfy, history, kept), samples(comfy, history, plain))


def test_a_guider_without_a_negative_takes_scorers_that_need_none(comfy: Server) -> None:
    for scorer in ("denoised", "information"):
        s = scene("flux")
        guider = s.graph.node("BasicGuider", model=s.model, conditioning=s.positive)
        sampled = advanced(s, guider, "euler")
        s.graph[sampled.id]["inputs"]["sampler"] = [best_sampler(s, "euler", scorer=scorer).id, 0]
        kept = save(s, sampled)
        if scorer == "denoised":
            assert samples(comfy, comfy.run(s.graph), kept).isfinite().all()
            continue
        with pytest.raises(PromptFailed, match="there is no empty condition here"):
            comfy.run(s.graph)


@pytest.mark.parametrize("sampler", ["euler", "euler_ancestral"])
def test_guided_candidates_are_those_of_a_guided_ksampler(comfy: Server, sampler: str) -> None:
    s, _ = guidance(scene("flow"))
    node = best_of(s, candidates=3, sampler_name=sampler)
    kept, seeds, plain = save(s, node), value(s, node[3]), alone(s, sampler, 3)
    history = comfy.run(s.graph)
    number = [derive_seed(1, i) for i in range(3)].index(values(comfy, history, seeds)[0])
    assert torch.equal(samples(comfy, history, kept), drawn(comfy, history, plain)[number][None])


def test_a_record_of_the_model_says_that_it_cannot_tell_candidates_apart(comfy: Server) -> None:
    s, patch = record(scene("flow"))
    node = best_of(s, candidates=3, seed=77)
    save_uncertainty(s, s.graph.node("UQ_ReadUncertainty", latent=node, record=patch[1])[1])
    with pytest.raises(PromptFailed, match="drew several candidates of each image, which a record can't tell apart"):
        comfy.run(s.graph)


@pytest.mark.parametrize("sampler", ["euler", "heun", "euler_ancestral"])
def test_free_scores_are_those_that_record_uncertainty_reads_and_cost_nothing(comfy: Server, sampler: str) -> None:
    s = scene("flow")
    free = {"scorer": "trajectory", "second_scorer": "condition_gap"}
    node = best_of(s, keep=4, steps=6, sampler_name=sampler, **free)
    kept, report, seeds, found = save(s, node), value(s, node[2]), value(s, node[3]), save_uncertainty(s, node[1])
    watched, patch = record(s, quantity="trajectory", start_percent=0.5)
    plain = [ksampler(watched, sampler, steps=6, seed=derive_seed(1, i)) for i in range(4)]
    images = [save(s, each) for each in plain]
    scores = [read(s, each, patch) for each in plain]
    history = comfy.run(s.graph)
    order = [[derive_seed(1, i) for i in range(4)].index(seed) for seed in values(comfy, history, seeds)]
    assert "Network passes: " in values(comfy, history, report)[0] and " 0 for comparing" in values(comfy, history, report)[0]
    assert torch.equal(samples(comfy, history, kept), drawn(comfy, history, images)[order])
    told = comfy.value(history, found)[0]
    alone_scores = [comfy.value(history, each)[0]["scores"][0] for each in scores]
    assert told["quantity"] == "trajectory at 1" and told["nfe"] == 0
    assert told["scores"] == pytest.approx([alone_scores[i] for i in order], rel=1e-4)


def test_pruning_by_free_scores_leaves_the_survivor_as_it_is(comfy: Server) -> None:
    s = scene("eps")
    options = {"scorer": "condition_gap", "second_scorer": "trajectory", "points": "0.4, 0.7", "fractions": "0.75, 0.5"}
    node, resampled = best_of(s, steps=6, **options), best_of(s, steps=6, mode="resample", sampler_name="euler_ancestral", **options)
    kept, seeds, plain, other = save(s, node), value(s, node[3]), alone(s, "euler", 4, steps=6), save(s, resampled)
    history = comfy.run(s.graph)
    number = [derive_seed(1, i) for i in range(4)].index(values(comfy, history, seeds)[0])
    assert torch.equal(samples(comfy, history, kept), drawn(comfy, history, plain)[number][None])
    assert samples(comfy, history, other).isfinite().all()


def test_the_gap_without_guidance_is_refused_before_sampling(comfy: Server) -> None:
    s = scene("flow")
    counted = s.graph.node("UQTest_CountCalls", model=s.model)
    save(s, best_of(s.having(model=counted), scorer="condition_gap", cfg=1.0))
    with pytest.raises(PromptFailed, match="There is no condition gap"):
        comfy.run(s.graph)


REFUSED = {
    "points": ({"points": "a, b"}, "points must be numbers with commas between them"),
    "fractions": ({"fractions": "0.5, 0.5"}, "Each point needs the fraction that goes on after it"),
    "keep": ({"keep": 5}, "keep must not exceed candidates"),
    "twice": ({"second_scorer": "denoised"}, "second must be another scorer"),
    "odd": ({"mode": "stop", "second_scorer": "noise"}, "leave second out"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_go_together_is_refused_before_sampling(comfy: Server, case: str) -> None:
    options, sentence = REFUSED[case]
    s = scene("flow")
    save(s, best_of(s, **options))
    with pytest.raises(PromptRefused, match=sentence):
        comfy.run(s.graph)


def test_stop_without_earlier_scores_is_one_sentence(comfy: Server) -> None:
    s = scene("flow")
    save(s, best_of(s, mode="stop"))
    with pytest.raises(PromptFailed, match="The mode 'stop' needs earlier scores: connect to calibration"):
        comfy.run(s.graph)
