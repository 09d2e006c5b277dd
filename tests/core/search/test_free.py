"""Free scores of candidates: their own steps as FreeRecorder has them, whoever is beside them."""

from __future__ import annotations

import pytest
import torch

from uncertainty_nodes.core.denoiser import Process
from uncertainty_nodes.core.options import BestOfOptions, FreeOptions, FreeScore, Scorer, StepWindow
from uncertainty_nodes.core.pixelwise.free import FreeRecorder
from uncertainty_nodes.core.search.free import FreeScores, concatenate, join_scores
from uncertainty_nodes.core.search.scoring import Scores

T, G = Scorer.TRAJECTORY, Scorer.CONDITION_GAP
SIGMAS = (10.0, 8.0, 6.0, 4.0, 2.0)


def percent_to_sigma(percent: float) -> float:
    return 10 * (1 - percent)


def steps(seed: int = 0) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(2, 1, 2, 4, 4, generator=generator).unbind() for _ in SIGMAS]


def observed(count: int, *scorers: Scorer, seed: int = 0, guided: bool = True) -> FreeScores:
    free = FreeScores(scorers, Process.VE, percent_to_sigma)
    for (given, without), sigma in list(zip(steps(seed), SIGMAS, strict=True))[:count]:
        free.observe(given, given, without if guided else None, sigma)
    return free


def recorded(score: FreeScore, places: tuple[int, ...]) -> torch.Tensor:
    recorder = FreeRecorder(FreeOptions(score, StepWindow()), Process.VE)
    for place in places:
        given, without = steps()[place]
        recorder.observe(given, given, without, torch.tensor([SIGMAS[place]]))
    return recorder.result().scores


def test_each_score_is_taken_in_its_own_window_once_that_is_reached():
    """The trajectory's begins at half of the schedule, which the fourth step has passed; the gap's ends at 0.35."""
    found = observed(5, T, G).scores()
    torch.testing.assert_close(found.by[T], recorded(FreeScore.TRAJECTORY, (3, 4)))
    torch.testing.assert_close(found.by[G], recorded(FreeScore.CONDITION_GAP, (0, 1)))
    assert found.rows == 0 and found.maps[T].shape == (1, 2, 4, 4)


def test_until_then_over_all_steps_so_far():
    torch.testing.assert_close(observed(4, T).scores().by[T], recorded(FreeScore.TRAJECTORY, (0, 1, 2, 3)))
    late = FreeScores((G,), Process.VE, percent_to_sigma)
    given, without = steps()[3]
    late.observe(given, given, without, SIGMAS[3])  # image to image: the gap's window was never sampled
    torch.testing.assert_close(late.scores().by[G], recorded(FreeScore.CONDITION_GAP, (3,)))


def test_a_copy_goes_on_by_itself():
    first = observed(3, T)
    second, before = first.copy(), first.scores().by[T]
    second.observe(*[torch.ones(1, 2, 4, 4)] * 3, 4.0)
    assert torch.equal(first.scores().by[T], before) and not torch.equal(second.scores().by[T], before)


def test_what_tells_nothing_yet_is_a_sentence():
    with pytest.raises(ValueError, match="only one step lies before the first comparison: choose a later point"):
        observed(1, T).scores()
    with pytest.raises(ValueError, match="There is no condition gap"):
        observed(5, G, guided=False).scores()


def test_candidates_stand_one_after_another_and_scorers_beside_each_other():
    both = concatenate([observed(5, T, seed=s).scores() for s in (0, 1)])
    joined = join_scores([both, Scores({Scorer.NOISE: torch.tensor([1.0, 2.0])}, rows=8)])
    assert joined.rows == 8 and set(joined.by) == {T, Scorer.NOISE} and joined.maps[T].shape == (2, 2, 4, 4)
    high, low = joined.by[T].argmax(), joined.by[T].argmin()
    badness = joined.badness((T,))
    assert badness[high] > badness[low], "a prediction that moves is bad"


def test_a_search_knows_which_of_its_scorers_cost_calls():
    options = BestOfOptions(scorer=T, second=Scorer.INFORMATION)
    assert (options.free_scorers, options.drawn_scorers) == ((T,), (Scorer.INFORMATION,))
    assert {s: s.free for s in Scorer if s.free} == {T: FreeScore.TRAJECTORY, G: FreeScore.CONDITION_GAP}
