"""Draft Candidates and Finish Drafts in a real ComfyUI: what is finished is KSampler's, and its first steps are not paid twice."""

from __future__ import annotations

import pytest
import torch

from comfy_client import PromptFailed, PromptInterrupted
from comfy_scenes import ksampler, scene
from comfy_searches import best_of, draft, finish, until, value, values
from comfy_server import Server
from comfy_uncertainty import samples, save, save_uncertainty
from uncertainty_nodes.core.search.seeds import derive_seed


@pytest.mark.parametrize("sampler", ["euler", "ddim", "dpmpp_2m", "heun", "euler_ancestral", "dpmpp_2m_sde", "lcm", "uni_pc"])
def test_a_finished_draft_is_what_ksampler_draws_with_its_seed(comfy: Server, sampler: str) -> None:
    s = scene("flow" if sampler == "lcm" else "eps")
    drafts = draft(s, sampler_name=sampler, steps=6)
    done = save(s, finish(s, drafts, "0,2"))
    plain = [save(s, ksampler(s, sampler, steps=6, seed=derive_seed(1, i))) for i in (0, 2)]
    history = comfy.run(s.graph)
    assert torch.equal(samples(comfy, history, done), torch.cat([samples(comfy, history, each) for each in plain]))


def test_the_steps_of_a_draft_are_not_paid_again(comfy: Server) -> None:
    s = scene("flow", salt=91)
    counted = s.graph.node("UQTest_CountCalls", model=s.graph.node("UQTest_Wait", model=s.model, seconds=0.0011))
    drafts = draft(s.having(model=counted), steps=6)
    done = finish(s, drafts, "1")
    calls = s.graph.node("UQTest_ReadCalls", calls=counted[1], after=done)
    report = value(s, drafts[4])
    save(s, done)
    history = comfy.run(s.graph)
    text = values(comfy, history, report)[0]
    step = int(text.split("stand at step ")[1].split(" ")[0])
    assert 1 < step < 6 and text.startswith(f"3 drafts stand at step {step} of 6.")
    assert "sampled anew" not in text
    drafting, comparing, rest = 3 * step * 2, 3 * 2, (6 - step) * 2
    assert f"Network passes: {drafting} for sampling, {comparing} for comparing." in text
    assert sum(history.outputs[str(calls)]["all_rows"]) == drafting + comparing + rest


def test_previews_scores_and_seeds_go_by_the_drafts(comfy: Server) -> None:
    s = scene("flow", batch=2)
    drafts = draft(s)
    previews, scores, seeds = save(s, drafts[1]), save_uncertainty(s, drafts[2]), value(s, drafts[3])
    best = finish(s, drafts, keep=2)
    done, told, chosen = save(s, best), save_uncertainty(s, best[1]), value(s, best[2])
    history = comfy.run(s.graph)
    found = torch.tensor(comfy.value(history, scores)[0]["scores"]).view(2, 3)
    order = found.argsort(dim=1)[:, :2]
    assert len(samples(comfy, history, previews)) == 6 and len(samples(comfy, history, done)) == 4
    assert values(comfy, history, seeds) == [derive_seed(1, i) for i in range(3)] * 2
    assert values(comfy, history, chosen) == [derive_seed(1, int(i)) for i in order.flatten()]
    assert comfy.value(history, told)[0]["scores"] == found.gather(1, order).flatten().tolist()


def test_the_filters_choice_is_finished_and_an_empty_one_skips(comfy: Server) -> None:
    s = scene("flow")
    drafts = draft(s)
    kept = s.graph.node("UQ_SampleFilter", uncertainty=drafts[2], rule="keep_best_count", value=1.0)
    by_filter, by_score = save(s, finish(s, drafts, kept[6])), save(s, finish(s, drafts))
    nothing = save(s, finish(s, drafts, ""))
    history = comfy.run(s.graph)
    assert torch.equal(samples(comfy, history, by_filter), samples(comfy, history, by_score))
    assert str(nothing) not in history.outputs


def test_a_patch_that_remembers_costs_the_steps_again_but_not_the_image(comfy: Server) -> None:
    s = scene("eps")
    cached = s.graph.node("EasyCache", model=s.model, reuse_threshold=0.2, start_percent=0.15, end_percent=0.95, verbose=False)
    s = s.having(model=cached)
    drafts = draft(s, steps=6)
    done, plain = save(s, finish(s, drafts, "0")), save(s, ksampler(s, steps=6))
    history = comfy.run(s.graph)
    assert torch.equal(samples(comfy, history, done), samples(comfy, history, plain))


