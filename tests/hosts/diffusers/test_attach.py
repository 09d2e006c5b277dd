"""What the diffusers host promises on every scheduler: looking changes nothing, nothing sticks, errors are sentences."""

from __future__ import annotations

from contextlib import nullcontext
from unittest import mock

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
    UniPCMultistepScheduler,
)
from torch import Tensor, nn

from demo_draws import GUIDE, RECORD, TWO, draw
from uncertainty_nodes.core.options import AleatoricOptions, GuidanceMode, GuidanceOptions, StepWindow
from uncertainty_nodes.hosts.diffusers.attach import attach

OFF = GuidanceOptions(strength=0.0)
SCHEDULERS = [
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    EulerAncestralDiscreteScheduler,
    HeunDiscreteScheduler,
    UniPCMultistepScheduler,
]
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # diffusers' use of numpy


@pytest.fixture(params=SCHEDULERS, ids=lambda cls: cls.__name__.removesuffix("Scheduler"))
def scheduler(request, demo):
    config = demo[1].config
    return request.param(**{key: config[key] for key in ("num_train_timesteps", "beta_schedule", "beta_start", "beta_end")})


def state_of(network: nn.Module) -> list:
    weights = [(p.requires_grad, p.grad, p.dtype, p.device, p.data_ptr()) for p in network.parameters()]
    return [weights, [(m.training, len(m._forward_hooks), len(m._forward_pre_hooks), set(vars(m))) for m in network.modules()]]


@pytest.mark.parametrize("images", [1, 3])
def test_samples_are_bit_identical_with_estimation_on_and_guidance_at_strength_0(demo, scheduler, images):
    plain = draw(demo[0], scheduler, images)
    with attach(demo[0], scheduler, record=RECORD, guide=OFF) as run:
        watched = draw(demo[0], scheduler, images)
    assert torch.equal(plain, watched)
    assert run.result().scores.shape == (images,)
    assert 1 < len(run.result().sigmas) < len(scheduler.timesteps)
    assert run.guidance_nfe == 0


def test_the_global_random_state_is_neither_read_nor_moved(demo):
    scheduler = DDPMScheduler.from_config(demo[1].config)  # draws from it, when given no generator
    outcomes = []
    for watch in (nullcontext(), attach(demo[0], scheduler, record=RECORD, guide=OFF)):
        torch.manual_seed(11)
        outcomes.append((draw(demo[0], scheduler, 1, watch, generator=None), torch.random.get_rng_state()))
    assert torch.equal(outcomes[0][0], outcomes[1][0])
    assert torch.equal(outcomes[0][1], outcomes[1][1])


def test_guidance_changes_the_samples_of_every_scheduler(demo, scheduler):
    plain = draw(demo[0], scheduler, 2, steps=4)
    with attach(demo[0], scheduler, guide=GUIDE) as run:
        guided = draw(demo[0], scheduler, 2, steps=4)
    assert guided.isfinite().all()
    assert (guided - plain).flatten(1).norm(dim=1).gt(1e-3).all()
    assert run.guidance_nfe > 0


def stop(step: int) -> None:
    if step == 2:
        raise KeyboardInterrupt


@pytest.mark.parametrize("mode", GuidanceMode)
@pytest.mark.parametrize("fails", [False, True])
def test_the_network_is_as_before_on_success_and_when_sampling_is_stopped(demo, mode, fails):
    network, scheduler = demo
    before = state_of(network)
    guide = GuidanceOptions(draws=TWO, mode=mode)
    with pytest.raises(KeyboardInterrupt) if fails else nullcontext(), attach(network, scheduler, record=RECORD, guide=guide):
        draw(network, scheduler, 1, steps=3, progress=stop if fails else None)
    assert state_of(network) == before


def test_the_network_is_as_before_when_an_uncertainty_pass_fails(demo):
    network, scheduler = demo
    before, forward = state_of(network), network.forward

    def out_of_memory(sample, timestep, class_labels=None, return_dict=True):
        if not return_dict:  # the sampler asks for a dict
            raise MemoryError
        return forward(sample, timestep, class_labels)

    # put there inside the block: a forward of someone else's is refused before
    with pytest.raises(MemoryError), attach(network, scheduler, record=RECORD), mock.patch.object(network, "forward", out_of_memory):
        draw(network, scheduler, 1)
    assert state_of(network) == before


def test_a_run_is_for_one_sampling(demo):
    with attach(*demo, record=RECORD):
        draw(*demo, 1)
        with pytest.raises(RuntimeError, match=r"this run has ended\. Open a new attach\(\) block for each pipeline call"):
            draw(*demo, 1)


def test_a_run_is_for_one_sampling_of_a_single_step_too(demo):
    with attach(*demo, guide=GUIDE):
        draw(*demo, 1, steps=1)
        with pytest.raises(RuntimeError, match="this run has ended"):
            draw(*demo, 1, steps=1)


def test_a_run_that_measured_nothing_says_why(demo):
    with attach(*demo, record=AleatoricOptions(window=StepWindow(0.5, 0.5))) as run:
        pass
    with pytest.raises(ValueError, match=r"No step was measured"):
        run.result()
    with attach(*demo) as run:
        draw(*demo, 1, steps=3)
    with pytest.raises(ValueError, match="Nothing was recorded: pass record=AleatoricOptions"):
        run.result()


class NoTime(nn.Module):
    def forward(self, sample: Tensor) -> Tensor:
        return sample


class LuminaLike(nn.Module):
    def forward(self, hidden_states: Tensor, timestep: Tensor) -> Tensor:
        return hidden_states


class Filling(nn.Module):
    """Its input holds the image to fill beside the sample, in the last dimension, as Flux Fill's."""

    def forward(self, hidden_states: Tensor, timestep: Tensor, return_dict: bool = True) -> tuple[Tensor]:
        return (hidden_states[..., :4],)


def test_what_cannot_be_watched_is_refused(demo, monkeypatch):
    network, scheduler = demo

    def refuse(sentence: str, *args) -> None:
        with pytest.raises(ValueError, match=sentence), attach(*args):
            pass

    refuse("pass its scheduler", network)
    refuse("Conv2d is called in a way that is not supported", nn.Conv2d(1, 1, 1), scheduler)
    refuse("NoTime is called in a way that is not supported", NoTime(), scheduler)
    refuse("LuminaLike is called in a way that is not supported", LuminaLike(), scheduler)
    monkeypatch.setattr(network.mid_block.resnets[0].dropout, "training", True)
    refuse("UNet2DModel is in train mode, where dropout", network, scheduler)


def test_an_input_that_is_not_only_the_sample_is_refused(demo):
    network = Filling()
    with attach(network, demo[1], record=RECORD), pytest.raises(ValueError, match=r"turns \(2, 6, 8\) into .* use the plain pipeline"):
        network(torch.ones(2, 6, 8), torch.tensor(500))


def test_an_odd_batch_has_no_unconditional_half(demo):
    with attach(*demo, record=RECORD, classifier_free=True), pytest.raises(ValueError, match="even number of rows in each call, got 3"):
        draw(*demo, 3)


def test_every_step_is_a_step_of_its_own_among_a_thousand(demo):
    """In VP coordinates the first sigmas differ by less than rounding would."""
    network, scheduler = demo
    scheduler.set_timesteps(1000)
    with attach(network, scheduler, guide=GuidanceOptions(window=StepWindow(0.9, 1.0, every=1000))) as run, torch.no_grad():
        for t in scheduler.timesteps[:8]:
            network(torch.zeros(1, 1, 32, 32), t, class_labels=torch.tensor([0]))
    assert run.step == 7
