"""Until good on the bundled model: attempts, seeds and counted passes."""

from __future__ import annotations

import pytest
import torch

import tiny_text
from uncertainty_nodes.core.options import FilterRule, FreeOptions, FreeScore, InformationOptions, Request, UntilOptions
from uncertainty_nodes.core.search.seeds import derive_seed
from uncertainty_nodes.hosts.diffusers import until
from uncertainty_nodes.hosts.diffusers.draw import DemoDrawer, PipelineDrawer, ScoredBy, draw_scored

BY = ScoredBy(InformationOptions(levels=1))


def test_attempts_go_on_until_one_is_accepted(demo):
    drawer = DemoDrawer(*demo, [3], 0)
    images, scores = zip(*(draw_scored(DemoDrawer(*demo, [3], derive_seed(4, i)), [0], 3, BY) for i in range(4)), strict=True)
    values = [float(s.scores[0]) for s in scores]
    options = UntilOptions(rule=FilterRule.THRESHOLD, value=max(values), max_attempts=4, seed=4)
    found = until(drawer, 3, BY, options)
    assert found.attempts == values.index(max(values)) + 1 and found.accepted == 1
    assert torch.equal(found.images[0], images[values.index(max(values))][0])
    assert found.nfe == found.attempts * (3 + 8)
    nothing = until(drawer, 3, BY, UntilOptions(rule=FilterRule.THRESHOLD, value=max(values) + 1, max_attempts=4, seed=4))
    assert (nothing.attempts, nothing.accepted) == (4, 0)
    assert nothing.best[0].attempt == values.index(max(values))
    assert [v.score for v in nothing.verdicts] == values
    assert not nothing.best[0].accepted and "below the threshold" in nothing.best[0].reason


@pytest.mark.parametrize("score", FreeScore)
def test_scores_that_cost_no_call_judge_attempts(demo, score):
    drawer, by = DemoDrawer(*demo, [3], 0, 1.5), ScoredBy(FreeOptions(score))
    images, scores = zip(*(draw_scored(DemoDrawer(*demo, [3], derive_seed(4, i), 1.5), [0], 6, by) for i in range(4)), strict=True)
    values = [float(s.scores[0]) for s in scores]
    best = min(values) if score is FreeScore.TRAJECTORY else max(values)
    found = until(drawer, 6, by, UntilOptions(rule=FilterRule.THRESHOLD, value=best, max_attempts=4, seed=4))
    assert found.attempts == values.index(best) + 1 and found.accepted == 1
    assert torch.equal(found.images[0], images[values.index(best)][0])
    assert found.nfe == found.attempts * 6 * 2  # both halves of guidance, and nothing for the score
    assert [v.score for v in found.verdicts] == values[: found.attempts]


def test_a_gap_without_guidance_is_one_sentence(demo):
    by = ScoredBy(FreeOptions(FreeScore.CONDITION_GAP))
    with pytest.raises(ValueError, match="There is no condition gap"):
        until(DemoDrawer(*demo, [3], 0), 3, by, UntilOptions(rule=FilterRule.THRESHOLD, value=1.0))


def test_a_pipeline_draws_its_prompt_until_one_is_accepted(tmp_path):
    pipe = tiny_text.make("sd", tmp_path / "words")
    pipe.set_progress_bar_config(disable=True)
    by, inputs = ScoredBy(FreeOptions(FreeScore.TRAJECTORY)), {"prompt": "a b", "guidance_scale": 3.0}
    drawers = [PipelineDrawer(pipe, [Request("a b")], derive_seed(4, i), {"guidance_scale": 3.0}) for i in range(3)]
    images, scores = zip(*(draw_scored(drawer, [0], 4, by) for drawer in drawers), strict=True)
    values = [float(s.scores[0]) for s in scores]
    found = until(pipe, 4, by, UntilOptions(rule=FilterRule.THRESHOLD, value=min(values), max_attempts=3, seed=4), inputs=inputs)
    assert found.attempts == values.index(min(values)) + 1 and torch.equal(found.images[0], images[found.attempts - 1][0].cpu())
    seeded = torch.Generator().manual_seed(found.best[0].seed)
    again = pipe("a b", guidance_scale=3.0, num_inference_steps=4, output_type="pt", generator=seeded)[0]
    assert torch.allclose(again[0].cpu(), found.images[0], atol=1e-4) and found.verdicts[-1] == found.best[0]
    own = PipelineDrawer(pipe, [Request("a b", seed=7), Request("c d")], 0, {"guidance_scale": 3.0})
    tried = until(own, 4, by, UntilOptions(rule=FilterRule.THRESHOLD, value=-1.0, max_attempts=3, seed=4))
    assert [v.score for v in tried.verdicts] == values
    with pytest.raises(ValueError, match="inputs must hold the prompt"):
        until(pipe, 4, by, UntilOptions(rule=FilterRule.THRESHOLD, value=1.0))
