"""Every kind of pipeline with random weights: watching leaves it bit-identical, guidance moves it by what was asked, calls are counted."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from diffusers import DDIMPipeline, DDPMPipeline, EulerAncestralDiscreteScheduler, PyramidAttentionBroadcastConfig
from torch import Tensor, nn

import tiny_pipelines as tiny
from uncertainty_nodes.core.options import AleatoricOptions, DrawOptions, GuidanceMode, GuidanceOptions, StepWindow
from uncertainty_nodes.hosts.diffusers.attach import attach, score

PIPELINES = {
    "SD": tiny.sd,
    "SD v": tiny.sd_v,
    "SD inpainting": tiny.sd_inpaint,
    "SD ControlNet": tiny.sd_controlnet,
    "SDXL": tiny.sdxl,
    "SD3": tiny.sd3,
    "Flux": tiny.flux,
    "DiT": tiny.dit,
    "DDPM": lambda: tiny.unconditional(DDPMPipeline),
    "DDIM": lambda: tiny.unconditional(DDIMPipeline),
    "learned variance": lambda: tiny.unconditional(DDPMPipeline, learned_variance=True),
}
GUIDED_BY_TEXT = [name for name in PIPELINES if name not in ("DDPM", "DDIM", "learned variance")]
RECORD = AleatoricOptions(draws=DrawOptions(samples=2), window=StepWindow())
SETTINGS = [(name, cfg) for name in PIPELINES for cfg in ((1.0, 4.0) if name in GUIDED_BY_TEXT else (1.0,))]
pytestmark = pytest.mark.filterwarnings("ignore")  # diffusers' own deprecations


@functools.cache
def made(name: str) -> tiny.Tiny:
    return PIPELINES[name]()


@dataclass
class Watched:
    """What goes into a network's calls and comes out, before and after the code under test, and the rows of all its passes."""

    network: nn.Module
    inputs: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    raw: list[Tensor] = field(default_factory=list)
    moved: list[Tensor] = field(default_factory=list)
    rows: int = 0

    def draw(self, pipe: tiny.Tiny, *args: Any, attached: Any, **kwargs: Any) -> tuple[Tensor, Any]:
        forward = self.network.forward

        @functools.wraps(forward)
        def counting(*args: Any, **kwargs: Any) -> Any:
            x = args[0] if args else kwargs.get("sample", kwargs.get("hidden_states"))
            self.rows += len(x)
            return forward(*args, **kwargs)

        def before(_: nn.Module, args: tuple, kwargs: dict, output: Any) -> None:
            x = args[0] if args else kwargs.get("sample", kwargs.get("hidden_states"))
            self.inputs.append((x.clone(), torch.as_tensor(args[1] if len(args) > 1 else kwargs["timestep"]).flatten()[0]))
            self.raw.append(output[0].clone())

        self.network.forward = counting
        first = self.network.register_forward_hook(before, with_kwargs=True)
        try:
            with attached as run:
                last = self.network.register_forward_hook(lambda _, __, output: self.moved.append(output[0].clone()))
                images = pipe.draw(*args, **kwargs)
                last.remove()
        finally:
            first.remove()
            del self.network.forward
        return images, run


@pytest.mark.parametrize(("name", "cfg"), SETTINGS)
def test_watching_leaves_the_sample_bit_identical(name, cfg):
    pipe = made(name)
    plain, watched = pipe.draw(2, cfg), Watched(pipe.network)
    images, run = watched.draw(pipe, 2, cfg, attached=attach(pipe.pipe, record=RECORD))
    result = run.result()
    assert torch.equal(plain, images)
    assert result.scores.shape == (2,)
    assert result.maps.isfinite().all() and (result.maps.flatten(1).amax(dim=1) > 0).all()
    assert len(result.sigmas) == tiny.STEPS
    assert result.nfe == 2 * tiny.STEPS
    assert watched.rows == run.network_rows + 2 * result.nfe
    assert run.network_rows == sum(len(x) for x, _ in watched.inputs) == 2 * tiny.STEPS * (2 if cfg > 1 else 1)


