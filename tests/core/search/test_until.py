"""Until good: seeds, verdicts and what is kept, against the filter's own decisions."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from uncertainty_nodes.core.options import Direction, FilterRule, UntilOptions, limits
from uncertainty_nodes.core.result import Uncertainty
from uncertainty_nodes.core.search.seeds import derive_seed
from uncertainty_nodes.core.search.until import Until
from uncertainty_nodes.core.selection import calibration
from uncertainty_nodes.core.selection.calibration import Calibration
from uncertainty_nodes.core.selection.filtering import decide
from uncertainty_nodes.core.selection.risk import risk_limit


def result(*scores: float, direction: Direction = Direction.LOW_IS_BAD, quantity: str = "information") -> Uncertainty:
    values = torch.tensor(scores)
    return Uncertainty(torch.zeros(len(scores), 1, 2, 2), values, values[None], torch.ones(1), direction, quantity, 4.0, 0.1)


def threshold(value: float, **more) -> UntilOptions:
    return UntilOptions(rule=FilterRule.THRESHOLD, value=value, **more)


def test_seeds_are_distinct_repeatable_and_start_with_the_given_one():
    for seed in (0, 1, 2**53 - 1, limits.MAX_SEED):
        seeds = [derive_seed(seed, i) for i in range(2000)]
        assert seeds[0] == seed
        assert len(set(seeds)) == 2000
        assert all(0 <= s < 2**53 for s in seeds[1:])
        assert seeds == [derive_seed(seed, i) for i in range(2000)]
    many = [derive_seed(seed, i) for seed in range(200) for i in range(50)]
    assert len(set(many)) == len(many)  # a queue that counts its seeds up never draws the same image twice
    assert derive_seed(0, 1) == 1348624685307472  # for ever: people note seeds down
    with pytest.raises(ValueError, match="seed must be between 0"):
        derive_seed(-1, 0)


def test_attempts_end_when_enough_are_accepted():
    run = Until(threshold(5.0, wanted=2, seed=9))
    seeds = []
    for scores in ((1.0, 2.0), (6.0, 3.0), (7.0, 8.0), (9.0,)):
        if run.done:
            break
        seeds.append(run.seed)
        run.offer(result(*scores), nfe=40.0)
    assert (run.attempts, run.accepted, run.succeeded) == (3, 3, True)
    assert seeds == [derive_seed(9, i) for i in range(3)]
    assert [(v.attempt, v.index, v.score) for v in run.best()] == [(1, 0, 6.0), (2, 0, 7.0)]
    assert run.nfe == 3 * 40 + 6 * 4
    with pytest.raises(ValueError, match="ended after 3 attempts with 3 accepted"):
        run.offer(result(9.0))


def test_the_best_so_far_is_kept_when_nothing_is_accepted():
    run = Until(threshold(5.0, wanted=2, max_attempts=3))
    for score in (2.0, math.nan, 4.0):
        run.offer(result(score))
    assert run.done and not run.succeeded
    assert [(v.attempt, v.accepted) for v in run.best()] == [(2, False), (0, False)]
    assert "below the threshold" in run.best()[0].reason
    broken = Until(threshold(5.0, max_attempts=1))
    broken.offer(result(math.nan))
    assert broken.best()[0].attempt == 0


@pytest.mark.parametrize("direction", Direction)
def test_verdicts_are_the_filters_own(direction):
    history = Calibration.fit([torch.arange(100.0)], direction, "information")
    run = Until(UntilOptions(value=30.0, wanted=99), history)
    values = (5.0, 31.0, 80.0, math.nan, 69.3)
    verdicts = run.offer(result(*values, direction=direction))
    expected = decide(torch.tensor(values), direction, FilterRule.CALIBRATED, 30.0, history, quantity="information")
    assert tuple(v.index for v in verdicts if v.accepted) == expected.accepted
    assert tuple(v.reason for v in verdicts) == expected.reasons
    worst_first = sorted((v for v in verdicts if math.isfinite(v.score)), key=lambda v: -v.badness)
    assert worst_first[0].score == (5.0 if direction is Direction.LOW_IS_BAD else 80.0)


@pytest.mark.parametrize("direction", Direction)
@pytest.mark.parametrize("confidence", [80.0, 99.0])
def test_labelled_images_decide_as_in_the_filter(direction, confidence):
    badness = torch.linspace(0, 1, 200, dtype=torch.float64)
    scores = badness if direction is Direction.HIGH_IS_BAD else -badness
    history = Calibration.fit([scores], direction, "information").label(scores, badness > 0.8)
    run = Until(UntilOptions(wanted=9, rule=FilterRule.AT_MOST_BAD, value=10.0, confidence=confidence), history)
    verdicts = run.offer(result(*scores[::10].tolist(), direction=direction))
    limit = history.risk_threshold(10.0, confidence)
    assert run.limit == limit and [v.accepted for v in verdicts] == [abs(v.score) <= abs(np.float32(limit)) for v in verdicts]
    assert 0 < run.accepted < len(verdicts) and f"{confidence:g} % sure from 200 labels" in verdicts[0].reason


def test_refusals():
    with pytest.raises(ValueError, match="percent of bad images. must be between 0.1"):
        UntilOptions(rule=FilterRule.AT_MOST_BAD, value=95.0)
    with pytest.raises(ValueError, match="confidence must be between 50"):
        UntilOptions(rule=FilterRule.AT_MOST_BAD, value=5.0, confidence=10.0)
    with pytest.raises(ValueError, match="'keep_best_count' compares images of one batch"):
        UntilOptions(rule=FilterRule.KEEP_BEST_COUNT)
    with pytest.raises(ValueError, match="needs a calibration"):
        Until(UntilOptions())
    with pytest.raises(ValueError, match="'at_most_bad' needs a calibration, the scores of images that you called good or bad"):
        Until(UntilOptions(rule=FilterRule.AT_MOST_BAD, value=5.0))
    with pytest.raises(ValueError, match="max_attempts must be between 1"):
        UntilOptions(max_attempts=0)


def test_images_of_an_earlier_run_count_but_are_no_attempt():
    run = Until(threshold(1.0, wanted=2, max_attempts=3))
    assert [v.accepted for v in run.carry(result(2.0, 0.5))] == [True, False]
    assert (run.accepted, run.attempts, run.done, run.seed) == (1, 0, False, 0)
    run.offer(result(0.7))
    assert [(v.attempt, v.score) for v in run.best()] == [(-1, 2.0), (0, pytest.approx(0.7))]
    assert Until(threshold(1.0)).carry(result(3.0))[0].seed == -1
    done = Until(threshold(1.0))
    done.carry(result(3.0))
    assert done.done and done.succeeded


def test_rounds_that_go_on_are_one_run():
    scores = (2.0, 6.0, 1.0, 7.0, 9.0)
    whole = Until(threshold(5.0, wanted=2, max_attempts=5, seed=3))
    rounds = Until(threshold(5.0, wanted=2, max_attempts=1, seed=3))
    for number, score in enumerate(scores):
        if number:
            before = rounds
            rounds = rounds.go_on(threshold(5.0, wanted=2, max_attempts=1, seed=3))
            assert len(before.verdicts) == before.attempts == number, "the round before stays as it was"
        if not whole.done:
            assert rounds.seed == whole.seed
            whole.offer(result(score), nfe=1.0)
            rounds.offer(result(score), nfe=1.0)
    assert rounds.done and (rounds.verdicts, rounds.best(), rounds.nfe) == (whole.verdicts, whole.best(), whole.nfe)
    with pytest.raises(ValueError, match="wanted must be 2 as in the rounds before, got 3"):
        rounds.go_on(threshold(5.0, wanted=3))


def test_scores_made_in_another_way_than_the_calibrations_are_refused():
    history = Calibration.fit([torch.arange(9.0)], Direction.LOW_IS_BAD, "information", [{"model": "one", "steps": "20"}])
    Until(UntilOptions(value=50.0), history, settings={"steps": "20"}).offer(result(5.0))
    with pytest.raises(ValueError, match="made with steps '20', but scores made with steps '30'"):
        Until(UntilOptions(value=50.0), history, settings={"steps": "30"}).offer(result(5.0))
    with pytest.raises(ValueError, match="model 'one', but scores made with model 'two'"):
        Until(UntilOptions(value=50.0), history).offer(replace(result(5.0), provenance={"model": "two"}))


def test_a_long_run_works_the_limit_of_its_labels_out_once(monkeypatch):
    scores = torch.arange(300.0)
    history = Calibration.fit([scores], Direction.LOW_IS_BAD, "information").label(scores, scores < 100)
    asked = []
    monkeypatch.setattr(calibration, "risk_limit", lambda *given: asked.append(given[2:]) or risk_limit(*given))
    run = Until(UntilOptions(wanted=9, rule=FilterRule.AT_MOST_BAD, value=5.0, max_attempts=9), history)
    for _ in range(5):
        run.offer(result(1.0))
    again = replace(history, bad=~history.bad)
    assert asked == [(0.05, 0.95)] and again.risk(5.0, 95.0) != history.risk(5.0, 95.0)


def test_labels_set_the_limit_as_in_the_filter():
    scores = torch.arange(300.0)
    history = Calibration.fit([scores], Direction.LOW_IS_BAD, "information").label(scores, scores < 100)
    run = Until(UntilOptions(rule=FilterRule.AT_MOST_BAD, value=5.0, confidence=90.0, max_attempts=4), history)
    expected = history.risk_threshold(5.0, 90.0)
    assert run.limit == expected and 50 < expected < 150
    run.offer(result(expected - 1, expected))
    assert [v.accepted for v in run.verdicts] == [False, True]
    with pytest.raises(ValueError, match="too few to promise"):
        Until(UntilOptions(rule=FilterRule.AT_MOST_BAD, value=0.5), history).offer(result(1.0))
    with pytest.raises(ValueError, match=r"value \(percent of bad images\) must be between 0.1 and 90"):
        UntilOptions(rule=FilterRule.AT_MOST_BAD, value=95.0)
