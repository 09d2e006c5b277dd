"""BayesDiff and MC dropout on diffusers: what they say, what they cost, and that looking changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
    UniPCMultistepScheduler,
)
from torch import Tensor

import tiny_pipelines as tiny
from bayes_scenes import PIPELINES, counting, laplace_of, made, state_of, without_variance
from demo_draws import TWO, draw
from uncertainty_nodes.core.demo.network import LAPLACE
from uncertainty_nodes.core.last_layer.find import get_layer
from uncertainty_nodes.core.last_layer.laplace import Laplace
from uncertainty_nodes.core.last_layer.layer_tap import shifted_weights
from uncertainty_nodes.core.options import BayesDiffOptions, DropoutOptions, StepWindow
from uncertainty_nodes.core.pixelwise import mc_dropout as core_dropout
from uncertainty_nodes.hosts.diffusers.attach import denoiser
from uncertainty_nodes.hosts.diffusers.dropout import mc_dropout
from uncertainty_nodes.hosts.diffusers.last_layer.bayesdiff import bayesdiff
from uncertainty_nodes.hosts.diffusers.space import Space

pytestmark = pytest.mark.filterwarnings("ignore")  # diffusers' own deprecations
SETTINGS = [(name, cfg) for name in PIPELINES for cfg in (1.0, 4.0) if (name, cfg) != ("Flux", 4.0)]
SCHEDULERS: dict[str, Callable[[dict], object]] = {
    "DDIM": lambda c: DDIMScheduler(**c, clip_sample=False),
    "DDIM, trailing": lambda c: DDIMScheduler(**c, clip_sample=False, timestep_spacing="trailing"),
    "DDIM, not to 1": lambda c: DDIMScheduler(**c, clip_sample=False, set_alpha_to_one=False),
    "DPM++ 2M": lambda c: DPMSolverMultistepScheduler(**c),
    "DPM++ 2M Karras": lambda c: DPMSolverMultistepScheduler(**c, use_karras_sigmas=True),
    "DPM++ 2M, to the least sigma": lambda c: DPMSolverMultistepScheduler(**c, final_sigmas_type="sigma_min", lower_order_final=False),
    "DPM++ of order 1": lambda c: DPMSolverMultistepScheduler(**c, solver_order=1),
    "Euler": lambda c: EulerDiscreteScheduler(**c),
}
OPTIONS = BayesDiffOptions(TWO)
LATE = DropoutOptions(TWO, StepWindow(0.4, 1.0))


@pytest.fixture(scope="module")
def laplace() -> Laplace:
    return Laplace.load(LAPLACE)


@pytest.fixture(params=SCHEDULERS)
def scheduler(request, demo):
    keys = ("num_train_timesteps", "beta_schedule", "beta_start", "beta_end")
    return SCHEDULERS[request.param]({key: demo[1].config[key] for key in keys})


# BayesDiff


def scale_of(name: str, cfg: float) -> float | None:
    return cfg if name == "DiT" else None  # the one pipeline that doesn't tell


@pytest.mark.parametrize(("name", "cfg"), SETTINGS)
def test_after_one_step_the_variance_is_the_sum_over_single_weights(name, cfg):
    """The sample after one step is linear in the last layer, so moving each weight by its own deviation gives its variance exactly."""
    pipe, more = made(name), {"output_type": "latent"} if name != "DiT" else {}
    laplace = laplace_of(pipe.network, unsure=0.15)
    layer, deviation = get_layer(pipe.network, laplace.identity.name), laplace.posterior(pipe.network).gaussian.variance.sqrt()
    finals: list[Tensor] = []
    step = pipe.pipe.scheduler.step
    pipe.pipe.scheduler.step = lambda *args, **kwargs: finals.append((after := step(*args, **kwargs))[0]) or after  # before the VAE
    try:
        with bayesdiff(pipe.pipe, laplace, options=OPTIONS, guidance_scale=scale_of(name, cfg)) as run:
            pipe.draw(1, cfg, num_inference_steps=1, **more)
        plain, expected = finals.pop(), 0.0
        for place in (deviation > 0).nonzero().tolist():
            single = torch.zeros_like(deviation)
            single[tuple(place)] = deviation[tuple(place)]
            with shifted_weights(layer, single):
                pipe.draw(1, cfg, num_inference_steps=1, **more)
            expected = expected + (finals.pop() - plain).double().square()
    finally:
        del pipe.pipe.scheduler.step
    maps = run.result().maps.double()
    expected = expected[:1]  # DiT samples both halves alike
    torch.testing.assert_close(maps, expected.reshape(maps.shape), rtol=2e-2, atol=1e-3 * float(maps.max()))


@pytest.mark.parametrize(("name", "cfg"), SETTINGS)
def test_bayesdiff_leaves_pipelines_as_they_are_and_counts_its_passes(name, cfg):
    pipe = made(name)
    laplace, before, plain = laplace_of(pipe.network), state_of(pipe.network), pipe.draw(2, cfg)
    with counting(pipe.network) as rows, bayesdiff(pipe.pipe, laplace, options=OPTIONS, guidance_scale=scale_of(name, cfg)) as run:
        watched = pipe.draw(2, cfg)
    assert torch.equal(plain, watched)
    result, unpatchified = run.result(), name in ("SD3", "DiT")
    assert result.scores.shape == (2,) and (result.scores > 0).all() and result.maps.isfinite().all()
    assert run.network_rows + 2 * result.nfe == sum(rows)
    assert result.nfe == (tiny.STEPS - 1) * 2 * (1 if cfg == 1 else 2) + tiny.STEPS * unpatchified
    assert state_of(pipe.network) == before


def test_bayesdiff_follows_every_scheduler_that_it_takes(demo, scheduler, laplace):
    network, before = demo[0], state_of(demo[0])
    plain = draw(network, scheduler, 2)
    with bayesdiff(network, laplace, scheduler, OPTIONS) as run:  # refuses a step that is another than it foresaw
        watched = draw(network, scheduler, 2)
    assert torch.equal(plain, watched) and state_of(network) == before
    result = run.result()
    assert len(result.sigmas) == len(scheduler.timesteps) and (result.scores > 0).all()
    with bayesdiff(network, without_variance(laplace), scheduler, OPTIONS) as run:
        draw(network, scheduler, 2)
    assert not run.result().maps.any() and run.result().nfe == 0


def test_what_one_image_gets_does_not_hang_on_its_neighbours(demo, laplace):
    scores = []
    for images in (1, 3):
        with bayesdiff(demo[0], laplace, demo[1], OPTIONS) as run:
            draw(*demo, images)
        scores.append(run.result().scores[0])
    torch.testing.assert_close(scores[0], scores[1], rtol=1e-3, atol=0)


def test_the_skip_variant_asks_on_every_kth_step_only(demo, laplace):
    with counting(demo[0]) as rows, bayesdiff(demo[0], laplace, demo[1], replace(OPTIONS, every=3)) as run:
        draw(*demo, 1, steps=7)
    assert run.result().nfe == 2 * 2 and sum(rows) == 7 + 2 * 2  # steps 0, 3, 6; at 0 nothing is unsure yet


def test_under_guidance_of_a_bare_network_the_scale_is_to_be_said(demo, laplace):
    with bayesdiff(demo[0], laplace, demo[1], OPTIONS, guidance_scale=2.0) as run:
        guided = draw(*demo, 2, guidance_scale=2.0)
    assert torch.equal(guided, draw(*demo, 2, guidance_scale=2.0))
    assert run.result().nfe == 4 * 2 * 2
    with bayesdiff(demo[0], laplace, demo[1], OPTIONS, guidance_scale=3.0) as run:
        assert torch.equal(guided, draw(*demo, 2, guidance_scale=2.0))
    assert "The sampler did not take its linear step" in run.result().provenance["caution"]


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_bayesdiff_works_in_either_mode_of_inference(mode):
    pipe = made("SD3")
    with bayesdiff(pipe.pipe, laplace_of(pipe.network), options=OPTIONS) as run, mode():
        pipe.draw(1)
    assert (run.result().scores > 0).all()


def test_samplers_of_another_kind_are_refused(demo, laplace):
    network, config = demo[0], demo[1].config
    for other, sentence in (
        (HeunDiscreteScheduler(), "HeunDiscreteScheduler is not known to take; use DDIM, DPM-Solver"),
        (UniPCMultistepScheduler(), "UniPCMultistepScheduler is not known to take"),
        (DDPMScheduler(), "DDPMScheduler is not known to take"),
        (DDIMScheduler(), "DDIMScheduler has clip_sample on"),
        (DPMSolverMultistepScheduler(algorithm_type="sde-dpmsolver++"), "knows DPM-Solver.* got order 2 and .*sde-dpmsolver"),
        (DPMSolverMultistepScheduler(solver_order=3), "got order 3"),
    ):
        with pytest.raises(ValueError, match=sentence), bayesdiff(network, laplace, other):
            pass
    ddim = DDIMScheduler.from_config(config)
    step = ddim.step
    ddim.step = lambda *args, **kwargs: step(*args, **kwargs, eta=1.0)
    with bayesdiff(network, laplace, ddim, OPTIONS) as run:
        draw(network, ddim, 1)
    assert "noise was added" in run.result().provenance["caution"]
    with pytest.raises(ValueError, match="This Laplace fit is for"), bayesdiff(made("SD").pipe, laplace):
        pass


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("watch", ["bayesdiff", "dropout"])
def test_the_network_is_as_before_when_sampling_stops(demo, laplace, error, watch):
    def stop(step: int) -> None:
        if step == 2:
            raise error

    before = state_of(demo[0])
    block = bayesdiff(demo[0], laplace, demo[1], OPTIONS) if watch == "bayesdiff" else mc_dropout(*demo, LATE)
    with pytest.raises(error), block:
        draw(*demo, 1, progress=stop)
    assert state_of(demo[0]) == before


# MC dropout


def test_dropout_is_recorded_in_the_loop_without_moving_it(demo):
    plain, before = draw(*demo, 3), state_of(demo[0])
    with counting(demo[0]) as rows, mc_dropout(*demo, LATE) as run:
        watched = draw(*demo, 3)
    result = run.result()
    assert torch.equal(plain, watched) and state_of(demo[0]) == before
    assert run.network_rows + 3 * result.nfe == sum(rows) and result.nfe == 2 * len(result.sigmas) > 0
    assert (result.scores > 0).all() and result.provenance["method"] == "mc dropout"
    with mc_dropout(*demo, LATE) as run:
        draw(*demo, 1)
    torch.testing.assert_close(run.result().scores, result.scores[:1], rtol=1e-4, atol=0)


def test_what_is_recorded_is_what_core_estimates_at_that_step(demo):
    network, scheduler, seen = *demo, []
    with mc_dropout(network, scheduler, LATE) as run:
        handle = network.register_forward_hook(lambda _, args, out: seen.append((args[0].clone(), float(args[1]))))
        draw(network, scheduler, 2)
        handle.remove()
    space, denoise = Space.of(scheduler), denoiser(network, scheduler, {"class_labels": torch.arange(2)}, 2)
    recorded = [(i, x, space.sigma_at(t)) for i, (x, t) in enumerate(seen)][-len(run.result().sigmas) :]
    spreads = [core_dropout.estimate_dropout_step(network, denoise, x, torch.tensor(s), space.process, LATE, i) for i, x, s in recorded]
    torch.testing.assert_close(run.result().maps, torch.stack([s.denoised for s in spreads]).mean(dim=0), rtol=1e-3, atol=1e-7)


def test_a_network_without_dropout_is_refused():
    with pytest.raises(ValueError, match="UNet2DConditionModel has no dropout layer with p above 0"), mc_dropout(made("SD").pipe):
        pass
