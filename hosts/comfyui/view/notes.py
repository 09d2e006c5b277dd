"""Scores in the pictures that ComfyUI saves: its Save nodes write whatever stands in a prompt's ``extra_pnginfo`` into each file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ....core.options import Direction
from ....core.result import FAILED, Uncertainty
from ....core.view.notes import KEY, Note
from ....core.view.notes.looks import look_of
from ....core.view.notes.note import percentile

Summary = dict[str, Any]  # core.view.summary


def note_in_pictures(
    extra_pnginfo: dict[str, Any] | None,
    summary: Summary,
    results: Sequence[Uncertainty],
    reasons: Sequence[str],
    images: Sequence[Tensor] | None,
) -> None:
    """Adds score and decision to what Save Image writes into each file after this node has run: a note for each image of the batch.

    ComfyUI hands one and the same dict to all nodes of a prompt; it has none when a prompt comes without ``extra_pnginfo``. Every file
    gets the notes of the whole batch, so that each says what its image looks like.
    """
    if isinstance(extra_pnginfo, dict):
        notes = make_notes(summary, results, reasons, images)
        extra_pnginfo[KEY] = [*extra_pnginfo.get(KEY, []), *(note.to_json() for note in notes)]


def make_notes(summary: Summary, results: Sequence[Uncertainty], reasons: Sequence[str], images: Sequence[Tensor] | None) -> list[Note]:
    """One for each image of the batches that were scored. looks: only of pictures, not of videos, whose frames are many."""
    scores = summary["scores"]
    of_image = [result for result in results for _ in range(len(result))]
    pictures = [picture for batch in images or () for picture in batch]
    looks = [look_of(picture) for picture in pictures] if len(pictures) == len(scores) else [""] * len(scores)
    return [
        Note(
            summary["quantity"],
            Direction(summary["direction"]),
            score,
            percentile=percentile(summary["ranks"][i], len(scores)),
            accepted=i in summary["accepted"],
            why=reasons[i],
            model_calls=of_image[i].nfe,
            seconds=round(of_image[i].seconds / len(of_image[i]), 4),
            method=method_of(of_image[i]),
            image=i if looks[i] or len(scores) > 1 else None,
            look=looks[i],
        )
        for i, score in enumerate(scores)
    ]


def method_of(result: Uncertainty) -> str:
    return "; ".join(f"{name}: {text}" for name, text in result.provenance.items() if name != FAILED)
