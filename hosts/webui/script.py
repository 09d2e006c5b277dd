"""WebUI host: the hooks that the web UI calls, in their order.

What only a generation needs is imported with the first one: the web UI's start waits for what is imported here.
"""

from __future__ import annotations

import sys
from typing import Any

from modules import script_callbacks, scripts
from modules.shared import state

from ...core.options import RejectedTo
from .job import Job, key_of
from .page import axes, infotext, panel
from .page.texts import TITLE
from .sampling.dispatch import StepDispatcher
from .settings import Settings, mapping_of
from .support import has_patcher, what_lacks, why_not


def register_callbacks() -> None:
    """Once for each time that the web UI loads its scripts; it forgets them when it loads them anew."""
    if not has_patcher():
        StepDispatcher(begin_without_patcher).register(script_callbacks)


def listen_for_saved_images() -> None:
    """Once, with the first job: to find out who registers takes the web UI a while, for which its start should not wait."""
    if all(each.callback is not note_saved_image for each in script_callbacks.callback_map["callbacks_image_saved"]):
        script_callbacks.on_image_saved(note_saved_image)


def note_saved_image(params: Any) -> None:
    from .page import notes

    notes.note_saved_image(params)


def begin_without_patcher(p: Any, job: Job) -> None:
    from .sampling.batch import begin

    begin(p, job, {})


class UncertaintyScript(scripts.Script):
    sorting_priority = 20

    def title(self) -> str:
        return TITLE

    def show(self, is_img2img: bool) -> Any:
        axes.register(scripts.scripts_data)  # here: all scripts are loaded, and the plot has not yet read its axes, with a page or without
        leave_search_path()
        return scripts.AlwaysVisible

    def ui(self, is_img2img: bool) -> list[Any]:
        components, pasted = panel.build(self.elem_id, what_lacks())
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
        listen_for_saved_images()
        p.uncertainty = Job(settings)
        p.extra_generation_params.update(infotext.fields_of(p.uncertainty))

    def process_before_every_sampling(self, p: Any, *values: Any, **drawn: Any) -> None:
        job: Job | None = getattr(p, "uncertainty", None)
        if job is not None and has_patcher():
            from .sampling.batch import begin

            begin(p, job, drawn)

    def post_sample(self, p: Any, ps: Any, *values: Any) -> None:
        job: Job | None = getattr(p, "uncertainty", None)
        if job is not None:
            from .sampling.batch import end

            end(p, job, ps)

    def postprocess_batch_list(self, p: Any, pp: Any, *values: Any, batch_number: int = 0, **_: Any) -> None:
        job: Job | None = getattr(p, "uncertainty", None)
        if job is not None:
            from .filter import sift

            sift(p, job, pp, batch_number)

    def postprocess_image(self, p: Any, pp: Any, *values: Any) -> None:
        job: Job | None = getattr(p, "uncertainty", None)
        if job is None or not job.settings.heatmaps:
            return
        measured = job.measured.get(key_of(p, p.batch_index))
        if measured is not None:
            from .filter import show_behind
            from .page.pictures import heatmap_picture

            show_behind(p, heatmap_picture(measured.bad_map, pp.image))

    def postprocess(self, p: Any, processed: Any, *values: Any) -> None:
        job: Job | None = getattr(p, "uncertainty", None)
        if job is not None:
            if job.stopped:  # an X/Y/Z plot goes on with its next cell
                state.stopping_generation = False
            if job.held:  # the person stopped before the last batch, in the moment between two
                from .filter import set_aside

                for each in job.held:
                    set_aside(p, RejectedTo.BOTH, each)
                job.held.clear()
            if not hasattr(processed, "extra_images"):
                show_among(p, processed)
            lines = infotext.summary(job, list(zip(p.all_seeds, p.all_subseeds, strict=True)))
            processed.comments = "\n".join(filter(None, [processed.comments.rstrip("\n"), lines]))


def show_among(p: Any, processed: Any) -> None:
    """A1111 has no place of their own for what stands behind the images; and a plot would take the first of them for its cell's image."""
    from .filter import is_one_of_several

    if not processed.images and is_one_of_several(p):
        return
    behind = getattr(p, "extra_result_images", [])
    processed.images.extend(behind)
    processed.infotexts.extend(picture.info.get("parameters", "") for picture in behind)


def leave_search_path() -> None:
    """The web UI lets Python search the folder of each extension for ever; other people's ``import core`` shall not find ours."""
    for folder in {data.basedir for data in scripts.scripts_data if data.script_class is UncertaintyScript}:
        sys.path[:] = [each for each in sys.path if each != folder]


def refuse(p: Any, sentence: str) -> None:
    p.extra_generation_params[infotext.NOTE] = f"Drawn without it: {sentence}"
    p.comment(f"{TITLE}: {sentence} The images were drawn without it.")