@pytest.mark.parametrize("mode", GuidanceMode)
@pytest.mark.parametrize(("name", "cfg"), SETTINGS)
def test_guidance_moves_eps_by_what_was_asked(name, cfg, mode):
    pipe, strength = made(name), 0.2
    guide = GuidanceOptions(strength=strength, draws=DrawOptions(samples=2), window=StepWindow(0.0, 0.6), mode=mode)
    watched = Watched(pipe.network)
    images, run = watched.draw(pipe, 2, cfg, attached=attach(pipe.pipe, guide=guide))
    assert images.isfinite().all()
    assert not torch.equal(images, pipe.draw(2, cfg))
    assert watched.rows == run.network_rows + 2 * run.guidance_nfe
    steps = moved_steps(pipe, watched, cfg)
    assert 0 < len(steps) < tiny.STEPS
    torch.testing.assert_close(norms(steps[0][1]), strength * norms(steps[0][0]), rtol=1e-3, atol=0)
    for eps, shift in steps[1:]:  # random networks soon have no gradient that is worth its full strength
        assert (norms(shift) <= strength * norms(eps) * 1.001).all()


def moved_steps(pipe: tiny.Tiny, watched: Watched, cfg: float) -> list[tuple[Tensor, Tensor]]:
    """(eps of the conditional prediction, how far it was moved) of each guided step; both halves, or both calls, move alike."""
    together = zip(watched.inputs, watched.raw, watched.moved, strict=True)
    calls = [eps_of(pipe.pipe.scheduler, x, t, raw, moved) for (x, t), raw, moved in together]
    steps = []
    while calls:
        eps, shift = calls.pop(0)
        if cfg > 1 and len(eps) == 2:  # Flux: the negative prompt is a call of its own
            torch.testing.assert_close(calls.pop(0)[1], shift, rtol=1e-2, atol=1e-5)
        elif cfg > 1:
            (one, other), conditional = shift.chunk(2), 0 if type(pipe.pipe).__name__ == "DiTPipeline" else 1
            torch.testing.assert_close(one, other, rtol=1e-2, atol=1e-4 * float(eps.abs().max()))
            eps, shift = eps.chunk(2)[conditional], (one, other)[conditional]
        if shift.abs().max() > 0:
            steps.append((eps, shift))
    return steps


def eps_of(scheduler: Any, x: Tensor, t: Tensor, raw: Tensor, moved: Tensor) -> tuple[Tensor, Tensor]:
    """The noise prediction behind a network output, and how far it moved, from the definitions of each kind of output."""
    x = x[:, : raw.shape[1]]
    raw, shift = raw[:, : x.shape[1]], (moved - raw)[:, : x.shape[1]]
    if not hasattr(scheduler, "alphas_cumprod"):  # flow: v = n - x0 and x = (1 - s) x0 + s n
        s = float(t if t <= 1 else t / 1000)
        return x + (1 - s) * raw, (1 - s) * shift
    if scheduler.config.prediction_type == "epsilon":
        return raw, shift
    i = int((scheduler.timesteps - t).abs().argmin())
    sigma = float(scheduler.sigmas[i]) / (1 + float(scheduler.sigmas[i]) ** 2) ** 0.5  # v = alpha n - s x0 and x = alpha x0 + s n
    return sigma * x + (1 - sigma**2) ** 0.5 * raw, (1 - sigma**2) ** 0.5 * shift


def norms(x: Tensor) -> Tensor:
    return x.flatten(1).norm(dim=1)


@pytest.mark.parametrize("name", GUIDED_BY_TEXT)
def test_only_the_conditional_prediction_is_measured(name):
    """The first step sees the same sample under any guidance scale; a later one would not."""
    pipe = made(name)
    first = AleatoricOptions(draws=DrawOptions(samples=2), window=StepWindow(0.0, 0.26))
    scores = []
    for cfg in (1.0, 4.0):
        with attach(pipe.pipe, record=first) as run:
            pipe.draw(2, cfg)
        scores.append(run.result().curve[0])
    torch.testing.assert_close(scores[0], scores[1], rtol=1e-4, atol=0)
    assert abs(scores[0][0] - scores[0][1]) > 5e-4 * scores[0][0]


