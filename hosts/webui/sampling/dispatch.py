"""WebUI host without Forge's patcher: whose step A1111's callbacks tell. Loaded with the web UI, so it imports next to nothing."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, Protocol

from ..job import Job


class StepWatcher(Protocol):
    """Of one sampling, see ``callbacks``."""

    def on_cfg_denoiser(self, params: Any) -> None: ...

    def on_cfg_denoised(self, params: Any) -> None: ...

    def on_cfg_after_cfg(self, params: Any) -> None: ...


class StepDispatcher:
    """Three callbacks for all generations, registered once, so that none is left by a generation that fails.

    Only the first of a step tells whose it is; the others follow it before anything else is drawn. begin: for a sampling that has
    begun; it gives the job a listener, or none.
    """

    def __init__(self, begin: Callable[[Any, Job], None]) -> None:
        self.begin = begin
        self.listener: Callable[[], StepWatcher | None] = nobody

    def register(self, callbacks: Any) -> None:
        """callbacks: the web UI's ``script_callbacks``."""
        callbacks.on_cfg_denoiser(self.on_cfg_denoiser)
        callbacks.on_cfg_denoised(self.on_cfg_denoised)
        callbacks.on_cfg_after_cfg(self.on_cfg_after_cfg)

    def on_cfg_denoiser(self, params: Any) -> None:
        self.listener = nobody
        p = getattr(params.denoiser, "p", None)
        job: Job | None = getattr(p, "uncertainty", None)
        if job is None:
            return
        if job.denoiser is not params.denoiser:  # not every A1111 tells otherwise that another sampling has begun
            self.begin(p, job)
            job.denoiser = params.denoiser
        if job.listener is not None:
            self.listener = weakref.ref(job.listener)
            job.listener.on_cfg_denoiser(params)

    def on_cfg_denoised(self, params: Any) -> None:
        if (listener := self.listener()) is not None:
            listener.on_cfg_denoised(params)

    def on_cfg_after_cfg(self, params: Any) -> None:
        if (listener := self.listener()) is not None:
            listener.on_cfg_after_cfg(params)


def nobody() -> None:
    return None
