"""ComfyUI host: one sampling run of some members of an ensemble, whose start is answered from memory where others have made it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import comfy.model_management
import comfy.samplers
import torch
from torch import Tensor

from ..model import count_active
from .samplers import GuiderPrediction, post_cfg_hooks

OnStep = Callable[[int, Tensor, Tensor], None]  # step, x, x0
OnPrediction = Callable[[float, GuiderPrediction, bool], None]  # noise level, and whether the unconditional half was asked for


class Reached(Exception):
    """The sampler has come to the step that it was to stop at, with the sample x."""

    def __init__(self, x: Tensor) -> None:
        super().__init__()
        self.x = x


@dataclass
class Branch(comfy.samplers.Sampler):
    """In a sampler's place: runs ``inner``, whose first evaluations are answered by ``known`` ones, up to evaluation ``stop``.

    on_step: called at each step of which the network was asked. Of those evaluations ``made`` keeps the predictions when a stop
    is set, and ``passes`` counts the network's, rows times passes a row.  on_prediction: called at each of them.
    """

    inner: comfy.samplers.KSAMPLER
    known: list[GuiderPrediction]
    stop: int | None
    on_step: OnStep
    on_prediction: OnPrediction | None = None
    made: list[GuiderPrediction] = field(default_factory=list)
    passes: int = 0

    def sample(
        self,
        guider: comfy.samplers.CFGGuider,
        sigmas: Tensor,
        extra_args: dict[str, Any],
        callback: Any,
        noise: Tensor,
        latent_image: Tensor | None = None,
        denoise_mask: Tensor | None = None,
        disable_pbar: bool = False,
    ) -> Tensor:
        """The signature of ``comfy.samplers.Sampler``."""
        branch_guider = BranchGuider(self, guider, extra_args["model_options"], sigmas, latent_image, denoise_mask)
        try:
            return self.inner.sample(
                branch_guider, sigmas, extra_args, branch_guider.on_step, noise, latent_image, denoise_mask, disable_pbar
            )
        except Reached as reached:
            return reached.x


class BranchGuider(comfy.samplers.CFGGuider):
    """The run's guider as the sampler sees it: all that the run has put on it, but known predictions are not computed again."""

    def __init__(
        self,
        branch: Branch,
        guider: comfy.samplers.CFGGuider,
        options: dict[str, Any],
        sigmas: Tensor,
        image: Tensor,
        mask: Tensor | None,
    ) -> None:
        super().__init__(guider.model_patcher)
        vars(self).update(vars(guider))
        self.branch, self.guider, self.sigmas, self.image, self.mask = branch, guider, sigmas, image, mask
        self.evaluations = 0
        self.latest: tuple[Tensor, Tensor, Tensor] | None = None  # x, sigma, x0
        self.prediction: GuiderPrediction | None = None
        self.guided = False
        # the run's own list: what the sampler puts behind us we answer for in place of the network
        hooks = options["sampler_post_cfg_function"] = [*post_cfg_hooks(options), self.keep_prediction]
        self.hooks = len(hooks)

    def outer_predict_noise(
        self, x: Tensor, timestep: Tensor, model_options: dict[str, Any] | None = None, seed: int | None = None
    ) -> Tensor:
        branch, number = self.branch, self.evaluations
        if number == branch.stop:
            raise Reached(x)
        self.evaluations += 1
        if number < len(branch.known):
            self.latest = None
            return branch.known[number].tiled(x).answer(self, x, timestep, model_options, self.hooks)
        comfy.model_management.throw_exception_if_processing_interrupted()
        self.prediction, self.guided = None, False
        x0 = self.guider(x, timestep, model_options=model_options, seed=seed)
        self.latest = x, timestep, x0
        if branch.on_prediction is not None:
            branch.on_prediction(float(timestep.max()), self.whole_prediction(x0), self.guided)
        if branch.stop is not None:
            branch.made.append(self.whole_prediction(x0).cpu())
        return x0

    def whole_prediction(self, x0: Tensor) -> GuiderPrediction:
        """What a wrapper around the guider has made of the prediction counts, or put in the place of one."""
        return GuiderPrediction(x0, x0, x0) if self.prediction is None else replace(self.prediction, denoised=x0)

    def keep_prediction(self, args: dict[str, Any]) -> Tensor:
        level = float(args["sigma"].max())
        self.branch.passes += len(args["input"]) * (count_active(args["cond"], level) + count_active(args["uncond"], level))
        self.prediction, self.guided = GuiderPrediction.of(args), count_active(args["uncond"], level) > 0
        return args["denoised"]

    def on_step(self, i: int, denoised: Tensor, x: Tensor, steps: int) -> None:
        if self.latest is not None:
            x, sigma, x0 = self.latest
            self.branch.on_step(i, x, self.with_mask(sigma, x0))

    def with_mask(self, sigma: Tensor, x0: Tensor) -> Tensor:
        """The prediction with what a noise mask keeps of the latent, as ComfyUI puts it in behind the guider."""
        if self.mask is None:
            return x0
        mask, change = self.mask, self.guider.model_options.get("denoise_mask_function")
        if change is not None:
            mask = change(sigma, mask, extra_options={"model": self.guider, "sigmas": self.sigmas})
        return torch.lerp(self.image, x0, mask.to(x0))
