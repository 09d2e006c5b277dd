"""diffusers host: a pipeline callback that records, and may stop a run that goes badly.

with UncertaintyCallback(pipe, FreeOptions(), stop=lambda result: bool((result.badness > limit).all()), at=0.7) as callback:
    images = pipe("a cat", callback_on_step_end=callback).images
callback.stopped, callback.result()
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Any

import torch
from diffusers import DiffusionPipeline
from diffusers.callbacks import PipelineCallback

from ....core.options import AleatoricOptions, FreeOptions, GuidanceOptions, Quantity, check_range
from ....core.result import Uncertainty
from ..attach import AttachedRun, attach

Judge = Callable[[Uncertainty], bool]


class UncertaintyCallback(PipelineCallback):
    """What ``attach`` records and guides, and beside it, from the step on that is ``at`` of the run, whether ``stop`` says to stop.

    One pipeline call within its ``with``. A stopped run returns at once what it has, noisy images; ``stopped`` is the step, counted from 0.
    stop: asked after each step, with what is recorded so far.
    """

    tensor_inputs = ["latents"]  # noqa: RUF012  diffusers' own way

    def __init__(
        self,
        pipe: DiffusionPipeline,
        record: AleatoricOptions | FreeOptions,
        guide: GuidanceOptions | None = None,
        stop: Judge | None = None,
        at: float = 0.5,
    ) -> None:
        """Raises ValueError for a pipeline that is not understood, that can't be stopped, or ``at`` out of 0 to 1."""
        check_range("at", at, 0, 1)
        super().__init__(cutoff_step_ratio=float(at))
        if stop is not None and not hasattr(type(pipe), "interrupt"):
            raise ValueError(f"A {type(pipe).__name__} can't be stopped on its way; leave stop out.")
        self.pipe, self.record, self.guide, self.stop, self.at = pipe, record, guide, stop, at
        self.stopped: int | None = None
        self.run: AttachedRun | None = None
        self.blocks = ExitStack()

    def __enter__(self) -> UncertaintyCallback:
        self.stopped, self.run = None, self.blocks.enter_context(attach(self.pipe, record=self.record, guide=self.guide))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.blocks.close()

    def callback_fn(self, pipeline: DiffusionPipeline, step_index: int, timesteps: Any, callback_kwargs: dict[str, Any]) -> dict[str, Any]:
        """diffusers' signature. Nothing is changed but the flag by which a pipeline is told to stop."""
        reached = step_index + 1 >= self.at * pipeline.num_timesteps
        if self.stop is not None and self.stopped is None and reached and self.has_measured() and self.stop(self.result()):
            self.stopped, pipeline._interrupt = step_index, True
        return callback_kwargs

    def has_measured(self) -> bool:
        """Whether there is a score already: the window may begin later."""
        recorder = None if self.run is None else self.run.recorder
        fewest = 2 if isinstance(self.record, FreeOptions) else 1
        return recorder is not None and len(recorder.sigmas) >= fewest

    @torch.no_grad()
    def result(self, quantity: Quantity | None = None) -> Uncertainty:
        """So far, or of the whole run. Raises ValueError outside of ``with`` before any run, and what ``AttachedRun.result`` raises."""
        if self.run is None:
            raise ValueError("Nothing was recorded: use the callback in a with block, around the pipeline's call.")
        return self.run.result(quantity)
