"""Sample Until Accepted in a real ComfyUI: its attempts are KSampler's, its verdicts the filter's, and it always gives the best."""

from __future__ import annotations

import pytest
import torch

from comfy_client import PromptFailed, PromptInterrupted, PromptRefused
from comfy_events import Events
from comfy_scenes import ksampler, scene
from comfy_searches import until, value, values, wires
from comfy_server import Server
from comfy_uncertainty import SAMPLING, read, record, samples, save, save_uncertainty
from uncertainty_nodes.core.search.seeds import derive_seed

NEVER = {"rule": "threshold", "value": 0.0}  # the spread of predictions is above 0 always
ALWAYS = {"rule": "threshold", "value": 1e9}
NEVER_BY = {"trajectory": NEVER, "condition_gap": ALWAYS}  # of the gap low is bad


def test_the_first_attempt_is_ksampler_and_is_enough_where_everything_passes(comfy: Server) -> None:
    s = scene("flow", batch=2)
    node = until(s, wanted=2, **ALWAYS)
    kept, plain = save(s, node), save(s, ksampler(s))
    rest = [value(s, node[i]) for i in (2, 3, 5)]
    history = comfy.run(s.graph)
    assert torch.equal(samples(comfy, history, kept), samples(comfy, history, plain))
    assert [values(comfy, history, each) for each in rest] == [[1], [True], [1, 1]]


def test_nothing_accepted_gives_the_best_of_all_attempts(comfy: Server) -> None:
    s = scene("flow")
    counted = s.graph.node("UQTest_CountCalls", model=s.model)
    node = until(s.having(model=counted), max_attempts=3, **NEVER)
    calls = s.graph.node("UQTest_ReadCalls", calls=counted[1], after=node)
    kept, found, report = save(s, node), save_uncertainty(s, node[1]), value(s, node[4])
    rest = [value(s, node[i]) for i in (2, 3, 5)]
    plain = [save(s, ksampler(s, seed=derive_seed(1, i))) for i in range(3)]
    history = comfy.run(s.graph)
    attempts, accepted, (seed,) = (values(comfy, history, each) for each in rest)
    assert (attempts, accepted) == ([3], [False])
    number = [derive_seed(1, i) for i in range(3)].index(seed)
    assert torch.equal(samples(comfy, history, kept), samples(comfy, history, plain[number]))
    text = values(comfy, history, report)[0]
    assert text.startswith("0 accepted of 1 wanted, after 3 attempts.") and text.count("Rejected: score") == 3
    scores = [float(line.split("score ")[1].split(",")[0]) for line in text.splitlines() if "score " in line]
    assert comfy.value(history, found)[0]["scores"][0] == pytest.approx(min(scores), rel=1e-3)
    rows = sum(history.outputs[str(calls)]["all_rows"])
    assert rows == int(text.split("Network passes: ")[1].strip(".")) == 3 * (4 * 2 + 2 * 2)


def test_it_goes_on_until_as_many_as_wanted_are_good(comfy: Server) -> None:
    s = scene("flow")
    scored = [save_uncertainty(s, until(s, seed=derive_seed(1, i), max_attempts=1, **NEVER)[1]) for i in range(4)]
    history = comfy.run(s.graph)
    scores = [comfy.value(history, each)[0]["scores"][0] for each in scored]
    limit = sorted(scores)[1] * 1.0001
    good = [i for i, score in enumerate(scores) if score <= limit]
    node = until(s, rule="threshold", value=limit, wanted=2)
    attempts, seeds, accepted = value(s, node[2]), value(s, node[5]), value(s, node[3])
    history = comfy.run(s.graph)
    assert values(comfy, history, seeds) == [derive_seed(1, i) for i in good]
    assert values(comfy, history, attempts) == [good[-1] + 1] and values(comfy, history, accepted) == [True]


