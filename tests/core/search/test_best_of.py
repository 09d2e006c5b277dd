"""Which candidates go on: against naive loops over sorted scores, and what a search counts."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
import torch

from uncertainty_nodes.core.options import BestOfOptions, Direction, Scorer, SearchMode
from uncertainty_nodes.core.search.best_of import Search
from uncertainty_nodes.core.search.scoring import Scores
from uncertainty_nodes.core.search.stopping import quantity_at, stop_options
from uncertainty_nodes.core.selection.calibration import Calibration

NAN = math.nan


def percent_to_sigma(percent: float) -> float:
    return 10 * (1 - percent)


def search(*calibrations: Calibration, **options: Any) -> Search:
    return Search(BestOfOptions(**options), percent_to_sigma, calibrations)


def scores(*values: float, rows: int = 0, **others: Any) -> Scores:
    return Scores({Scorer.INFORMATION: torch.tensor(values), **{Scorer(k): torch.tensor(v) for k, v in others.items()}}, rows)


def naive_halving(table: list[list[float]], fractions: list[float], keep: int) -> list[int]:
    """table[point][candidate], high = good."""
    alive = list(range(len(table[0])))
    for values, fraction in zip(table, fractions, strict=True):
        count = max(keep, -int(-len(alive) * fraction // 1))
        alive = sorted(sorted(alive, key=lambda c: (-values[c], c))[:count])
    return alive


@pytest.mark.parametrize("seed", range(20))
def test_successive_halving_is_a_sort_and_a_cut_at_each_point(seed):
    draw = random.Random(seed)
    count, points = draw.choice([1, 2, 5, 8, 17]), (0.25, 0.5, 0.75)
    fractions, keep = tuple(draw.choice([0.0, 0.25, 0.5, 0.75, 1.0]) for _ in points), draw.randint(1, count)
    table = [[draw.choice([0.0, 1.0, draw.random()]) for _ in range(count)] for _ in points]
    run = search(candidates=count, keep=keep, points=points, fractions=fractions)
    for point, values in zip(points, table, strict=True):
        sigma = percent_to_sigma(point)
        if run.due(sigma):
            run.select(scores(*(values[row] for row in run.rows)), sigma)
    assert list(run.rows) == naive_halving(table, list(fractions), keep)
    assert not any(run.due(s) for s in (5.0, 1.0, 0.1))


def test_a_point_is_due_once_at_the_first_step_that_passed_it():
    run = search(candidates=4, points=(0.5,), fractions=(0.5,))
    assert [run.due(s) for s in (10.0, 5.01, 5.00001, 4.0)] == [False, False, True, True]
    found = run.select(scores(1, 4, 3, 2, rows=16), 4.0)
    assert (found.percent, found.sigma, found.compared, found.rows, found.sources) == (0.5, 4.0, (0, 1, 2, 3), (1, 2), (1, 2))
    assert found.reasons[0].startswith("Rejected: ") and found.reasons[1].startswith("Accepted: ")
    assert not run.due(0.1)
    assert run.needs_final_scores
    assert run.finish(scores(7, 9, rows=8)) == (2,)
    assert run.scoring_rows == 24
    assert [r.percent for r in run.rounds] == [0.5, 1.0]


@pytest.mark.parametrize("scorer", [Scorer.INFORMATION, Scorer.DENOISED])
def test_reasons_tell_the_score_as_it_is_whatever_its_direction(scorer):
    run = search(candidates=2, points=(0.5,), fractions=(0.5,), scorer=scorer)
    low, high = run.select(Scores({scorer: torch.tensor([0.25, 4.0])}), 5.0).reasons
    assert "score 0.25, rank" in low and "score 4, rank" in high
    assert high.startswith("Accepted: " if scorer is Scorer.INFORMATION else "Rejected: ")


def test_reasons_of_two_scorers_tell_the_ranks_joined():
    run = search(candidates=2, points=(0.5,), fractions=(0.5,), second=Scorer.DENOISED)
    assert "joined rank 1, rank 2 of 2" in run.select(scores(0.25, 4.0, denoised=[2.0, 1.0]), 5.0).reasons[0]


def test_points_that_share_a_step_are_compared_once_and_each_takes_its_fraction():
    run = search(candidates=8, points=(0.2, 0.5, 0.6), fractions=(0.5, 0.5, 0.5))
    run.select(scores(*range(8)), 4.0)
    assert run.rows == (7,)
    assert len(run.rounds) == 1


def test_what_is_not_a_number_goes_first():
    run = search(candidates=4, points=(0.5,), fractions=(0.75,))
    assert run.select(scores(NAN, 1, math.inf, 2), 5.0).rows == (1, 3)
    assert run.finish(scores(NAN, 0)) == (3,)


def test_without_any_number_the_first_go_on():
    run = search(candidates=3, points=(0.5,), fractions=(0.5,))
    found = run.select(scores(NAN, NAN, NAN), 5.0)
    assert found.rows == (0, 1)
    assert "No candidate has a score" in found.reasons[0]
    assert run.finish(scores(NAN, NAN)) == (0,)


@pytest.mark.parametrize("options", [{"candidates": 1}, {"candidates": 3, "keep": 3}, {"candidates": 3, "fractions": (1.0,)}])
def test_nothing_is_compared_where_nothing_can_be_cut(options):
    run = search(**options)
    assert not run.due(0.1)
    assert run.rows == tuple(range(options["candidates"]))
    if not run.needs_final_scores:
        assert run.finish() == run.rows


def test_all_may_be_compared_where_nothing_is_cut():
    run = search(candidates=2, keep=2, points=(0.5, 0.9), fractions=(1.0, 1.0), always=True)
    assert not run.due(6.0) and run.due(5.0)
    compared = run.select(scores(3, 1, rows=8), 5.0)
    assert compared.rows == compared.compared == (0, 1) and compared.percent == 0.5 and run.scoring_rows == 8
    with pytest.raises(ValueError, match="No step of this run lies as late as 0.9 of the noise schedule"):
        run.finish()
    assert run.due(0.5)
    run.select(scores(2, 1), 0.5)
    assert run.finish() == (0, 1)


def test_the_best_stand_first():
    run = search(candidates=5, keep=3, points=(0.5,), fractions=(0.5,))
    run.select(scores(3, 1, 9, 2, 5), 5.0)
    assert run.rows == (0, 2, 4)
    assert run.finish() == (2, 4, 0)


def test_two_scorers_are_joined_by_rank():
    run = search(candidates=3, points=(0.5,), fractions=(0.3,), second=Scorer.DENOISED)
    found = run.select(scores(1000.0, 999.0, 0.0, denoised=[0.9, 0.1, 0.5]), 5.0)  # ranks 0 + 2, 1 + 0, 2 + 1
    assert found.rows == (1,)


def test_resampling_keeps_the_count_and_tells_where_states_come_from():
    run = search(candidates=6, points=(0.25, 0.5), fractions=(1.0, 0.5), mode=SearchMode.RESAMPLE, sharpness=3.0, seed=5)
    assert run.due(7.5)
    first = run.select(scores(0, 0, 0, 10, 0, NAN), 7.5)
    assert len(first.rows) == 6 and first.sources.count(3) >= 3
    assert 5 not in first.sources
    assert all(source == row for row, source in zip(first.rows, first.sources, strict=True) if row in first.sources)
    assert [run.lineage[row] for row in first.rows] == list(first.sources)
    second = run.select(scores(*range(6)), 5.0)
    assert len(second.rows) == 3
    assert [run.lineage[row] for row in second.rows] == [first.sources[first.rows.index(source)] for source in second.sources]
    again = search(candidates=6, points=(0.25, 0.5), fractions=(1.0, 0.5), mode=SearchMode.RESAMPLE, sharpness=3.0, seed=5)
    assert again.select(scores(0, 0, 0, 10, 0, NAN), 7.5).rows == first.rows


def history(percent: float) -> Calibration:
    return Calibration.fit([torch.arange(101.0)], Direction.LOW_IS_BAD, quantity_at(Scorer.INFORMATION, percent))


def test_stopping_leaves_whatever_a_calibration_calls_hopeless():
    run = search(history(0.5), candidates=4, points=(0.5,), mode=SearchMode.STOP, limit=90.0)
    assert run.due(5.0)
    found = run.select(scores(10, 9.9, 50, NAN), 5.0)
    assert found.rows == (0, 2)
    assert "below the 90 % limit of 101 earlier scores" in found.reasons[1]
    alone = search(history(0.5), candidates=1, points=(0.5,), mode=SearchMode.STOP, limit=90.0)
    alone.select(scores(3.0), 5.0)
    assert alone.rows == () and not alone.due(1.0) and alone.finish() == ()


def test_refusals():
    with pytest.raises(ValueError, match="needs a calibration for each point, got 0 for 1"):
        search(mode=SearchMode.STOP)
    with pytest.raises(ValueError, match="'information at 0.25'.*'information at 0.5'"):
        search(history(0.25), points=(0.5,), mode=SearchMode.STOP)
    with pytest.raises(ValueError, match="one fraction|the fraction that goes on"):
        BestOfOptions(points=(0.5, 0.6))
    with pytest.raises(ValueError, match="points must rise"):
        BestOfOptions(points=(0.5, 0.5), fractions=(0.5, 0.5))
    with pytest.raises(ValueError, match="fractions must be between 0 and 1, got 2"):
        BestOfOptions(fractions=(2,))
    with pytest.raises(ValueError, match="keep must not exceed candidates, got 3 of 2"):
        BestOfOptions(candidates=2, keep=3)
    with pytest.raises(ValueError, match="second must be another scorer"):
        BestOfOptions(second=Scorer.INFORMATION)
    with pytest.raises(ValueError, match="3 candidates are compared, got scores of shape"):
        search(candidates=3).select(scores(1, 2), 5.0)
    with pytest.raises(ValueError, match="2 images are finished and 1 are to be kept"):
        search(candidates=2, points=(), fractions=()).finish()


def labelled(count: int = 400) -> Calibration:
    """Drafts of which those that moved far ended badly, whatever their information was."""
    bad = torch.arange(count) % 4 == 0
    values, moved = torch.linspace(-1, 1, count), torch.where(bad, 9.0, 1.0) * torch.linspace(0.9, 1.1, count)
    return Calibration.fit([values], Direction.LOW_IS_BAD, "information at 0.5").label(values, bad, {"trajectory": moved})


def test_a_learned_stop_reads_the_free_scores_beside_its_own():
    run = search(labelled(), candidates=4, points=(0.5,), mode=SearchMode.STOP, limit=95.0)
    assert run.options.further == run.options.free_scorers == (Scorer.TRAJECTORY,)
    found = run.select(scores(0.0, -0.9, 0.9, 0.0, trajectory=[0.9, 0.9, 9.0, NAN]), 5.0)
    assert found.rows == (0, 1), "the candidate with most information moved as bad ones do"
    assert found.reasons[2].startswith("Rejected: log odds of a bad image ")


def test_a_learned_stop_that_cannot_be_is_a_sentence():
    with pytest.raises(ValueError, match="too few to stop at most 0.5 % of good images"):
        search(labelled(), points=(0.5,), mode=SearchMode.STOP, limit=99.5)
    run = search(labelled(), candidates=2, points=(0.5,), mode=SearchMode.STOP, limit=90.0)
    with pytest.raises(ValueError, match="learned from trajectory too, which this run does not tell"):
        run.select(scores(0.0, 1.0), 5.0)
    made, options = Calibration.fit([torch.arange(5.0)], Direction.LOW_IS_BAD, "information at 0.5", [{"steps": "20"}]), {"points": (0.5,)}
    with pytest.raises(ValueError, match="steps '20', but scores made with steps '6'"):
        Search(BestOfOptions(mode=SearchMode.STOP, **options), percent_to_sigma, [made], {"steps": "6"})


def test_a_calibration_names_its_own_point():
    options = stop_options(labelled(), 90.0, seed=7)
    assert (options.candidates, options.points, options.scorer, options.limit) == (1, (0.5,), Scorer.INFORMATION, 90.0)
    finished = Calibration.fit([torch.arange(5.0)], Direction.LOW_IS_BAD, "information")
    with pytest.raises(ValueError, match="must hold scores of a point on the way, such as 'information at 0.5', got 'information'"):
        stop_options(finished, 90.0)
