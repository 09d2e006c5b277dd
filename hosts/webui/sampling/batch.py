"""WebUI host: one batch of images, from the beginning of each of its samplings to what its images score."""

from __future__ import annotations

import logging
from typing import Any

from modules.sd_samplers_common import InterruptedException
from modules.shared import state
from torch import Tensor

from ....core.options import EnsembleOptions, InformationOptions
from ....core.result import Uncertainty
from ..job import Job, key_of
from ..support import has_patcher
from .information import measure_information
from .run import SamplingRun

log = logging.getLogger(__name__)


def begin(p: Any, job: Job, drawn: dict[str, Any]) -> None:
    """Before each sampling of a batch. With hires fix there are two, and the web UI comes twice to the second.

    drawn: what it is drawn from, as the web UI tells it.
    """
    is_second = bool(getattr(p, "is_hr_pass", False))
    if not is_second:
        job.begin_batch([key_of(p, i) for i in range(len(p.seeds))])
    elif job.current is not None:  # of the first pass: it has ended
        finish(p, job, None)
    is_meant = not enlarges(p) or job.settings.active(is_second)
    try:
        if has_patcher():
            from .patch import start

            start(p, job, is_second, is_meant, drawn)
        elif is_meant:
            from . import callbacks

            callbacks.start(p, job, is_second)
    except ValueError as error:
        job.note(str(error))


def end(p: Any, job: Job, ps: Any) -> None:
    """After the last sampling of a batch: images that have ended on the way are not decoded."""
    if job.current is not None:
        finish(p, job, ps.samples)
    search = job.search
    if search is None:
        return
    job.rows = list(search.search.rows)
    if len(job.rows) < len(job.keys):
        rows = job.rows
        ps.samples = ps.samples[rows] if isinstance(ps.samples, Tensor) else type(ps.samples)(ps.samples[i] for i in rows)
        p.seeds, p.subseeds = [p.seeds[i] for i in rows], [p.subseeds[i] for i in rows]
        job.ended += len(job.keys) - len(rows)


def enlarges(p: Any) -> bool:
    return bool(getattr(p, "enable_hr", False))


def finish(p: Any, job: Job, latents: Any) -> None:
    """The end of one sampling: what it cost and, unless a second one follows (latents is None), what its images score."""
    run: SamplingRun = job.current
    job.current = job.listener = None  # the denoiser stays: until another comes, no new sampling has begun
    job.calls += run.nfe
    for note in filter(None, [run.note, run.problem]):
        job.note(note)
    if latents is None and job.settings.active(True):
        return
    if run.problem or state.interrupted or state.skipped:
        return
    try:
        result = measure(p, job, run, latents)
    except InterruptedException:
        return
    except Exception as error:  # an image is never lost because it could not be measured
        log.warning("Uncertainty: the images could not be scored.", exc_info=error)
        job.note(f"{str(error) or type(error).__name__}".splitlines()[0])
        return
    job.keep(result, range(len(job.keys)) if job.search is None else job.search.search.rows)


def measure(p: Any, job: Job, run: SamplingRun, latents: Any) -> Uncertainty:
    """latents: what the sampler drew; the web UI keeps them to itself where it has decoded them already, after hires fix."""
    options = job.settings.measuring()
    if isinstance(options, EnsembleOptions):
        from .ensemble import compare_members

        result = compare_members(p, job, run.process)
        job.calls += result.nfe
        return result
    if not isinstance(options, InformationOptions):
        return run.outcome()
    latents = latents if isinstance(latents, Tensor) else run.latents
    with run.loaded(latents) as x0:
        result = measure_information(run, x0, options)
    job.calls += result.nfe
    return result
