"""What the diffusers host measures on the bundled model, against loops over images and draws, and what it says it cost."""

from __future__ import annotations

import functools

import pytest
import torch
from diffusers import DDIMScheduler, HeunDiscreteScheduler
from torch import Tensor, nn

from demo_draws import GUIDE, LATE, RECORD, TWO, draw
from references import redraws, spread_around_mean
from uncertainty_nodes.core.denoiser import Process
from uncertainty_nodes.core.draws import noise
from uncertainty_nodes.core.options import (
    AleatoricOptions,
    Center,
    Direction,
    DrawOptions,
    GuidanceMode,
    GuidanceOptions,
    Quantity,
    StepWindow,
)
from uncertainty_nodes.hosts.diffusers.attach import attach, score
from uncertainty_nodes.hosts.diffusers.demo import NO_CLASS, sample, starting_noise

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # diffusers' use of numpy


def one_by_one(network: nn.Module, t: int, labels: list[int]):
    """The network at a timestep as a denoiser of one image a call, the images taking turns."""
    turns = iter(labels * 100)

    @torch.no_grad()
    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        eps = network(x.float(), t, class_labels=torch.tensor([next(turns)])).sample.double()
        return (x - sigma * eps) / (1 - sigma**2).sqrt()

    return denoise


def sigma_of(scheduler: DDIMScheduler, t: int) -> float:
    return (1 - float(scheduler.alphas_cumprod[t].double())) ** 0.5


def test_a_step_is_measured_as_the_formula_says(demo):
    """From what went in and out of the network at each step."""
    network, scheduler = demo
    seen = []
    handle = network.register_forward_hook(lambda _, args, out: seen.append((args[0], int(args[1]), out.sample)))
    with attach(network, scheduler, record=AleatoricOptions(draws=TWO, window=StepWindow())) as run:
        draw(network, scheduler, 2, steps=3)
    handle.remove()
    maps = {quantity: torch.zeros(2, 1, 32, 32, dtype=torch.float64) for quantity in (Quantity.DENOISED, Quantity.NOISE)}
    for step, (x, t, eps) in enumerate(seen):
        sigma = sigma_of(scheduler, t)
        clean = (x - sigma * eps) / (1 - sigma**2) ** 0.5
        _, x0_i, eps_i = redraws(one_by_one(network, t, [0, 1]), clean, sigma, Process.VP, noise(TWO, step, x))
        maps[Quantity.DENOISED] += spread_around_mean(x0_i) / 3
        maps[Quantity.NOISE] += spread_around_mean(eps_i) / 3
        assert float(run.result().sigmas[step]) == pytest.approx(sigma, rel=1e-6)
    for quantity in maps:
        result = run.result(quantity)
        torch.testing.assert_close(result.maps.double(), maps[quantity], rtol=5e-3, atol=1e-6)
        torch.testing.assert_close(result.scores.double(), maps[quantity].mean(dim=(1, 2, 3)), rtol=1e-3, atol=0)
    assert run.result(Quantity.DENOISED).direction is Direction.HIGH_IS_BAD
    assert run.result(Quantity.NOISE).direction is Direction.LOW_IS_BAD


def test_a_finished_image_is_scored_as_the_formula_says(demo):
    network, scheduler = demo
    images, labels = draw(network, scheduler, 2, steps=3), [7, 4]
    options = AleatoricOptions(draws=TWO, window=StepWindow(0.5, 0.9))
    result = score(network, scheduler, images, {"class_labels": torch.tensor(labels)}, options, count=3)
    expected = torch.zeros(2, 1, 32, 32, dtype=torch.float64)
    for step, t in enumerate((500, 300, 100)):
        drawn = redraws(one_by_one(network, t, labels), images, sigma_of(scheduler, t), Process.VP, noise(TWO, step, images))
        expected += spread_around_mean(drawn[1]) / 3
    torch.testing.assert_close(result.maps.double(), expected, rtol=5e-3, atol=1e-6)
    assert result.nfe == 2 * 3


def test_scores_and_guided_results_do_not_depend_on_batch_mates_or_micro_batches(demo):
    network, scheduler = demo
    order, runs, images = [2, 0], [], []
    for chosen, micro_batch in ([0, 1, 2], 1), (order, 2), (order, 5):
        draws = DrawOptions(samples=3, micro_batch=micro_batch)
        with attach(network, scheduler, AleatoricOptions(draws, LATE), GuidanceOptions(draws=draws, window=LATE, percentile=50.0)) as run:
            images.append(sample(network, scheduler, starting_noise(3, 0)[chosen], torch.tensor(chosen), 4))
        runs.append(run.result())
    for other in (1, 2):
        torch.testing.assert_close(images[other], images[0][order], rtol=1e-3, atol=2e-3)
        torch.testing.assert_close(runs[other].scores, runs[0].scores[order], rtol=2e-3, atol=0)
        torch.testing.assert_close(runs[other].maps, runs[0].maps[order], rtol=2e-2, atol=1e-4)


