"""WebUI host: the hooks that the web UI calls, in their order."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

from modules import script_callbacks, scripts
from modules.sd_samplers_common import InterruptedException
from modules.shared import state

from ...core.options import InformationOptions, RejectedTo
from . import axes, infotext, panel
from .filter import set_aside, sift
from .job import Job, Key
from .notes import note_saved_image
from .pictures import heatmap_picture
from .settings import Settings, mapping_of
from .support import why_not
from .texts import TITLE

if TYPE_CHECKING:
    from .patch import SamplingRun

log = logging.getLogger(__name__)


def register_callbacks() -> None:
    """Once for each time that the web UI loads its scripts; it forgets them when it loads them anew."""
    script_callbacks.on_image_saved(note_saved_image)


class UncertaintyScript(scripts.Script):
    sorting_priority = 20

    def title(self) -> str:
        return TITLE

    def show(self, is_img2img: bool) -> Any:
        axes.register(scripts.scripts_data)  # here: all scripts are loaded, and the plot has not yet read its axes, with a page or without
        leave_search_path()
        return scripts.AlwaysVisible

    def ui(self, is_img2img: bool) -> list[Any]:
        components, pasted = panel.build(self.elem_id, why_not())
        self.infotext_fields = pasted
        return components

    def before_process(self, p: Any, *values: Any) -> None:
        """A new job. Settings that are none leave a plain image, and a sentence in its infotext and below the results."""
        p.uncertainty = None
        p.extra_generation_params = dict(p.extra_generation_params)  # an X/Y/Z plot's cells share one, and would tell another's score
        try:
            settings = Settings.from_mapping({**mapping_of(values), **getattr(p, "uncertainty_overrides", {})})
        except ValueError as error:
            refuse(p, str(error))
            return
        if not settings.enabled:
            return
        if problem := why_not():
            refuse(p, problem)
            return
        p.uncertainty = Job(settings)
        p.extra_generation_params.update(infotext.fields_of(p.uncertainty))

    def process_before_every_sampling(self, p: Any, *values: Any, **_: Any) -> None:
        job: Job | None = getattr(p, "uncertainty", None)
        if job is None:
            return
        from .patch import SamplingRun, attach

        is_second = bool(getattr(p, "is_hr_pass", False))
        if not is_second:
            job.calls = 0.0
        elif job.current is not None:  # of the first pass: it has ended
            finish(p, job, None)
        if not enlarges(p) or job.settings.active(is_second):
            try:
                job.current = SamplingRun(job.settings, p.sd_model.forge_objects.unet.model.predictor, is_second)
            except ValueError as error:
                job.note(str(error))
                return
            attach(p.sd_model, job.current)

    def post_sample(self, p: Any, ps: Any, *values: Any) -> None:
        job: Job | None = getattr(p, "uncertainty", None)
        if job is not None and job.current is not None:
            finish(p, job, ps.samples)

    def postprocess_batch_list(self, p: Any, pp: Any, *values: Any, batch_number: int = 0, **_: Any) -> None:
        job: Job | None = getattr(p, "uncertainty", None)
        if job is not None:
            sift(p, job, pp, batch_number)

    def postprocess_image(self, p: Any, pp: Any, *values: Any) -> None:
        job: Job | None = getattr(p, "uncertainty", None)
        if job is None or not job.settings.heatmaps:
            return
        measured = job.measured.get(key_of(p, p.batch_index))
        if measured is not None:
            p.extra_result_images.append(heatmap_picture(measured.bad_map, pp.image))

    def postprocess(self, p: Any, processed: Any, *values: Any) -> None:
        job: Job | None = getattr(p, "uncertainty", None)
        if job is not None:
            if job.stopped:  # an X/Y/Z plot goes on with its next cell
                state.stopping_generation = False
            for each in job.held:  # the person stopped before the last batch, in the moment between two
                set_aside(p, RejectedTo.BOTH, each)
            job.held.clear()
            lines = infotext.summary(job, list(zip(p.all_seeds, p.all_subseeds, strict=True)))
            processed.comments = "\n".join(filter(None, [processed.comments.rstrip("\n"), lines]))


def leave_search_path() -> None:
    """The web UI lets Python search the folder of each extension for ever; other people's ``import core`` shall not find ours."""
    for folder in {data.basedir for data in scripts.scripts_data if data.script_class is UncertaintyScript}:
        sys.path[:] = [each for each in sys.path if each != folder]


def refuse(p: Any, sentence: str) -> None:
    p.extra_generation_params[infotext.NOTE] = f"Drawn without it: {sentence}"
    p.comment(f"{TITLE}: {sentence} The images were drawn without it.")


def enlarges(p: Any) -> bool:
    return bool(getattr(p, "enable_hr", False))


def key_of(p: Any, index: int) -> Key:
    return p.seeds[index], p.subseeds[index]


def finish(p: Any, job: Job, latents: Any) -> None:
    """The end of one sampling: what it cost and, unless a second one follows (latents is None), what its images score."""
    run: SamplingRun = job.current
    job.current = None
    job.calls += run.nfe
    for note in filter(None, [run.note, run.problem]):
        job.note(note)
    if latents is None and job.settings.active(True):
        return
    if run.problem or state.interrupted or state.skipped:
        return
    options = job.settings.measuring()
    try:
        if isinstance(options, InformationOptions):
            from .information import measure_information

            latents = run.latents if latents is None else latents
            result = measure_information(p, run, latents, options)
            job.calls += result.nfe
        else:
            result = run.outcome()
    except InterruptedException:
        return
    except Exception as error:  # an image is never lost because it could not be measured
        log.warning("Uncertainty: the images could not be scored.", exc_info=error)
        job.note(f"{str(error) or type(error).__name__}".splitlines()[0])
        return
    job.keep([key_of(p, i) for i in range(len(p.seeds))], result)
