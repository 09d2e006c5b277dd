"""Best of N on the bundled model and on every kind of pipeline: survivors are what they would be alone, and every pass is counted."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor

import tiny_pipelines as tiny
from uncertainty_nodes.core.options import BestOfOptions, Direction, DrawOptions, FreeOptions, Scorer, SearchMode
from uncertainty_nodes.core.search.seeds import NO_SEED, derive_seed
from uncertainty_nodes.core.search.stopping import quantity_at
from uncertainty_nodes.core.selection.calibration import Calibration
from uncertainty_nodes.hosts.diffusers import attach, best_of
from uncertainty_nodes.hosts.diffusers.demo import SHAPE, sample
from uncertainty_nodes.hosts.diffusers.search.best_of import DigitCandidates

SCHEDULERS = ("EulerDiscreteScheduler", "DDIMScheduler", "DPMSolverMultistepScheduler", "EulerAncestralDiscreteScheduler", "LCMScheduler")
STEPS = 6
TWICE = BestOfOptions(candidates=4, points=(0.25, 0.5), fractions=(0.75, 0.5), keep=2, seed=5)
pytestmark = pytest.mark.filterwarnings("ignore")  # diffusers' own deprecations


def digits(demo: tuple[Any, Any], scheduler: str, guidance: float = 1.0) -> DigitCandidates:
    network, own = demo
    return DigitCandidates(network, getattr(diffusers, scheduler).from_config(own.config), 3, STEPS, guidance)


def alone(candidates: DigitCandidates, seed: int) -> Tensor:
    """The plain loop, with nothing of the search in it."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn((1, *SHAPE), generator=generator)
    label = torch.tensor([candidates.label])
    return sample(candidates.target, candidates.scheduler, noise, label, STEPS, candidates.guidance, generator)