def test_positions_that_all_images_share_are_no_batch():
    """As many images as the prompt has tokens: Flux's positions look like a batch then."""
    pipe = made("Flux")
    scores = []
    for micro_batch in (1, 2):
        with attach(pipe.pipe, record=AleatoricOptions(draws=DrawOptions(samples=2, micro_batch=micro_batch))) as run:
            pipe.draw(tiny.TOKENS)
        scores.append(run.result().scores)
    torch.testing.assert_close(scores[0], scores[1], rtol=1e-3, atol=0)


def test_an_ancestral_sampler_with_its_own_generator():
    pipe = tiny.sd()
    pipe.pipe.scheduler = EulerAncestralDiscreteScheduler(steps_offset=1)
    plain = pipe.draw(2, 4.0, seed=5)
    with attach(pipe.pipe, record=RECORD):
        assert torch.equal(plain, pipe.draw(2, 4.0, seed=5))
    assert not torch.equal(plain, pipe.draw(2, 4.0, seed=6))


def test_a_pipelines_second_call_needs_a_run_of_its_own():
    pipe = made("SD3")
    with attach(pipe.pipe, record=RECORD):
        pipe.draw(1)
        with pytest.raises(RuntimeError, match=r"Open a new attach\(\) block for each pipeline call"):
            pipe.draw(1)


def test_a_cache_of_earlier_passes_is_refused():
    pipe = tiny.flux()
    pipe.network.enable_cache(PyramidAttentionBroadcastConfig(spatial_attention_block_skip_range=2, current_timestep_callback=lambda: 500))
    with pytest.raises(ValueError, match=r"FluxTransformer2DModel can.t be asked again.*disable_cache"), attach(pipe.pipe):
        pass


def test_three_passes_in_one_call_are_refused():
    pipe = tiny.sd()
    pipe.draw(1, 4.0)  # leaves the pipeline with guidance on
    with attach(pipe.pipe, record=RECORD), pytest.raises(ValueError, match="three passes in one call"):
        pipe.network(torch.ones(3, 4, 8, 8), torch.tensor(1), encoder_hidden_states=torch.ones(3, 5, 16))


def test_two_images_are_no_halves_where_the_negative_prompt_is_a_call_of_its_own():
    """As in pipelines that say that they guide, yet do not double the batch."""
    pipe = tiny.sd()
    pipe.draw(2, 4.0)
    assert pipe.pipe.do_classifier_free_guidance
    with attach(pipe.pipe, record=RECORD) as run, torch.no_grad():
        for prompt in (tiny.embeddings(2, tiny.TOKENS, 16), tiny.embeddings(2, tiny.TOKENS, 16, seed=2)):
            pipe.network(tiny.embeddings(2, 4, 8, 8), torch.tensor(501), encoder_hidden_states=prompt)
    assert run.result().curve.shape == (1, 2)
    assert run.network_rows == 4


@pytest.mark.parametrize(("name", "time_of"), [("SD", lambda s, t: t[0]), ("SD3", lambda s, t: 1000 * s), ("Flux", lambda s, t: s)])
def test_a_finished_latent_is_scored_at_the_time_that_the_network_understands(monkeypatch, name, time_of):
    """Flux counts time from 0 to 1, SD3 to 1000."""
    pipe, calls = made(name), []
    forward = pipe.network.forward

    @functools.wraps(forward)
    def noting(*args: Any, **kwargs: Any) -> Any:
        calls.append({**kwargs, "timestep": args[1] if len(args) > 1 else kwargs["timestep"]})
        return forward(*args, **kwargs)

    monkeypatch.setattr(pipe.network, "forward", noting)
    latents, given = pipe.draw(2), calls.pop()
    cond = {key: value for key, value in given.items() if key not in ("hidden_states", "timestep", "return_dict")}
    calls.clear()
    result = score(pipe.network, pipe.pipe.scheduler, latents, cond, AleatoricOptions(draws=DrawOptions(samples=2, micro_batch=1)), count=2)
    assert result.maps.shape == latents.shape
    assert result.maps.isfinite().all()
    training = [round((1 - percent) * 999) for percent in (0.60, 0.75) for _ in range(2)]
    for call, sigma, t in zip(calls, result.sigmas.repeat_interleave(2).tolist(), training, strict=True):
        assert call["timestep"].shape == (2,)
        assert call["timestep"].tolist() == pytest.approx([time_of(sigma, [t])] * 2)
