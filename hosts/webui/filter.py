"""WebUI host: which pictures of a generation are kept, decided by core, and what becomes of the others."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from modules import images as files
from modules import processing
from modules.shared import opts, state
from PIL import Image
from torch import Tensor

from ...core.options import FilterRule, RejectedTo
from ...core.selection.filtering import decide
from .files import load_calibration
from .job import Job, Key, key_of
from .settings import COMPARING, WITH_CALIBRATION

UNMEASURED = "Kept: it was not measured."


@dataclass(frozen=True, eq=False)
class DrawnPicture:
    """A picture as the VAE decoded it, with what the web UI keeps beside it by its place in the batch."""

    pixels: Tensor
    prompt: str
    negative_prompt: str
    key: Key
    overlay: Any
    correction: Any


def sift(p: Any, job: Job, pp: Any, batch: int) -> None:
    """Leaves the accepted pictures in ``pp`` and ``p``. Rules that compare hold all back until the last batch of the job."""
    settings = job.settings
    if settings.rule is None and not settings.best:
        return
    if len(pp.images) != len(job.rows):
        job.note("Another extension has changed how many images there are, so every one was kept.")
        return
    arrived = candidates(p, job, pp.images)
    outdone: list[DrawnPicture] = []
    if settings.best:
        arrived, outdone = best_of(job, arrived)
    ends = batch + 1 >= p.n_iter or state.interrupted or state.stopping_generation
    if settings.rule in COMPARING:
        job.held += arrived
        arrived, job.held = (job.held, []) if ends else ([], job.held)
    accepted, rejected = (arrived, []) if settings.rule is None else judge(job, arrived)
    rejected = outdone + rejected
    job.accepted += len(accepted)
    job.rejected += len(rejected)
    if settings.wanted and job.accepted >= settings.wanted and not ends:
        state.stopping_generation = job.stopped = True
    put_back(p, pp, accepted)
    for each in rejected:
        set_aside(p, settings.rejected, each)
    if job.accepted == 0:
        p.do_not_save_grid = True  # of no pictures, which the web UI would fail at
    else:
        p.do_not_save_grid = job.without_grid


def candidates(p: Any, job: Job, pictures: Sequence[Tensor]) -> list[DrawnPicture]:
    if job.overlays is None:  # as they are for every batch, before we part them
        job.overlays, job.corrections = list(p.overlay_images or []), list(p.color_corrections or [])
        job.without_grid = p.do_not_save_grid

    def at(values: list[Any], i: int) -> Any:
        return values[i] if i < len(values) else None

    return [
        DrawnPicture(each, p.prompts[row], p.negative_prompts[row], key_of(p, i), at(job.overlays, row), at(job.corrections, row))
        for i, (row, each) in enumerate(zip(job.rows, pictures, strict=True))
    ]


def best_of(job: Job, arrived: list[DrawnPicture]) -> tuple[list[DrawnPicture], list[DrawnPicture]]:
    """The best of one batch, and what was finished beside them. All, where one was not measured."""
    known = [job.measured[each.key] for each in arrived if each.key in job.measured]
    if len(known) < len(arrived):
        job.note("Not every image could be measured, so all that were finished were kept.")
        return arrived, []
    scores = torch.tensor([each.score for each in known])
    decision = decide(scores, known[0].direction, FilterRule.KEEP_BEST_COUNT, job.settings.best, quantity=known[0].quantity)
    for each, reason in zip(arrived, decision.reasons, strict=True):
        job.verdicts[each.key] = reason
    return [arrived[i] for i in decision.accepted], [arrived[i] for i in decision.rejected]


def judge(job: Job, arrived: list[DrawnPicture]) -> tuple[list[DrawnPicture], list[DrawnPicture]]:
    """Accepted and rejected. What was not measured is kept; where the rule can't be applied all are, and a sentence says why."""
    known = [each for each in arrived if each.key in job.measured]
    for each in arrived:
        job.verdicts[each.key] = UNMEASURED
    if not known:
        return arrived, []
    settings, first = job.settings, job.measured[known[0].key]
    try:
        calibration = load_calibration(settings.calibration) if settings.rule in WITH_CALIBRATION else None
        scores = torch.tensor([job.measured[each.key].score for each in known])
        rule = settings.rule or FilterRule.DROP_WORST_PERCENT
        decision = decide(scores, first.direction, rule, settings.value, calibration, quantity=first.quantity, made=first.made)
    except (OSError, ValueError) as error:
        job.note(f"{error} Every image was kept.")
        return arrived, []
    for each, reason in zip(known, decision.reasons, strict=True):
        job.verdicts[each.key] = reason
    out = {known[i].key for i in decision.rejected}
    return [each for each in arrived if each.key not in out], [each for each in arrived if each.key in out]


def put_back(p: Any, pp: Any, kept: list[DrawnPicture]) -> None:
    """All that the web UI reads by a picture's place in the batch."""
    pp.images = [each.pixels for each in kept]
    p.prompts, p.negative_prompts = [each.prompt for each in kept], [each.negative_prompt for each in kept]
    p.seeds, p.subseeds = [each.key[0] for each in kept], [each.key[1] for each in kept]
    if p.overlay_images:
        p.overlay_images = [each.overlay for each in kept] or p.overlay_images
    if p.color_corrections:
        p.color_corrections = [each.correction for each in kept] or p.color_corrections


def set_aside(p: Any, where: RejectedTo, each: DrawnPicture) -> None:
    """A rejected picture, finished as the accepted are: to the folder "rejected" beside theirs, or behind them in the gallery."""
    picture = Image.fromarray((255.0 * each.pixels.cpu().numpy().transpose(1, 2, 0)).astype("uint8"))
    if each.correction is not None:
        picture = processing.apply_color_correction(each.correction, picture)
    if each.overlay is not None and getattr(opts, "overlay_inpaint", True):
        done = processing.apply_overlay(picture, p.paste_to, each.overlay)
        picture = done[0] if isinstance(done, tuple) else done
    text = processing.create_infotext(p, [each.prompt], [each.key[0]], [each.key[1]], index=0, all_negative_prompts=[each.negative_prompt])
    saves = p.save_samples() and (where is not RejectedTo.GALLERY or is_one_of_several(p))
    if saves:
        folder = os.path.join(p.outpath_samples, "rejected")
        files.save_image(picture, folder, "", each.key[0], each.prompt, opts.samples_format, info=text, p=p)
    if where is not RejectedTo.FOLDER or not saves:  # never lost
        picture.info["parameters"] = text
        show_behind(p, picture)


def show_behind(p: Any, picture: Image.Image) -> None:
    """In the gallery, behind what was drawn, and never in the grid."""
    p.extra_result_images = [*getattr(p, "extra_result_images", []), picture]


def is_one_of_several(p: Any) -> bool:
    """Whether a script such as the X/Y/Z plot draws several generations: of all but the first, it shows the accepted pictures alone."""
    arguments = getattr(p, "script_args", None)
    return bool(arguments) and isinstance(arguments[0], int) and arguments[0] > 0
