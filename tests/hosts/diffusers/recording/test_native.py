"""diffusers' own forms: the guider of a real modular pipeline does what ``attach`` does, and the callback records and stops."""

from __future__ import annotations

import pytest
import torch
from diffusers import ClassifierFreeGuidance
from diffusers.guiders import BaseGuidance

from tiny_modular import draw_latents, modular_sdxl
from tiny_pipelines import STEPS, sd, unconditional
from uncertainty_nodes.core.options import AleatoricOptions, DrawOptions, FreeOptions, FreeScore, GuidanceMode, GuidanceOptions, StepWindow
from uncertainty_nodes.hosts.diffusers.attach import attach
from uncertainty_nodes.hosts.diffusers.native.callback import UncertaintyCallback
from uncertainty_nodes.hosts.diffusers.native.guider import UncertaintyGuidance

WHOLE = StepWindow()
RECORD = AleatoricOptions(DrawOptions(samples=2), WHOLE)
GUIDED = {"guidance_scale": 3.0, "strength": 0.2, "mode": "forward"}
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


def test_guidance_through_the_guider_is_that_through_attach():
    pipe = modular_sdxl(ClassifierFreeGuidance(guidance_scale=3.0))
    plain = draw_latents(pipe)
    guide = GuidanceOptions(0.2, draws=DrawOptions(samples=2), mode=GuidanceMode.FORWARD)
    with attach(pipe.unet, pipe.scheduler, record=RECORD, guide=guide) as run:
        attached = draw_latents(pipe)
    pipe.update_components(guider=UncertaintyGuidance(**GUIDED, scheduler=pipe.scheduler, record=RECORD))
    guided = draw_latents(pipe)
    assert torch.equal(guided, attached) and not torch.equal(guided, plain)
    assert torch.equal(pipe.guider.result().scores, run.result().scores)
    assert torch.equal(draw_latents(pipe), guided), "a second run is like the first"


def test_strength_0_is_classifier_free_guidance_and_recording_changes_nothing():
    pipe = modular_sdxl(ClassifierFreeGuidance(guidance_scale=3.0))
    plain = draw_latents(pipe)
    for record in (None, RECORD, FreeOptions(FreeScore.CONDITION_GAP, WHOLE)):
        pipe.update_components(guider=UncertaintyGuidance(guidance_scale=3.0, strength=0.0, scheduler=pipe.scheduler, record=record))
        assert torch.equal(draw_latents(pipe), plain)
    result = pipe.guider.result()
    assert (result.quantity, result.nfe, len(result.sigmas)) == ("condition_gap", 0, STEPS)


def test_nothing_stays_on_the_network_after_a_run_or_an_error():
    pipe = modular_sdxl(UncertaintyGuidance(**GUIDED))
    with pytest.raises(ValueError, match=r"set guider.scheduler = pipe.scheduler"):
        draw_latents(pipe)
    pipe.guider.scheduler = pipe.scheduler
    draw_latents(pipe)
    assert not pipe.unet._forward_hooks
    pipe.unet.register_forward_pre_hook(fail)
    with pytest.raises(MemoryError):
        draw_latents(pipe)
    assert not pipe.unet._forward_hooks


def fail(*_: object) -> None:
    raise MemoryError


def test_it_is_kept_beside_its_pipeline(tmp_path):
    """diffusers itself keeps no guider in a modular pipeline's folder; each has a save_pretrained of its own."""
    pipe = modular_sdxl(UncertaintyGuidance(**GUIDED, percentile=50.0, units="raw"))
    pipe.guider.scheduler = pipe.scheduler
    pipe.save_pretrained(str(tmp_path / "pipe"))
    pipe.guider.save_pretrained(str(tmp_path / "guider"))
    loaded = UncertaintyGuidance.from_pretrained(str(tmp_path / "guider"))
    assert isinstance(loaded, BaseGuidance) and loaded.guide == pipe.guider.guide and loaded.guidance_scale == 3.0
    loaded.scheduler = pipe.scheduler
    first = draw_latents(pipe)
    pipe.update_components(guider=loaded)
    assert torch.equal(draw_latents(pipe), first)


def test_numbers_out_of_range_are_refused():
    with pytest.raises(ValueError, match="strength must be"):
        UncertaintyGuidance(strength=1e9)
    with pytest.raises(ValueError, match="mode must be one of"):
        UncertaintyGuidance(mode="sideways")


@pytest.mark.parametrize("options", [RECORD, FreeOptions(window=WHOLE)], ids=["draws", "free"])
def test_the_callback_records_what_attach_records(options):
    tiny = sd()
    plain = tiny.draw(2, cfg=3.0)
    with attach(tiny.pipe, record=options) as run:
        tiny.draw(2, cfg=3.0)
    with UncertaintyCallback(tiny.pipe, options) as callback:
        assert torch.equal(tiny.draw(2, cfg=3.0, callback_on_step_end=callback), plain)
    assert callback.stopped is None
    assert torch.equal(callback.result().scores, run.result().scores)
    assert not tiny.network._forward_hooks


@pytest.mark.parametrize(("at", "step"), [(0.25, 1), (0.75, 2), (1.0, 3)])
def test_the_callback_stops_a_run_and_the_calls_that_are_left(at, step):
    tiny, calls, seen = sd(), [], []
    tiny.network.register_forward_hook(lambda *_: calls.append(1))

    def judge(result) -> bool:
        seen.append(len(result.sigmas))
        return bool((result.badness > -1).all())

    with UncertaintyCallback(tiny.pipe, FreeOptions(window=WHOLE), stop=judge, at=at) as callback:
        tiny.draw(1, callback_on_step_end=callback)
    assert (callback.stopped, len(calls), seen) == (step, step + 1, [step + 1])
    calls.clear()
    tiny.draw(1)
    assert len(calls) == STEPS, "the next run is whole"


def test_a_pipeline_that_cannot_be_stopped_is_refused():
    from diffusers import DDPMPipeline

    tiny = unconditional(DDPMPipeline)
    with pytest.raises(ValueError, match="A DDPMPipeline can't be stopped on its way; leave stop out"):
        UncertaintyCallback(tiny.pipe, RECORD, stop=lambda _: True)
