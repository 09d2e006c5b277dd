"""A web UI without Forge's patcher: a denoiser that calls back in A1111's order, over a network whose answers are known in closed form."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from uncertainty_nodes.core.denoiser import Process
from uncertainty_nodes.core.options import InformationOptions
from uncertainty_nodes.core.pixelwise.aleatoric import estimate_aleatoric_step
from uncertainty_nodes.core.pixelwise.information import compare
from uncertainty_nodes.core.pixelwise.quadrature import window_quadrature
from uncertainty_nodes.hosts.webui.job import Job
from uncertainty_nodes.hosts.webui.sampling.callbacks import SEVERAL_PROMPTS, StepListener, percent_to_sigma
from uncertainty_nodes.hosts.webui.sampling.dispatch import StepDispatcher
from uncertainty_nodes.hosts.webui.sampling.information import measure_information
from uncertainty_nodes.hosts.webui.sampling.run import SamplingRun
from uncertainty_nodes.hosts.webui.settings import Settings

SIGMAS = [14.6, 8.0, 4.0, 2.0, 1.0, 0.5, 0.1]
CFG = 3.0
BATCH = 2


class Registry:
    """Of callbacks, as the web UI's ``script_callbacks`` keeps them."""

    def __init__(self) -> None:
        self.by: dict[str, list[Any]] = {"on_cfg_denoiser": [], "on_cfg_denoised": [], "on_cfg_after_cfg": []}

    def __getattr__(self, name: str) -> Any:
        return self.by[name].append

    def tell(self, name: str, **params: Any) -> SimpleNamespace:
        told = SimpleNamespace(**params)
        for each in list(self.by[name]):
            each(told)
        return told


class GaussianInner:
    """A k-diffusion denoiser of images N(mean of the text, 1): x0 = (x + sigma^2 mean) / (1 + sigma^2). Counts its rows."""

    def __init__(self) -> None:
        self.sigmas = torch.linspace(0.03, 14.6, 1000)
        self.rows = 0

    def t_to_sigma(self, t: Tensor) -> Tensor:
        low = t.floor().long()
        high, part = t.ceil().long(), t.frac()
        return ((1 - part) * self.sigmas.log()[low] + part * self.sigmas.log()[high]).exp()

    def __call__(self, x: Tensor, sigma: Tensor, cond: dict[str, Any]) -> Tensor:
        (text,), (image,) = cond["c_crossattn"], cond["c_concat"]
        assert len(text) == len(image) == len(x)
        self.rows += len(x)
        return gaussian(x, sigma, text)


def gaussian(x: Tensor, sigma: Tensor, text: Tensor) -> Tensor:
    s, mean = sigma[:, None, None, None], text.mean(dim=(1, 2))[:, None, None, None]
    return (x + s**2 * mean * x.tanh()) / (1 + s**2)


class CallingBack:
    """A1111's CFGDenoiser for one prompt an image: the prompts' rows, then those of the negative ones, in one call."""

    def __init__(self, inner: GaussianInner, callbacks: Registry, parts: int = 1) -> None:
        self.inner_model, self.callbacks, self.parts = inner, callbacks, parts

    def __call__(self, x: Tensor, sigma: Tensor, text: Tensor, negative: Tensor) -> Tensor:
        batch, image = len(x), torch.zeros(len(x), 5, 1, 1)
        x_in, sigma_in, image_in = torch.cat([x] * self.parts + [x]), torch.cat([sigma] * self.parts + [sigma]), torch.cat([image] * 2)
        asked = self.callbacks.tell(
            "on_cfg_denoiser", x=x_in, image_cond=image_in, sigma=sigma_in, text_cond=text, text_uncond=negative, denoiser=self
        )
        images = torch.zeros(len(asked.x), 5, 1, 1)
        both = torch.cat([asked.text_cond, asked.text_uncond])
        x_out = self.inner_model(asked.x, asked.sigma, cond={"c_crossattn": [both], "c_concat": [images]})
        self.callbacks.tell("on_cfg_denoised", x=x_out, inner_model=self.inner_model)
        own, without = x_out[:batch], x_out[-batch:]
        return self.callbacks.tell("on_cfg_after_cfg", x=without + (own - without) * CFG).x


