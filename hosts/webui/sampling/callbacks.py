"""WebUI host without Forge's patcher: A1111 tells each step by callbacks, and the denoiser behind it can be asked again.

Everything is measured so, and guidance moves what a callback may change. What needs the network taken apart is refused in a sentence.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ....core.denoiser import Process
from ....core.options import PipelineScore
from ....core.schedule import PercentToSigma
from ..job import Job
from .run import SamplerStep, SamplingRun

Text = Any  # (B, tokens, D), or a dict of such: the web UI's encoded prompts
NO_SIGMAS = (
    "This sampler does not tell noise levels: nothing was measured or steered. Choose another, such as Euler or DPM++ 2M, and a model "
    "that is not SD3."
)
NO_SEARCH = "This web UI lacks Forge's model patcher, without which images can't end on the way: every image was finished."
MASKED = "Guidance was left out: this web UI mixes in what the mask keeps before guidance could act. Use Forge for both together."
NO_LORAS = "This web UI lacks Forge's model patcher, without which LoRAs can't be compared: choose another score, or use Forge."
SEVERAL_PROMPTS = "A prompt with AND has several parts, which can't be measured in this web UI; write it without AND, or use Forge."


@dataclass(frozen=True)
class InnerDenoiser:
    """The k-diffusion denoiser of the running model under encoded prompts: the contract of ``core.denoiser``.

    text, image: of the batch, tiled to x in our order (M, B).
    """

    inner: Any
    text: Text
    image: Tensor
    key: str
    on_rows: Callable[[int], None]

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        text, image = tiled(self.text, len(x)), tiled(self.image, len(x))
        x0 = self.inner(x, sigma, cond=conditioning(text, image, self.key))
        self.on_rows(len(x))
        return x0

    def passes(self, sigma: float) -> int:
        return 1

    def draws_at_once(self, x: Tensor, samples: int) -> int:
        return 1  # the web UI has chosen a batch that fits; it does not tell of which size another would


def tiled(value: Any, rows: int) -> Any:
    if isinstance(value, dict):
        return {name: tiled(each, rows) for name, each in value.items()}
    return value.repeat(rows // len(value), *[1] * (value.ndim - 1))


def conditioning(text: Text, image: Tensor, key: str) -> dict[str, Any]:
    """As A1111 hands them to its model. key: the model's ``conditioning_key``."""
    if key == "crossattn-adm":
        return {"c_crossattn": [text], "c_adm": image}
    if isinstance(text, dict):
        return {**text, "c_concat": [image]}
    return {"c_crossattn": [text], "c_concat": [image]}


def percent_to_sigma(inner: Any) -> PercentToSigma:
    """Fraction of the schedule passed -> sigma, as Forge counts it. inner: a k-diffusion DiscreteSchedule."""
    last = len(inner.sigmas) - 1
    return lambda percent: float(inner.t_to_sigma(torch.tensor(last * (1.0 - percent), device=inner.sigmas.device)))


class StepListener:
    """One sampling as three callbacks tell it: before the network is asked, its answer, and the mix with the negative prompt."""

    def __init__(self, run: SamplingRun, key: str) -> None:
        self.run, self.key = run, key
        self.asked: Any = None
        self.answer: Tensor | None = None

    def on_cfg_denoiser(self, params: Any) -> None:
        self.asked, self.answer = params, None

    def on_cfg_denoised(self, params: Any) -> None:
        self.answer = params.x

    def on_cfg_after_cfg(self, params: Any) -> None:
        if self.asked is not None and self.answer is not None:
            params.x = self.run.observe(step_of(self.asked, self.answer, params.x, self.run, self.key))
        self.asked = self.answer = None


def step_of(asked: Any, answer: Tensor, denoised: Tensor, run: SamplingRun, key: str) -> SamplerStep:
    """The rows of the network are those of the prompts, then of the negative ones. A prompt of several parts is the run's problem."""
    batch, inner = len(denoised), asked.denoiser.inner_model
    own, without = answer[:batch], answer[-batch:]
    if rows_of(asked.text_cond) != batch:
        run.problem = SEVERAL_PROMPTS
    conditional = InnerDenoiser(inner, asked.text_cond, asked.image_cond[:batch], key, run.count)
    reference = replace(conditional, text=asked.text_uncond, image=asked.image_cond[-batch:])
    is_asked = not torch.equal(own, without)  # where the web UI leaves the negative prompt out, it puts the other in its place
    return SamplerStep(
        asked.x[:batch], denoised, own, without if is_asked else None, asked.sigma[:batch].float(), conditional, lambda: reference
    )


def rows_of(text: Text) -> int:
    return len(next(iter(text.values())) if isinstance(text, dict) else text)


def start(p: Any, job: Job, is_second: bool) -> None:
    """Before a sampling. Raises ValueError, in a sentence, for a sampler that can't be followed."""
    inner, model = p.sampler.model_wrap_cfg.inner_model, p.sd_model
    if not hasattr(inner, "t_to_sigma") or getattr(model, "is_sd3", False):
        raise ValueError(NO_SIGMAS)
    if job.settings.score is PipelineScore.ENSEMBLE:
        raise ValueError(NO_LORAS)
    if job.settings.best:
        job.note(NO_SEARCH)
    job.current = SamplingRun(job.settings, Process.VE, percent_to_sigma(inner), is_second)
    if job.current.guide is not None and getattr(p, "mask", None) is not None:
        job.note(MASKED)
        job.current.guide = None
    job.listener = StepListener(job.current, getattr(getattr(model, "model", None), "conditioning_key", "") or "")
