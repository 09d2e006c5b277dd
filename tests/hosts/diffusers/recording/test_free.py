"""Scores that cost no model call, on the bundled model and on real pipelines: nothing changes, and they are what the steps say."""

from __future__ import annotations

import pytest
import torch
from diffusers import EulerAncestralDiscreteScheduler, HeunDiscreteScheduler

from demo_draws import GUIDE, LATE, draw
from tiny_pipelines import dit, flux, sd
from uncertainty_nodes.core.options import FreeOptions, FreeScore, GapWeight, Quantity, StepWindow
from uncertainty_nodes.hosts.diffusers.attach import attach

WHOLE = StepWindow()
TRAJECTORY, GAP = FreeOptions(FreeScore.TRAJECTORY, WHOLE), FreeOptions(FreeScore.CONDITION_GAP, WHOLE)
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # diffusers' use of numpy


@pytest.mark.parametrize("options", [TRAJECTORY, GAP], ids=["trajectory", "gap"])
@pytest.mark.parametrize("kind", [EulerAncestralDiscreteScheduler, HeunDiscreteScheduler])
def test_images_are_bit_identical_and_no_call_is_made(demo, kind, options):
    network, scheduler = demo[0], kind.from_config(demo[1].config)
    calls = []
    handle = network.register_forward_hook(lambda *_: calls.append(1))
    plain = draw(network, scheduler, 2, steps=3, guidance_scale=1.5)
    before = len(calls)
    with attach(network, scheduler, record=options, classifier_free=True, guidance_scale=1.5) as run:
        watched = draw(network, scheduler, 2, steps=3, guidance_scale=1.5)
    handle.remove()
    assert torch.equal(plain, watched)
    assert len(calls) == 2 * before
    result = run.result()
    assert (result.nfe, len(result.sigmas)) == (0, 3)
    assert result.maps.shape == plain.shape and result.scores.gt(0).all()


def test_they_are_what_went_out_of_the_network(demo):
    network, scheduler = demo
    seen = []
    handle = network.register_forward_hook(lambda _, args, out: seen.append((args[0], int(args[1]), out.sample)))
    results = []
    for options in (TRAJECTORY, GAP):
        seen.clear()
        with attach(network, scheduler, record=options, classifier_free=True, guidance_scale=1.5) as run:
            draw(network, scheduler, 2, steps=3, guidance_scale=1.5)
        results.append(run.result())
    handle.remove()
    abar = [scheduler.alphas_cumprod[t].double() for _, t, _ in seen]
    x0 = torch.stack([(x - (1 - a).sqrt() * eps) / a.sqrt() for (x, _, eps), a in zip(seen, abar, strict=True)])
    none, cond = x0.double().chunk(2, dim=1)
    snr = torch.stack([a / (1 - a) for a in abar]).view(-1, 1, 1, 1, 1)
    assert torch.allclose(results[0].maps.double(), (none + 1.5 * (cond - none)).var(dim=0, correction=0), rtol=1e-3, atol=1e-6)
    assert torch.allclose(results[1].maps.double(), (snr * (cond - none).square()).mean(dim=0), rtol=1e-3, atol=1e-6)


def test_an_image_does_not_hang_on_its_neighbours(demo):
    runs = []
    for images in (1, 3):
        with attach(*demo, record=TRAJECTORY) as run:
            draw(*demo, images)
        runs.append(run.result().scores[:1])
    assert torch.allclose(*runs, rtol=1e-4)


@pytest.mark.parametrize("make", [sd, flux, dit], ids=lambda make: make.__name__)
def test_pipelines_tell_the_gap_in_one_call_or_in_two(make):
    tiny = make()
    plain, results = tiny.draw(2, cfg=3.0), []
    for weight in GapWeight:
        with attach(tiny.pipe, record=FreeOptions(FreeScore.CONDITION_GAP, WHOLE, weight)) as run:
            assert torch.equal(tiny.draw(2, cfg=3.0), plain)
        results.append(run.result())
    assert all(r.scores.gt(0).all() and r.nfe == 0 for r in results)
    assert not torch.allclose(results[0].scores, results[1].scores)


def test_a_pipeline_tells_its_scale_and_a_network_must_be_told(demo):
    runs = []
    for cfg in (2.0, 5.0):
        tiny = sd()
        with attach(tiny.pipe, record=TRAJECTORY) as run:
            tiny.draw(1, cfg=cfg)
        runs.append(run.result().scores)
    assert runs[1] > 1.2 * runs[0]
    with pytest.raises(ValueError, match=r"pass guidance_scale to attach"), attach(*demo, record=TRAJECTORY, classifier_free=True):
        draw(*demo, 1, guidance_scale=1.5)


def test_no_gap_without_guidance():
    tiny = sd()
    with attach(tiny.pipe, record=GAP) as run:
        tiny.draw(1, cfg=1.0)
    with pytest.raises(ValueError, match=r"There is no condition gap: .* Sample with classifier-free guidance"):
        run.result()


def test_they_stand_beside_guidance_and_give_no_spread_of_draws(demo):
    with attach(*demo, guide=GUIDE):
        guided = draw(*demo, 1)
    with attach(*demo, record=FreeOptions(window=LATE), guide=GUIDE) as run:
        assert torch.equal(draw(*demo, 1), guided)
    assert run.result().quantity == "trajectory"
    with pytest.raises(ValueError, match=r"No draws were recorded, of which to give noise: pass record=AleatoricOptions"):
        run.result(Quantity.NOISE)