def problem() -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    text = torch.randn(BATCH, 3, 4, generator=draw) + 1
    return SIGMAS[0] * torch.randn(BATCH, 4, 6, 6, generator=draw), text, torch.zeros(BATCH, 3, 4)


def follow(denoiser: CallingBack, run: SamplingRun) -> StepDispatcher:
    """What the web UI's callbacks do for a generation whose sampling has begun."""
    job = Job(Settings(), current=run, denoiser=denoiser, listener=StepListener(run, "crossattn"))
    denoiser.p = SimpleNamespace(uncertainty=job)
    dispatcher = StepDispatcher(begins_nothing)
    dispatcher.register(denoiser.callbacks)
    return dispatcher


def begins_nothing(p: Any, job: Job) -> None:
    raise AssertionError("no other sampling begins here")


def sample(settings: dict[str, Any] | None) -> tuple[Tensor, SamplingRun | None, list[tuple[Tensor, ...]], GaussianInner]:
    """Euler. The steps: x, sigma, denoised."""
    inner, run = GaussianInner(), None
    x, text, negative = problem()
    steps, denoiser = [], CallingBack(inner, Registry())
    if settings is not None:
        run = SamplingRun(Settings.from_mapping({"enabled": True, **settings}), Process.VE, percent_to_sigma(inner))
        follow(denoiser, run)
    for sigma, after in zip(SIGMAS, [*SIGMAS[1:], 0.0], strict=True):
        level = torch.full((BATCH,), sigma)
        denoised = denoiser(x, level, text, negative)
        steps.append((x, level, denoised))
        x = denoised + (x - denoised) / sigma * after
    return x, run, steps, inner


@pytest.mark.parametrize("score", ["denoised", "noise", "posterior", "trajectory", "condition_gap", "information"])
def test_watching_changes_no_bit_of_a_sample(score: str) -> None:
    assert torch.equal(sample({"score": score})[0], sample(None)[0])