def test_the_same_seed_gives_the_same_score_and_another_seed_another(demo):
    scores = []
    for seed in (0, 0, 1):
        with attach(*demo, record=AleatoricOptions(DrawOptions(samples=2, seed=seed), LATE)) as run:
            draw(*demo, 2, steps=3)
        scores.append(run.result().scores)
    assert torch.equal(scores[0], scores[1])
    assert not torch.equal(scores[0], scores[2])


def test_under_guidance_by_class_only_the_conditional_half_is_measured(demo):
    """The first step sees the same sample with and without."""
    first = AleatoricOptions(draws=TWO, window=StepWindow(0.0, 0.6))
    settings = [{}, {"guidance_scale": 4.0}, {"labels": torch.full((2,), NO_CLASS)}]
    maps = []
    for setting in settings:
        with attach(*demo, record=first, classifier_free="guidance_scale" in setting) as run:
            draw(*demo, 2, steps=2, **setting)
        assert run.result().curve.shape == (1, 2)
        maps.append(run.result().maps)
    torch.testing.assert_close(maps[0], maps[1], rtol=1e-3, atol=1e-6)
    assert (maps[2] - maps[0]).abs().max() > 1e-3


class Counted:
    """Counts the rows that reach a network, beside the code under test."""

    def __init__(self, network: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
        forward, self.rows = network.forward, 0

        @functools.wraps(forward)
        def counting(sample, timestep, class_labels=None, return_dict=True):
            self.rows += len(sample)
            return forward(sample, timestep, class_labels, return_dict)

        monkeypatch.setattr(network, "forward", counting)


THREE = DrawOptions(samples=3)  # not the record's, which would be shared
CHECKPOINTED = GuidanceOptions(draws=THREE, mode=GuidanceMode.AUTOGRAD, checkpoint=True, window=LATE)


@pytest.mark.parametrize(
    ("cls", "record", "guide"),
    [
        (DDIMScheduler, RECORD, None),
        (DDIMScheduler, AleatoricOptions(DrawOptions(samples=3, micro_batch=2), LATE), GUIDE),
        (DDIMScheduler, None, GuidanceOptions(mode=GuidanceMode.POSTERIOR)),
        (DDIMScheduler, RECORD, CHECKPOINTED),
        (HeunDiscreteScheduler, RECORD, GuidanceOptions(draws=THREE, mode=GuidanceMode.AUTOGRAD, window=LATE)),
    ],
    ids=["record", "micro-batches, forward", "posterior", "autograd, checkpointed", "Heun"],
)
def test_the_nfe_reported_is_the_nfe_run(demo, monkeypatch, cls, record, guide):
    scheduler = cls.from_config(demo[1].config)
    counted = Counted(demo[0], monkeypatch)
    with attach(demo[0], scheduler, record=record, guide=guide) as run:
        draw(demo[0], scheduler, 2, steps=3)
    estimation = run.result().nfe if record else 0.0
    assert run.network_rows == 2 * len(scheduler.timesteps)
    assert (estimation > 0) == (record is not None)
    assert (run.guidance_nfe > 0) == (guide is not None)
    assert counted.rows == run.network_rows + 2 * (estimation + run.guidance_nfe)


def test_recording_beside_guidance_with_the_same_draws_is_free(demo):
    with attach(*demo, record=RECORD) as alone:
        draw(*demo, 2, steps=3)
    with attach(*demo, record=RECORD, guide=GUIDE) as shared:
        draw(*demo, 2, steps=3)
    assert alone.result().nfe > 0 == shared.result().nfe
    assert len(alone.result().sigmas) == len(shared.result().sigmas)
    torch.testing.assert_close(shared.result().curve[0], alone.result().curve[0], rtol=1e-3, atol=0)  # before guidance has moved anything


def test_a_record_around_the_prediction_needs_draws_of_its_own(demo):
    around = AleatoricOptions(draws=TWO, window=LATE, center=Center.PREDICTION)
    with attach(*demo, record=around) as alone:
        draw(*demo, 1, steps=3)
    with attach(*demo, record=around, guide=GUIDE) as beside:
        draw(*demo, 1, steps=3)
    assert beside.result().nfe == alone.result().nfe > 0
    torch.testing.assert_close(beside.result().curve[0], alone.result().curve[0], rtol=1e-3, atol=0)