class Rows:
    """All rows that a network is run on, by whatever way."""

    def __init__(self, network: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[int] = []
        forward = network.forward

        def counting(*args: Any, **kwargs: Any) -> Any:
            output = forward(*args, **kwargs)
            self.seen.append(len(output[0]))
            return output

        monkeypatch.setattr(network, "forward", functools.wraps(forward)(counting))

    @property
    def count(self) -> int:
        return sum(self.seen)


@pytest.mark.parametrize("guidance", [1.0, 1.5])
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_survivor_is_bit_identical_to_the_same_candidate_alone(demo, scheduler, guidance):
    candidates = digits(demo, scheduler, guidance)
    found = best_of(candidates, options=TWICE)
    assert len(found.kept) == 2 and found.seeds == tuple(derive_seed(5, row) for row in found.kept)
    assert torch.equal(found.images, torch.cat([alone(candidates, seed) for seed in found.seeds]))


@pytest.mark.parametrize("micro_batch", [1, 3, 4])
def test_every_pass_is_counted_and_what_has_ended_costs_none(demo, monkeypatch, micro_batch):
    candidates = digits(demo, "DDIMScheduler", 1.5)
    rows = Rows(candidates.target, monkeypatch)
    found = best_of(candidates, options=replace(TWICE, micro_batch=micro_batch))
    # steps 1 and 2 with 4 candidates, the third with 3, the others with 2; each candidate that is scored costs 4 passes
    assert found.network_rows == 2 * (2 * 4 + 3 + 3 * 2)
    assert found.scoring_rows == 4 * (4 + 3)
    assert rows.count == found.network_rows + found.scoring_rows
    assert max(rows.seen) == 2 * micro_batch  # both halves of guidance: what bounds the memory


@pytest.mark.parametrize(("guidance", "rows_each"), [(1.0, 1), (1.5, 2)])
@pytest.mark.parametrize("micro_batch", [1, 2])
def test_no_call_is_larger_than_the_micro_batch_allows(demo, monkeypatch, guidance, rows_each, micro_batch):
    candidates = digits(demo, "DDIMScheduler", guidance)
    rows = Rows(candidates.target, monkeypatch)
    best_of(candidates, options=replace(TWICE, micro_batch=micro_batch, draws=DrawOptions(samples=6)))
    assert max(rows.seen) == rows_each * micro_batch


def test_a_search_that_cuts_nothing_is_plain_sampling(demo):
    candidates = digits(demo, "EulerAncestralDiscreteScheduler")
    found = best_of(candidates, options=BestOfOptions(candidates=3, keep=3, fractions=(0.0,)))
    assert found.rounds == () and found.scoring_rows == 0 and found.network_rows == 3 * STEPS
    assert torch.equal(found.images, torch.cat([alone(candidates, derive_seed(0, i)) for i in range(3)]))
    one = best_of(candidates, 1)
    assert torch.equal(one.images, alone(candidates, 0))


def test_in_a_larger_micro_batch_neighbours_still_do_not_matter(demo):
    """While each call has as many rows, what is beside a candidate, and where it stands, must not show."""
    options = BestOfOptions(candidates=4, points=(), fractions=(), keep=4, micro_batch=2, seed=7)
    candidates = digits(demo, "DDIMScheduler")
    full = best_of(candidates, options=options)
    pruned = best_of(candidates, options=BestOfOptions(candidates=4, points=(0.25,), fractions=(0.5,), keep=2, micro_batch=2, seed=7))
    for row, image in zip(pruned.kept, pruned.images, strict=True):
        assert torch.equal(image, full.images[full.kept.index(row)])
    torch.testing.assert_close(full.images[:1], alone(candidates, full.seeds[0]), atol=1e-3, rtol=0)


@pytest.mark.parametrize("scorer", Scorer)
def test_each_scorer_keeps_the_best_of_the_finished(demo, scorer):
    guidance = 1.5 if scorer is Scorer.CONDITION_GAP else 1.0
    found = best_of(digits(demo, "DDIMScheduler", guidance), options=BestOfOptions(candidates=3, points=(), fractions=(), scorer=scorer))
    values = found.rounds[-1].scores[scorer]
    best = values.argmin() if scorer in (Scorer.DENOISED, Scorer.TRAJECTORY) else values.argmax()
    assert found.kept == (int(best),)
    assert len(found.images) == 1


FREE = [("DDIMScheduler", 1.5, SearchMode.PRUNE), ("EulerAncestralDiscreteScheduler", 1.0, SearchMode.PRUNE)]


@pytest.mark.parametrize(("scheduler", "guidance", "mode"), FREE)
def test_free_scores_are_those_of_the_candidate_recorded_alone(demo, scheduler, guidance, mode):
    candidates = digits(demo, scheduler, guidance)
    second = Scorer.CONDITION_GAP if guidance != 1 else None
    options = BestOfOptions(candidates=4, points=(0.5,), fractions=(0.5,), keep=1, scorer=Scorer.TRAJECTORY, second=second, mode=mode)
    found = best_of(candidates, options=options)
    assert found.scoring_rows == 0 and torch.equal(found.images, alone(candidates, found.seeds[0]))
    last = found.rounds[-1]
    for scorer in options.scorers:
        for row, score in zip(last.compared, last.scores[scorer].tolist(), strict=True):
            halves = guidance != 1
            record = FreeOptions(scorer.free)
            network, own = candidates.target, candidates.scheduler
            with attach(network, own, record=record, classifier_free=halves, guidance_scale=guidance if halves else None) as run:
                alone(candidates, derive_seed(0, row))
            assert score == pytest.approx(float(run.result().scores), rel=1e-5)


def test_copies_take_their_sources_steps_with_them(demo):
    """Every row of the last comparison holds what its lineage recorded, so copies differ by their last steps alone."""
    options = BestOfOptions(
        candidates=4, keep=4, points=(0.4, 0.9), fractions=(1.0, 1.0), mode=SearchMode.RESAMPLE, scorer=Scorer.TRAJECTORY, sharpness=50.0
    )
    found = best_of(digits(demo, "EulerAncestralDiscreteScheduler"), options=options)
    assert found.scoring_rows == 0 and len(found.rounds) == 2 and len(set(found.rounds[0].sources)) < 4
    assert len({round(v, 9) for v in found.rounds[1].scores[Scorer.TRAJECTORY].tolist()}) == 4


def test_the_gap_needs_guidance(demo):
    with pytest.raises(ValueError, match="There is no condition gap"):
        best_of(digits(demo, "DDIMScheduler"), options=BestOfOptions(candidates=2, scorer=Scorer.CONDITION_GAP))


@pytest.mark.parametrize("scheduler", ["EulerAncestralDiscreteScheduler", "LCMScheduler"])
def test_copies_share_their_past_and_differ_by_their_own_noise(demo, scheduler):
    options = BestOfOptions(candidates=4, points=(0.5,), fractions=(1.0,), keep=4, mode=SearchMode.RESAMPLE, sharpness=50.0, seed=1)
    found = best_of(digits(demo, scheduler), options=options)
    (round_,) = found.rounds
    assert len(set(round_.sources)) < 4 and sorted(found.kept) == [0, 1, 2, 3]
    assert found.lineage == round_.sources
    assert len({image.numpy().tobytes() for image in found.images}) == 4
    source = round_.sources[0]
    plain = alone(digits(demo, scheduler), derive_seed(1, source))
    assert torch.equal(found.images[found.kept.index(source)], plain[0])  # a row that goes on from itself is as it was
    for row, image, seed in zip(found.kept, found.images, found.seeds, strict=True):
        assert seed == (derive_seed(1, row) if round_.sources[row] == row else NO_SEED)
        assert torch.equal(image, alone(digits(demo, scheduler), derive_seed(1, row))[0]) == (seed != NO_SEED)


def test_fewer_particles_go_on_later(demo, monkeypatch):
    candidates = digits(demo, "EulerAncestralDiscreteScheduler")
    options = BestOfOptions(candidates=6, points=(0.25, 0.5), fractions=(0.5, 0.5), mode=SearchMode.RESAMPLE, sharpness=2.0, seed=3)
    rows = Rows(candidates.target, monkeypatch)
    found = best_of(candidates, options=options)
    assert [len(decided.rows) for decided in found.rounds] == [3, 2, 1] and len(found.images) == 1
    assert found.network_rows == 3 * 6 + 3 + 2 * 2 and rows.count == found.network_rows + found.scoring_rows


def test_copies_without_noise_are_refused(demo):
    options = BestOfOptions(candidates=4, fractions=(1.0,), mode=SearchMode.RESAMPLE, sharpness=50.0)
    with pytest.raises(ValueError, match="DDIMScheduler adds no noise"):
        best_of(digits(demo, "DDIMScheduler"), options=options)
    assert not demo[0]._forward_hooks and not demo[0]._forward_pre_hooks


def test_a_hopeless_run_is_left(demo):
    low = Calibration.fit([torch.full((10,), 1e9)], Direction.LOW_IS_BAD, quantity_at(Scorer.INFORMATION, 0.5))
    candidates = digits(demo, "DDIMScheduler")
    found = best_of(candidates, 1, options=BestOfOptions(mode=SearchMode.STOP, limit=95.0, points=(0.5,)), calibrations=[low])
    assert found.images is None and found.kept == ()
    assert found.network_rows == 3 and found.scoring_rows == 4  # of 6 steps
    assert "limit of 10 earlier scores" in found.rounds[0].reasons[0]
    assert not demo[0]._forward_hooks and not demo[0]._forward_pre_hooks


def test_a_run_is_left_by_scores_that_were_made_as_its_own_are(demo):
    candidates = digits(demo, "DDIMScheduler", 1.5)
    made = candidates.settings()
    assert made["model"] == "UNet2DModel" and made["sampler"] == "DDIMScheduler" and (made["steps"], made["cfg"]) == (str(STEPS), "1.5")
    options = BestOfOptions(mode=SearchMode.STOP, limit=95.0, points=(0.5,))
    low = [torch.full((10,), -1e9)], Direction.LOW_IS_BAD, quantity_at(Scorer.INFORMATION, 0.5)
    assert best_of(candidates, 1, options=options, calibrations=[Calibration.fit(*low, [made])]).images is not None
    for name, other in (("weights", "0, float32"), ("sampler", "DDPMScheduler"), ("steps", "30"), ("cfg", "2")):
        with pytest.raises(ValueError, match=f"made with {name} '{other}', but scores made with {name}"):
            best_of(candidates, 1, options=options, calibrations=[Calibration.fit(*low, [made | {name: other}])])


def test_one_candidate_may_be_compared_for_its_score_alone(demo):
    candidates = digits(demo, "DDIMScheduler")
    options = BestOfOptions(1, points=(0.5,), fractions=(1.0,), always=True, further=(Scorer.TRAJECTORY,))
    looked_at = best_of(candidates, options=options)
    (compared,) = looked_at.rounds
    assert compared.rows == looked_at.kept == (0,) and set(compared.scores) == {Scorer.INFORMATION, Scorer.TRAJECTORY}
    assert torch.equal(looked_at.images, alone(candidates, derive_seed(0, 0)))


def test_out_of_memory_halves_the_micro_batch_and_says_so(demo, monkeypatch, caplog):
    candidates = digits(demo, "EulerAncestralDiscreteScheduler")
    forward = candidates.target.forward

    def small(sample: Tensor, *args: Any, **kwargs: Any) -> Any:
        if len(sample) > 1:
            raise torch.cuda.OutOfMemoryError("too much")
        return forward(sample, *args, **kwargs)

    monkeypatch.setattr(candidates.target, "forward", functools.wraps(forward)(small))
    found = best_of(candidates, options=BestOfOptions(candidates=4, micro_batch=4))
    assert found.micro_batch == 1
    assert "starting again with 2 candidates" in caplog.text and "with 1 candidates" in caplog.text
    monkeypatch.undo()
    assert torch.equal(found.images, alone(candidates, found.seeds[0]))


PIPELINES = {"SD": tiny.sd, "SDXL": tiny.sdxl, "SD3": tiny.sd3, "SD v": tiny.sd_v, "Flux": tiny.flux}


@pytest.mark.parametrize("name", PIPELINES)
def test_pipelines(name):
    pipe = PIPELINES[name]()
    cfg = 1.0 if name == "Flux" else 4.0
    kind = "latent" if name in ("SD3", "Flux") else "np"  # their tiny decoders have no shift
    inputs = {"num_inference_steps": tiny.STEPS} | pipe.inputs(1, cfg) | {"output_type": kind}
    scorer = Scorer.DENOISED if name == "Flux" else Scorer.INFORMATION
    found = best_of(pipe.pipe, 4, inputs, BestOfOptions(points=(0.5,), fractions=(0.5,), keep=2, scorer=scorer))
    assert len(found.kept) == len(found.images) == 2
    passes = 1 if cfg == 1 else 2
    assert found.network_rows < passes * 4 * tiny.STEPS
    for seed, image in zip(found.seeds, found.images, strict=True):
        plain = pipe.pipe(**inputs, generator=torch.Generator().manual_seed(seed))[0]
        torch.testing.assert_close(torch.as_tensor(image), torch.as_tensor(plain[0]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["SD", "SD3", "Flux"])
def test_a_comparison_at_the_very_first_step(name):
    pipe = PIPELINES[name]()
    kind = "latent" if name in ("SD3", "Flux") else "np"
    inputs = {"num_inference_steps": tiny.STEPS} | pipe.inputs(1, 1.0 if name == "Flux" else 4.0) | {"output_type": kind}
    scorer = Scorer.DENOISED if name == "Flux" else Scorer.INFORMATION
    found = best_of(pipe.pipe, 4, inputs, BestOfOptions(points=(0.0,), fractions=(0.25,), scorer=scorer))
    assert found.rounds[0].scores[scorer].isfinite().all() and len(found.kept) == 1


def test_refusals():
    with pytest.raises(ValueError, match="DiTPipeline takes no callback_on_step_end"):
        best_of(tiny.dit().pipe, 2, {})
    pipe = tiny.sd()
    inputs = {"num_inference_steps": tiny.STEPS} | pipe.inputs(1, 1.0)
    with pytest.raises(ValueError, match="inputs must not hold generator"):
        best_of(pipe.pipe, 2, inputs | {"generator": None})
    with pytest.raises(ValueError, match="there is no empty condition here"):
        best_of(pipe.pipe, 2, inputs)
    assert not pipe.network._forward_hooks and not pipe.network._forward_pre_hooks
