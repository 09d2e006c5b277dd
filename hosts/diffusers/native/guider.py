"""diffusers host: uncertainty guidance as a guider of modular pipelines.

pipe.update_components(guider=UncertaintyGuidance(guidance_scale=5.0, strength=0.02, scheduler=pipe.scheduler))
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers import ClassifierFreeGuidance, SchedulerMixin
from diffusers.configuration_utils import register_to_config
from torch import nn

from ....core.options import (
    AleatoricOptions,
    DrawOptions,
    FreeOptions,
    GuidanceMode,
    GuidanceOptions,
    GuidanceUnits,
    StepWindow,
    choose,
)
from ....core.result import Uncertainty
from ..attach import AttachedRun
from ..repeatable import check_repeatable
from ..space import Space

DEFAULT = GuidanceOptions()


class UncertaintyGuidance(ClassifierFreeGuidance):
    """Classifier-free guidance and, as ``attach`` guides, guidance by the model's own uncertainty: strength 0 is the former alone.

    What was measured speaks for classifier-free guidance alone: see ``GuidanceOptions``.
    The numbers are those of ClassifierFreeGuidance and of ``GuidanceOptions``; they are what ``save_pretrained`` keeps (the
    guider's own: a modular pipeline's folder holds no guider).
    scheduler: the pipeline's; no file keeps it, so after loading say ``guider.scheduler = pipe.scheduler``.
    record: what to measure by the way; ``result`` then tells it of the latest run. No file keeps it either.
    Raises ValueError for numbers out of range; in a run, without a scheduler or for one that is not understood.
    """

    ignore_for_config = ["scheduler", "record"]  # noqa: RUF012  diffusers' own way

    @register_to_config
    def __init__(
        self,
        guidance_scale: float = 7.5,
        guidance_rescale: float = 0.0,
        use_original_formulation: bool = False,
        start: float = 0.0,
        stop: float = 1.0,
        enabled: bool = True,
        strength: float = DEFAULT.strength,
        percentile: float = DEFAULT.percentile,
        samples: int = DEFAULT.draws.samples,
        seed: int = DEFAULT.draws.seed,
        start_percent: float = DEFAULT.window.start,
        end_percent: float = DEFAULT.window.end,
        mode: str = DEFAULT.mode.value,
        units: str = DEFAULT.units.value,
        orthogonal: bool = DEFAULT.orthogonal,
        scheduler: SchedulerMixin | None = None,
        record: AleatoricOptions | FreeOptions | None = None,
    ) -> None:
        super().__init__(guidance_scale, guidance_rescale, use_original_formulation, start, stop, enabled)
        self.guide = GuidanceOptions(
            strength,
            percentile,
            DrawOptions(samples, seed),
            StepWindow(start_percent, end_percent),
            choose("mode", mode, GuidanceMode),
            choose("units", units, GuidanceUnits),
            orthogonal=orthogonal,
        )
        self.scheduler, self.record = scheduler, record
        self.run: AttachedRun | None = None

    def set_state(self, step: int, num_inference_steps: int, timestep: torch.LongTensor) -> None:
        super().set_state(step, num_inference_steps, timestep)
        if step == 0:
            self.run = None

    def prepare_models(self, denoiser: nn.Module) -> None:
        """Listens to the next call of the network, and to that one alone, whether it ends well or not."""
        super().prepare_models(denoiser)
        if not self._enabled or (self.guide.strength == 0 and self.record is None):
            return
        run = self.run = self.run or self.begin(denoiser)

        def hook(network: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
            handle.remove()
            return None if output is None else run.hook(network, args, kwargs, output)

        handle = denoiser.register_forward_hook(hook, with_kwargs=True, always_call=True)

    def begin(self, denoiser: nn.Module) -> AttachedRun:
        if self.scheduler is None:
            raise ValueError("UncertaintyGuidance does not know the noise levels: set guider.scheduler = pipe.scheduler.")
        check_repeatable(denoiser)
        return AttachedRun(Space.of(self.scheduler), record=self.record, guide=self.guide)

    def result(self) -> Uncertainty:
        """What the latest run recorded. Raises ValueError when there was none, and what ``AttachedRun.result`` raises."""
        if self.run is None:
            raise ValueError("Nothing was recorded: give the guider record=AleatoricOptions(...), and run the pipeline.")
        return self.run.result()