@pytest.mark.parametrize("point", [0.0, 1.0])
def test_drafts_at_the_ends_of_the_schedule(comfy: Server, point: float) -> None:
    s = scene("flow")
    done, plain = save(s, finish(s, draft(s, point=point), "0")), save(s, ksampler(s))
    history = comfy.run(s.graph)
    assert torch.equal(samples(comfy, history, done), samples(comfy, history, plain))


def test_masks_and_other_latents(comfy: Server) -> None:
    s = scene("video", scale=1.0)
    done, plain = save(s, finish(s, draft(s, denoise=0.6), "0")), save(s, ksampler(s, denoise=0.6))
    history = comfy.run(s.graph)
    assert torch.equal(samples(comfy, history, done), samples(comfy, history, plain))


def test_wrong_numbers_are_one_sentence_and_a_cancel_leaves_nothing(comfy: Server) -> None:
    s = scene("flow", salt=92)
    drafts = draft(s)
    save(s, finish(s, drafts, "0,3"))
    with pytest.raises(PromptFailed, match="chosen must be numbers from 0 to 2 with commas between, got '0,3'"):
        comfy.run(s.graph)
    s = scene("flow", salt=93)
    broken = s.having(model=s.graph.node("UQTest_CancelAtCall", model=s.model, call=3))
    save(s, finish(s, draft(broken)))
    with pytest.raises(PromptInterrupted):
        comfy.run(s.graph)
    s = scene("flow", salt=93)
    done, plain = save(s, finish(s, draft(s), "0")), save(s, ksampler(s))
    history = comfy.run(s.graph)
    assert torch.equal(samples(comfy, history, done), samples(comfy, history, plain))


def test_an_early_stop_is_learned_from_labelled_drafts(comfy: Server) -> None:
    """Best of N and Sample Until Accepted end the same candidates by it, and what goes on is KSampler's."""
    s = scene("flow")
    drafts = draft(s, candidates=16, seed=500)
    scored = save_uncertainty(s, drafts[2])
    scores = comfy.value(comfy.run(s.graph), scored)[0]["scores"]
    order = sorted(range(16), key=scores.__getitem__)
    labels = {"accepted_indexes": ",".join(map(str, order[:8])), "rejected_indexes": ",".join(map(str, order[8:]))}
    learned = s.graph.node("UQ_Calibrate", uncertainty=drafts[2], name="", **labels)
    searched = best_of(s, candidates=6, keep=6, mode="stop", calibration=learned, limit=50.0, scorer="denoised")
    report, seeds = value(s, searched[2]), value(s, searched[3])
    tried = until(s, early_calibration=learned, early_limit=50.0, rule="threshold", value=0.0, wanted=6, max_attempts=6)
    kept, told, drawn = save(s, tried), value(s, tried[4]), value(s, tried[5])
    history = comfy.run(s.graph)
    text, going = values(comfy, history, report)[0], values(comfy, history, seeds)
    assert "log odds of a bad image" in text and 0 < len(going) < 6, text
    assert sorted(values(comfy, history, drawn)) == sorted(going)
    assert f"{6 - len(going)} images looked hopeless on their way and were not finished." in values(comfy, history, told)[0]
    plain = [save(s, ksampler(s, seed=seed)) for seed in values(comfy, history, drawn)]
    again = comfy.run(s.graph)
    assert torch.equal(samples(comfy, history, kept), torch.cat([samples(comfy, again, each) for each in plain]))


def test_an_early_stop_of_another_run_is_one_sentence(comfy: Server) -> None:
    s = scene("flow")
    learned = s.graph.node("UQ_Calibrate", uncertainty=draft(s)[2], name="")
    save(s, until(s, early_calibration=learned, steps=6, rule="threshold", value=0.0))
    with pytest.raises(PromptFailed, match="made with steps '4', but scores made with steps '6'"):
        comfy.run(s.graph)


def test_a_run_all_of_which_is_stopped_skips_what_is_behind_it(comfy: Server) -> None:
    s = scene("flow")
    learned = s.graph.node("UQ_Calibrate", uncertainty=draft(s, seed=500)[2], name="")
    tried = until(s, early_calibration=learned, early_limit=0.0, rule="threshold", value=0.0, max_attempts=1, seed=77)
    told, kept = value(s, tried[4]), save(s, tried)
    history = comfy.run(s.graph)
    assert "1 images looked hopeless" in values(comfy, history, told)[0] and str(kept) not in history.outputs