@pytest.mark.parametrize("score", ["denoised", "noise", "posterior"])
def test_a_spread_is_that_of_the_denoiser_itself(score: str) -> None:
    _, run, steps, inner = sample({"score": score, "samples": 3, "start_percent": 0.0, "end_percent": 1.0})
    assert run is not None and not run.problem
    _, text, _ = problem()
    options = Settings.from_mapping({"score": score, "samples": 3, "start_percent": 0.0, "end_percent": 1.0}).recording()

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        return gaussian(x, sigma, text.repeat(len(x) // BATCH, 1, 1))

    spreads = [
        estimate_aleatoric_step(denoise, x, denoise(x, sigma), sigma, Process.VE, options, i)[options.quantity]
        for i, (x, sigma, _) in enumerate(steps)
    ]
    assert torch.allclose(run.outcome().maps, torch.stack(spreads).mean(dim=0), rtol=1e-5, atol=1e-7)
    assert run.outcome().nfe == 3 * len(SIGMAS)
    assert inner.rows == BATCH * len(SIGMAS) * (2 + 3)


def test_free_scores_are_those_of_the_steps() -> None:
    window = {"start_percent": 0.0, "end_percent": 1.0}
    _, run, steps, inner = sample({"score": "trajectory", **window})
    assert run is not None
    denoised = torch.stack([step[2] for step in steps])
    assert torch.allclose(run.outcome().maps, denoised.var(dim=0, correction=0), rtol=1e-4)
    _, text, negative = problem()
    _, run, steps, inner = sample({"score": "condition_gap", **window})
    assert run is not None
    gaps = [(gaussian(x, s, text) - gaussian(x, s, negative)).square() / s[:, None, None, None] ** 2 for x, s, _ in steps]
    assert torch.allclose(run.outcome().maps, torch.stack(gaps).mean(dim=0), rtol=1e-4)
    assert inner.rows == BATCH * len(SIGMAS) * 2


def test_prompt_information_of_what_was_drawn() -> None:
    x, run, _, inner = sample({"score": "information"})
    assert run is not None
    options, before = InformationOptions(), inner.rows
    result = measure_information(run, x, options)
    _, text, negative = problem()

    def under(text: Tensor) -> Any:
        return lambda x, sigma: gaussian(x, sigma, text.repeat(len(x) // BATCH, 1, 1))

    quadrature = window_quadrature(options, percent_to_sigma(inner), Process.VE)
    (expected,) = compare(under(negative), [under(text)], x, quadrature, Process.VE, options)
    assert torch.allclose(result.scores, expected.result.scores, rtol=1e-4, atol=1e-5)
    assert (inner.rows - before) / BATCH == result.nfe


@pytest.mark.parametrize("mode", ["posterior", "forward", "autograd"])
def test_guidance_moves_a_sample_and_autograd_says_what_it_did(mode: str) -> None:
    x, run, _, _ = sample({"score": "noise", "strength": 0.3, "mode": mode, "guidance_start": 0.0, "guidance_end": 1.0})
    assert run is not None and not run.problem
    assert not torch.equal(x, sample(None)[0])
    assert ("The mode forward was used instead" in run.note) == (mode == "autograd")


def test_a_new_denoiser_begins_a_sampling_and_loses_no_step_of_it() -> None:
    callbacks, begun = Registry(), []
    job = Job(Settings.from_mapping({"score": "condition_gap", "start_percent": 0.0, "end_percent": 1.0}))

    def begin(p: Any, job: Job) -> None:
        begun.append(p)
        job.current = SamplingRun(job.settings, Process.VE, percent_to_sigma(GaussianInner()))
        job.listener = StepListener(job.current, "crossattn")

    StepDispatcher(begin).register(callbacks)
    x, text, negative = problem()
    for _ in range(2):
        denoiser = CallingBack(GaussianInner(), callbacks)
        denoiser.p = SimpleNamespace(uncertainty=job)
        for sigma in (8.0, 4.0):
            denoiser(x, torch.full((BATCH,), sigma), text, negative)
        assert len(job.current.outcome().sigmas) == 2
    assert len(begun) == 2
    denoiser.p = SimpleNamespace(uncertainty=None)
    denoiser(x, torch.full((BATCH,), 2.0), text, negative)
    assert len(begun) == 2


def test_a_generation_that_failed_neither_hears_nor_moves_the_next() -> None:
    """The web UI may keep it for long: what holds it is then in the traceback."""
    x, text, negative = problem()
    sigma, callbacks = torch.full((BATCH,), 4.0), Registry()
    settings = Settings.from_mapping({"score": "noise", "strength": 0.3, "guidance_start": 0.0, "guidance_end": 1.0})
    failing = CallingBack(GaussianInner(), callbacks)
    run = SamplingRun(settings, Process.VE, percent_to_sigma(failing.inner_model))
    follow(failing, run)
    moved = failing(x, sigma, text, negative)
    failing.inner_model = None
    with pytest.raises(TypeError):  # between the first of the callbacks and the second
        failing(x, sigma, text, negative)
    registered = {name: len(each) for name, each in callbacks.by.items()}
    for p in (SimpleNamespace(uncertainty=None), SimpleNamespace()):
        plain = CallingBack(GaussianInner(), callbacks)
        plain.p = p
        drawn = plain(x, sigma, text, negative)
        assert torch.equal(drawn, CallingBack(GaussianInner(), Registry())(x, sigma, text, negative))
        assert not torch.equal(drawn, moved)
    assert run.steps == 1
    assert {name: len(each) for name, each in callbacks.by.items()} == registered


def test_a_prompt_of_several_parts_is_drawn_with_a_sentence() -> None:
    inner = GaussianInner()
    run = SamplingRun(Settings.from_mapping({"score": "denoised"}), Process.VE, percent_to_sigma(inner))
    denoiser = CallingBack(inner, Registry(), parts=2)
    follow(denoiser, run)
    x, text, negative = problem()
    denoiser(x, torch.full((BATCH,), 4.0), torch.cat([text, text]), negative)
    assert run.problem == SEVERAL_PROMPTS
    assert inner.rows == 3 * BATCH
