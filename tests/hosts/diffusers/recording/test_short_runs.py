"""Runs of few steps: what lies in no window is measured at the step nearest to it, as in the ComfyUI host."""

from __future__ import annotations

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
    KDPM2DiscreteScheduler,
    LCMScheduler,
    StableDiffusion3Img2ImgPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionXLImg2ImgPipeline,
)

import tiny_pipelines as tiny
from uncertainty_nodes.core.options import AleatoricOptions, DrawOptions, DropoutOptions, GuidanceOptions, StepWindow
from uncertainty_nodes.hosts.diffusers.attach import attach
from uncertainty_nodes.hosts.diffusers.dropout import mc_dropout
from uncertainty_nodes.hosts.diffusers.space import Space

pytestmark = pytest.mark.filterwarnings("ignore")  # diffusers' own deprecations
TWO = DrawOptions(samples=2)
EARLY, LATE = StepWindow(0.05, 0.10), StepWindow(0.95, 0.96)
SCHEDULERS = [
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
    KDPM2DiscreteScheduler,
    LCMScheduler,
]
PIPELINES = {
    "SD": (tiny.sd, StableDiffusionImg2ImgPipeline),
    "SDXL": (tiny.sdxl, StableDiffusionXLImg2ImgPipeline),
    "SD3": (tiny.sd3, StableDiffusion3Img2ImgPipeline),
}


def from_image(name: str) -> tiny.Tiny:
    make, kind = PIPELINES[name]
    text_to_image = make()
    pipe = kind.from_pipe(text_to_image.pipe)
    pipe.vae.register_to_config(shift_factor=0.1)  # SD3 wants one

    def inputs(images: int, cfg: float) -> dict:
        given = text_to_image.inputs(images, cfg)
        picture = tiny.embeddings(1, 3, tiny.SIZE, tiny.SIZE).sigmoid()
        return {k: v for k, v in given.items() if k not in ("height", "width")} | {"image": picture, "strength": 0.3}

    return tiny.Tiny(pipe, inputs)


@pytest.mark.parametrize("cfg", [1.0, 4.0])
@pytest.mark.parametrize("name", PIPELINES)
def test_an_image_to_start_from_and_few_steps_left(name, cfg):
    """Strength 0.3 of 4 steps, after the window has passed."""
    pipe = from_image(name)
    plain = pipe.draw(2, cfg)
    with attach(pipe.pipe, record=AleatoricOptions(TWO, StepWindow(0.0, 0.2))) as run:
        assert torch.equal(plain, pipe.draw(2, cfg))
    result = run.result()
    assert result.scores.isfinite().all()
    assert len(run.sigmas) == run.step + 1 == (2 if name == "SD3" else 1)  # SD3 rounds up
    assert len(result.sigmas) == 1
    assert float(result.sigmas[0]) == pytest.approx(run.sigmas[0])


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize(("window", "nearest"), [(EARLY, 0), (LATE, -1)])
def test_the_step_nearest_to_the_window_is_measured(scheduler, window, nearest):
    pipe = tiny.sd()
    pipe.pipe.scheduler = scheduler(**({"clip_sample": False} if scheduler in (DDIMScheduler, LCMScheduler) else {}), steps_offset=1)
    seen = []
    pipe.network.register_forward_hook(
        lambda _, args, kwargs, output: seen.append(Space.of(pipe.pipe.scheduler).sigma_at(args[1])), with_kwargs=True
    )
    edges = [Space.of(pipe.pipe.scheduler).percent_to_sigma(p) for p in (window.start, window.end)]
    with attach(pipe.pipe, record=AleatoricOptions(TWO, window)) as run:
        pipe.draw(1, num_inference_steps=2)
    sigmas = run.result().sigmas.tolist()
    assert not any(edges[1] <= sigma <= edges[0] for sigma in seen)
    wanted = min(seen, key=lambda sigma: max(sigma - edges[0], edges[1] - sigma))
    assert sigmas == [pytest.approx(wanted, rel=1e-4)]


def test_dropout_is_measured_so_too():
    pipe = tiny.sd()
    pipe.pipe.unet = tiny.unet(dropout=0.1)
    with mc_dropout(pipe.pipe, options=DropoutOptions(TWO, EARLY)) as run:
        pipe.draw(1, num_inference_steps=2)
    assert len(run.result().sigmas) == 1


def test_guidance_stays_out_of_steps_that_are_not_in_its_window():
    pipe = tiny.sd()
    plain = pipe.draw(1, num_inference_steps=2)
    with attach(pipe.pipe, guide=GuidanceOptions(strength=0.5, draws=TWO, window=LATE)) as run:
        assert torch.equal(plain, pipe.draw(1, num_inference_steps=2))
    assert run.guidance_nfe == 0


def test_a_run_that_never_began_has_nothing_to_say():
    pipe = tiny.sd()
    with attach(pipe.pipe, record=AleatoricOptions(TWO)) as run:
        pass
    with pytest.raises(ValueError, match="No step was measured"):
        run.result()