@pytest.mark.parametrize("scorer", ["information", "noise"])
def test_a_calibration_of_the_estimator_nodes_judges_here_too(comfy: Server, scorer: str) -> None:
    s = scene("flow", batch=3)
    drawn = ksampler(s)
    if scorer == "information":
        options = {"samples": 2, "start_percent": 0.4, "end_percent": 0.6, "levels": 2, "seed": 0}
        wires = {"model": s.model, "positive": s.positive, "negative": s.negative, "latent": drawn}
        scored = s.graph.node("UQ_PromptInformation", **wires, **options)
    else:
        options = {"samples": 2, "start_percent": 0.6, "end_percent": 0.75, "levels": 2, "quantity": scorer, "seed": 0, "cfg": 1.0}
        scored = s.graph.node("UQ_UncertaintyEstimator", model=s.model, positive=s.positive, latent=drawn, **options)
    calibration = s.graph.node("UQ_Calibrate", uncertainty=scored[1], name="")
    node = until(s, scorer=scorer, calibration=calibration, rule="calibrated", value=0.0, max_attempts=1)
    before, found, seeds = save_uncertainty(s, scored[1]), save_uncertainty(s, node[1]), value(s, node[3])
    history = comfy.run(s.graph)
    scores = comfy.value(history, before)[0]["scores"]
    assert comfy.value(history, found)[0]["scores"] == [max(scores)], "low is bad for both, and only the best passes at 0"
    assert values(comfy, history, seeds) == [True]


def test_the_promise_of_labels_judges_here_too(comfy: Server) -> None:
    s = scene("flow", batch=40, size=4)
    scored = until(s, max_attempts=1, wanted=40, **NEVER)
    labels = {"accepted_indexes": ",".join(map(str, range(36))), "rejected_indexes": "36,37,38,39"}
    calibration = s.graph.node("UQ_Calibrate", uncertainty=scored[1], name="", **labels)
    node = until(s, calibration=calibration, rule="at_most_bad", value=50.0, confidence=80.0, max_attempts=1, wanted=40)
    text, accepted = value(s, node[4]), save(s, node)
    history = comfy.run(s.graph)
    assert "the limit for at most 50 % bad, 80 % sure from 40 labels" in values(comfy, history, text)[0]
    assert len(samples(comfy, history, accepted)) == 40


def test_another_quantity_than_the_calibrations_is_one_sentence(comfy: Server) -> None:
    s = scene("flow", batch=2)
    scored = until(s, max_attempts=1, **ALWAYS)
    calibration = s.graph.node("UQ_Calibrate", uncertainty=scored[1], name="")
    save(s, until(s, scorer="noise", calibration=calibration, rule="calibrated", value=50.0))
    with pytest.raises(PromptFailed, match="This calibration holds 'denoised' scores"):
        comfy.run(s.graph)


def test_rounds_of_a_loop_carry_the_best_and_cost_nothing_once_enough_is_good(comfy: Server) -> None:
    """As a loop unrolls them. What is wired to a round that isn't needed doesn't run: here a latent that fails."""
    s = scene("flow")
    counted = s.graph.node("UQTest_CountCalls", model=s.graph.node("UQTest_Wait", model=s.model, seconds=0.001))  # a count of its own
    watched = s.having(model=counted)
    first = until(watched, max_attempts=1, **NEVER)
    second = until(watched, max_attempts=1, seed=2, enough=first[3], previous=first, previous_uncertainty=first[1], **ALWAYS)
    failing = s.having(model=s.graph.node("UQTest_RaiseAtCall", model=counted, call=1))
    third = until(failing, max_attempts=1, seed=3, enough=second[3], previous=second, previous_uncertainty=second[1], **NEVER)
    calls = s.graph.node("UQTest_ReadCalls", calls=counted[1], after=third)
    kept, attempts = [save(s, node) for node in (first, second, third)], [value(s, node[2]) for node in (first, second, third)]
    accepted = value(s, third[3])
    history = comfy.run(s.graph)
    images = [samples(comfy, history, each) for each in kept]
    assert torch.equal(images[0], images[1]) and torch.equal(images[1], images[2]), "under the second rule the carried image passes"
    assert [values(comfy, history, each) for each in attempts] == [[1], [0], [0]] and values(comfy, history, accepted) == [True]
    assert sum(history.outputs[str(calls)]["all_rows"]) == 4 * 2 + 2 * 2


def test_rounds_that_carry_one_value_are_one_run(comfy: Server) -> None:
    """As the core's loop unrolls them; the last round would fail if it sampled."""
    s = scene("flow", batch=2)
    scored = [save_uncertainty(s, until(s, seed=derive_seed(1, i), max_attempts=1, **NEVER)[1]) for i in range(3)]
    history = comfy.run(s.graph)
    scores = [min(comfy.value(history, each)[0]["scores"]) for each in scored]
    rule = {"rule": "threshold", "value": scores[2] * 1.0001 if scores[2] < min(scores[:2]) else min(scores[:2]) * 1.0001}
    whole = until(s, max_attempts=3, **rule)
    rounds = [until(s, max_attempts=1, **rule)]
    for _ in range(2):
        rounds.append(until(s, max_attempts=1, so_far=rounds[-1][6], **rule))
    failing = s.having(model=s.graph.node("UQTest_RaiseAtCall", model=s.model, call=1))
    rounds.append(until(failing, max_attempts=1, so_far=rounds[-1][6], **rule))
    kept = [save(s, node) for node in (whole, *rounds[-2:])]
    rest = [[value(s, node[i]) for i in (2, 3, 4, 5)] for node in (whole, *rounds[-2:])]
    history = comfy.run(s.graph)
    images = [samples(comfy, history, each) for each in kept]
    assert torch.equal(images[0], images[1]) and torch.equal(images[0], images[2])
    told = [[values(comfy, history, each) for each in nodes] for nodes in rest]
    assert told[0] == told[1] == told[2] and told[0][1] == [True]


def test_masks_and_places_go_with_their_images(comfy: Server) -> None:
    s = scene("flow", batch=2, scale=1.0)
    mask = s.graph.node("SolidMask", value=0.0, width=64, height=64)
    s = s.having(latent=s.graph.node("SetLatentNoiseMask", samples=s.latent, mask=mask))
    node = until(s, wanted=3, max_attempts=2, denoise=0.6, **ALWAYS)
    kept, given = save(s, node), save(s, s.latent)
    history = comfy.run(s.graph)
    saved, images = comfy.latent(history, kept), samples(comfy, history, given)
    torch.testing.assert_close(saved["samples"], images[[0, 1, 0]], rtol=1e-4, atol=1e-4)
    assert saved["batch_index"].tolist() == [0, 1, 0]


@pytest.mark.parametrize("family", ["eps", "flux", "video"])
def test_other_latents(comfy: Server, family: str) -> None:
    s = scene(family)
    node = until(s, wanted=2, **ALWAYS)
    kept, attempts = save(s, node), value(s, node[2])
    history = comfy.run(s.graph)
    assert len(samples(comfy, history, kept)) == 2 and values(comfy, history, attempts) == [2]


def test_cancel_and_progress(comfy: Server) -> None:
    s = scene("flow", salt=41)
    broken = s.having(model=s.graph.node("UQTest_CancelAtCall", model=s.model, call=3))
    save(s, until(broken, **NEVER))
    with pytest.raises(PromptInterrupted):
        comfy.run(s.graph)
    s = scene("flow", salt=42)
    save(s, until(s, max_attempts=2, **NEVER))
    with Events(comfy) as events:
        comfy.run(s.graph, client_id=events.client_id)
        events.wait_for("execution_success")
    told = [p["value"] for p in events.of("progress") if p["max"] == 8]
    assert told == sorted(told) and told[-1] == 8 and events.previews


REFUSED = {
    "rule": ({"rule": "keep_best_count"}, "rule"),
    "percent": ({"rule": "threshold", "value": 1.0, "wanted": 0}, "wanted"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_options_are_refused_before_sampling(comfy: Server, case: str) -> None:
    options, name = REFUSED[case]
    s = scene("flow")
    save(s, until(s, **{**ALWAYS, **options}))
    with pytest.raises(PromptRefused, match=name):
        comfy.run(s.graph)


def test_what_is_missing_is_one_sentence(comfy: Server) -> None:
    for options, sentence in (
        ({"rule": "calibrated", "value": 50.0}, "needs a calibration"),
        ({"scorer": "information", "samples": 3}, "even"),
    ):
        s = scene("flow")
        save(s, until(s, **{**ALWAYS, **options}))
        with pytest.raises(PromptFailed, match=sentence):
            comfy.run(s.graph)


DRAFT = {"point": 0.5, "scorer": "denoised", "samples": 2, "micro_batch": 1}
FREE_WINDOW = {"trajectory": (0.5, 1.0), "condition_gap": (0.0, 0.35)}


@pytest.mark.parametrize("scorer", FREE_WINDOW)
@pytest.mark.parametrize("sampler", ["euler", "euler_ancestral", "heun"])
def test_a_free_score_is_what_record_uncertainty_reads_and_costs_nothing(comfy: Server, scorer: str, sampler: str) -> None:
    s = scene("flow", batch=2)
    options = {"sampler_name": sampler, "steps": 6}
    own = 0.002 + len(scorer) / 1e5 + len(sampler) / 1e7  # else the cache would hand out one count for all
    counted = s.graph.node("UQTest_CountCalls", model=s.graph.node("UQTest_Wait", model=s.model, seconds=own))
    node = until(s.having(model=counted), scorer=scorer, max_attempts=2, wanted=4, **options, **NEVER_BY[scorer])
    calls = s.graph.node("UQTest_ReadCalls", calls=counted[1], after=node)
    kept, found, seeds, told = save(s, node), save_uncertainty(s, node[1]), value(s, node[5]), value(s, node[4])
    start, end = FREE_WINDOW[scorer]
    watched, patch = record(s, quantity=scorer, start_percent=start, end_percent=end)
    plain = [ksampler(watched, sampler, steps=6, seed=derive_seed(1, i)) for i in range(2)]
    images, scores = [save(s, each) for each in plain], [read(s, each, patch) for each in plain]
    history = comfy.run(s.graph)
    told_scores = comfy.value(history, found)[0]
    bad = told_scores["direction"] == "high_is_bad"
    each = [comfy.value(history, one)[0]["scores"] for one in scores]
    places = sorted(((score if bad else -score), i, k) for i, pair in enumerate(each) for k, score in enumerate(pair))
    assert told_scores["quantity"] == scorer and told_scores["nfe"] == 0 and bad == (scorer == "trajectory")
    assert told_scores["scores"] == [each[i][k] for _, i, k in places], "the best of the others first"
    assert values(comfy, history, seeds) == [derive_seed(1, i) for _, i, _ in places]
    whole = [samples(comfy, history, one) for one in images]
    assert torch.equal(samples(comfy, history, kept), torch.stack([whole[i][k] for _, i, k in places]))
    rows, evaluations = sum(history.outputs[str(calls)]["all_rows"]), 11 if sampler == "heun" else 6
    assert rows == 2 * 2 * 2 * evaluations and values(comfy, history, told)[0].endswith(f"Network passes: {rows}.")


@pytest.mark.parametrize("scorer", FREE_WINDOW)
def test_a_calibration_of_recorded_runs_judges_free_scores(comfy: Server, scorer: str) -> None:
    s = scene("flow", batch=3)
    start, end = FREE_WINDOW[scorer]
    watched, patch = record(s, quantity=scorer, start_percent=start, end_percent=end)
    earlier = s.graph.node("UQ_ReadUncertainty", latent=ksampler(watched, steps=6), record=patch[1])
    calibration = s.graph.node("UQ_Calibrate", uncertainty=earlier[1], name="")
    node = until(s, scorer=scorer, steps=6, calibration=calibration, rule="calibrated", value=0.0, max_attempts=1)
    before, found, accepted = save_uncertainty(s, earlier[1]), save_uncertainty(s, node[1]), value(s, node[3])
    history = comfy.run(s.graph)
    scores = comfy.value(history, before)[0]["scores"]
    best = min(scores) if scorer == "trajectory" else max(scores)
    assert comfy.value(history, found)[0]["scores"] == [best] and values(comfy, history, accepted) == [True]
    save(s, until(s, scorer=scorer, steps=5, calibration=calibration, rule="calibrated", value=0.0))
    with pytest.raises(PromptFailed, match="made with steps '6', but scores made with steps '5'"):
        comfy.run(s.graph)


@pytest.mark.parametrize("scorer", FREE_WINDOW)
def test_an_early_end_leaves_a_free_score_as_it_is(comfy: Server, scorer: str) -> None:
    """At a limit of 100 % every attempt but one beyond all earlier scores goes on; its score is that of the whole run."""
    s = scene("flow", scale=1.0)
    mask = s.graph.node("SolidMask", value=0.5, width=64, height=64)
    s = s.having(latent=s.graph.node("SetLatentNoiseMask", samples=s.latent, mask=mask))
    options = {"scorer": scorer, "steps": 6, "max_attempts": 3, "wanted": 3, **NEVER_BY[scorer]}
    drafts = s.graph.node(
        "UQ_DraftCandidates", **wires(s), **SAMPLING | {"steps": 6}, candidates=3, point=0.5, scorer="denoised", samples=2, micro_batch=1
    )
    learned = s.graph.node("UQ_Calibrate", uncertainty=drafts[2], name="")
    nodes = [until(s, **options), until(s, early_calibration=learned, early_limit=100.0, **options)]
    found, kept = [save_uncertainty(s, node[1]) for node in nodes], [save(s, node) for node in nodes]
    history = comfy.run(s.graph)
    plain, early = (comfy.value(history, each)[0] for each in found)
    assert early["scores"] == pytest.approx(plain["scores"], rel=1e-5)
    assert {name: early[name] for name in ("quantity", "direction", "nfe")} == {
        name: plain[name] for name in ("quantity", "direction", "nfe")
    }
    assert early["provenance"] == plain["provenance"]
    assert torch.equal(*(samples(comfy, history, each) for each in kept))


@pytest.mark.parametrize("early", [False, True])
def test_each_seed_that_is_told_draws_its_images_again(comfy: Server, early: bool) -> None:
    """Of a whole attempt; where attempts end early, each image alone."""
    s = scene("flow", batch=2)
    latent = s.graph.node("UQTest_BatchIndex", latent=s.latent, indexes="3,1")
    s = s.having(latent=latent)
    options = {"sampler_name": "euler_ancestral", "max_attempts": 3, "wanted": 6, **NEVER}
    if early:
        drafts = s.graph.node(
            "UQ_DraftCandidates", **wires(s), **SAMPLING | {"seed": 50, "sampler_name": "euler_ancestral"}, candidates=8, **DRAFT
        )
        options |= {"early_calibration": s.graph.node("UQ_Calibrate", uncertainty=drafts[2], name=""), "early_limit": 50.0}
    node = until(s, **options)
    kept, seeds, report = save(s, node), value(s, node[5]), value(s, node[4])
    history = comfy.run(s.graph)
    saved, told, plain = comfy.latent(history, kept), values(comfy, history, seeds), []
    text = values(comfy, history, report)[0]
    assert (len(told) < 6) == early
    for index, seed in zip(saved["batch_index"].tolist(), told, strict=True):
        place = [3, 1].index(index)
        assert f"seed {seed}, image {place + 1}: " in text
        one = s.having(latent=s.graph.node("LatentFromBatch", samples=latent, batch_index=place, length=1)) if early else s
        plain.append((0 if early else place, save(s, ksampler(one, "euler_ancestral", seed=seed))))
    history = comfy.run(s.graph)
    assert torch.equal(saved["samples"], torch.stack([samples(comfy, history, each)[place] for place, each in plain]))


def test_what_a_run_cannot_tell_is_refused_before_it_is_sampled(comfy: Server) -> None:
    for options, sentence in (
        ({"scorer": "condition_gap", "cfg": 1.0}, "There is no condition gap: it compares the predictions with and without the prompt"),
        ({"scorer": "trajectory", "steps": 1}, "trajectory needs 2 of the sampling's steps between 0.5 and 1 .*Raise steps or denoise"),
        ({"scorer": "condition_gap", "denoise": 0.3}, "condition_gap needs 1 of the sampling's steps between 0 and 0.35"),
    ):
        s = scene("flow", scale=1.0)
        failing = s.having(model=s.graph.node("UQTest_RaiseAtCall", model=s.model, call=1))
        save(s, until(failing, **{**ALWAYS, **options}))
        with pytest.raises(PromptFailed, match=sentence):
            comfy.run(s.graph)
