"""Rank Folder: the best images of a folder, however many it holds."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from comfy_api.latest import io

from ...core.options import FolderPlace, FolderScore, InformationOptions, Scorer, choose
from ...core.options.limits import KEEP, LEVELS
from ...hosts.comfyui.search.folder import Judge, RankedFolder, folder_in, judge_by_note, judge_with, rank_folder, stamp_folder
from ...hosts.comfyui.search.measuring import measure_by
from ..sockets import checked, number_input, option_input, schema

DRAWS = InformationOptions().draws
BEST = replace(KEEP, default=8, low=1)
SKIPPED_SHOWN = 20  # of the images without a score, of which a folder may hold thousands


class RankFolder(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "UQ_RankFolder",
            "Rank Folder",
            "Looks through a folder of ComfyUI, one image at a time, and gives the best ones. Only those stay in memory, so the folder may "
            "hold any number. Reads the scores that are written into the files, which costs nothing, or scores each image by a model.",
            inputs=[
                io.Combo.Input(
                    "place",
                    [p.value for p in FolderPlace],
                    default=FolderPlace.OUTPUT.value,
                    tooltip="Which of ComfyUI's folders holds the images.",
                ),
                io.String.Input(
                    "folder",
                    default="",
                    tooltip="A folder inside it, such as batch/monday. Empty: that folder itself. Its sub-folders are not looked into.",
                ),
                number_input("keep", BEST, "How many of the best images come out."),
                io.Combo.Input(
                    "scorer",
                    [s.value for s in FolderScore],
                    default=FolderScore.NOTE.value,
                    tooltip="note: the score that Sample Filter, Forge or the command line wrote into the file. information: what Prompt "
                    "Information measures at its defaults. denoised and noise: what Uncertainty Estimator measures at its defaults.",
                ),
                option_input("samples", DRAWS, "samples", "Noise draws at each level. Each is one model call, two by information."),
                number_input("levels", LEVELS, "How many noise levels to measure at."),
                io.Model.Input("model", optional=True, tooltip="The model that judges the images. Not needed for note."),
                io.Vae.Input("vae", optional=True, tooltip="The VAE that turns images into latents for it. Not needed for note."),
                io.Conditioning.Input("positive", optional=True, tooltip="The prompt of the images. Not needed for note."),
                io.Conditioning.Input("negative", optional=True, tooltip="The empty prompt, for information."),
            ],
            outputs=[
                io.Image.Output(display_name="images", is_output_list=True, tooltip="The best images, best first, each in its own size."),
                io.String.Output(display_name="files", is_output_list=True, tooltip="Their file names."),
                io.Float.Output(display_name="scores", is_output_list=True, tooltip="Their scores."),
                io.Int.Output(display_name="count", tooltip="How many images of the folder have a score."),
                io.String.Output(
                    display_name="verdict", tooltip="JSON, for other programs: of each of the best the file, the score and why it is there."
                ),
                io.String.Output(display_name="report", tooltip="The ranking in words, and what was left out."),
            ],
            search_aliases=["rank", "sort", "best of folder", "filter", "batch", "load images"],
        )

    @classmethod
    def validate_inputs(cls, place: str | None, folder: str | None) -> bool | str:
        return checked(lambda: folder_in(choose("place", place, FolderPlace), folder or ""), place, folder)

    @classmethod
    def fingerprint_inputs(
        cls, place=None, folder=None, keep=None, scorer=None, samples=None, levels=None, model=None, vae=None, positive=None, negative=None
    ) -> str:  # fmt: skip
        return stamp_folder(place, folder)

    @classmethod
    def execute(
        cls,
        place: str,
        folder: str,
        keep: int,
        scorer: str,
        samples: int,
        levels: int,
        model: io.Model.Type | None = None,
        vae: io.Vae.Type | None = None,
        positive: io.Conditioning.Type | None = None,
        negative: io.Conditioning.Type | None = None,
    ) -> io.NodeOutput:
        BEST.check("keep", keep)
        path = folder_in(choose("place", place, FolderPlace), folder)
        kind = choose("scorer", scorer, FolderScore)
        by_note = kind is FolderScore.NOTE
        judge = judge_by_note if by_note else judge_by_model(Scorer(kind.value), samples, levels, model, vae, positive, negative)
        ranked = rank_folder(path, keep, judge)
        scores, text = [each.score for each in ranked.judged], report(ranked)
        verdicts = list_best(ranked)
        ui = {"text": text, "uq_verdict": verdicts}
        told = json.dumps(verdicts, allow_nan=False)
        return io.NodeOutput(ranked.pictures, ranked.names, scores, ranked.count, told, "\n".join(text), ui=ui)


def judge_by_model(
    scorer: Scorer,
    samples: int,
    levels: int,
    model: io.Model.Type | None,
    vae: io.Vae.Type | None,
    positive: io.Conditioning.Type | None,
    negative: io.Conditioning.Type | None,
) -> Judge:
    """Raises ValueError, naming it, for an input that the scorer needs."""
    needed: dict[str, Any] = {"model": model, "vae": vae, "positive": positive}
    needed |= {"negative": negative} if scorer is Scorer.INFORMATION else {}
    if missing := [name for name, value in needed.items() if value is None]:
        raise ValueError(f"The scorer {scorer.value!r} needs {missing[0]}: connect it, or choose 'note' to read the scores in the files.")
    measure: Callable[..., Any] = measure_by(model, positive, negative, scorer, samples, levels).of
    return judge_with(vae.encode, measure)


def list_best(ranked: RankedFolder) -> list[dict[str, Any]]:
    """As Sample Filter's verdicts are."""
    return [
        {
            "image": place,
            "path": name,
            "score": each.score,
            "quantity": each.quantity,
            "direction": each.direction.value,
            "accepted": True,
            "seed": None,
            "why": f"Accepted: score {each.score:.4g}, rank {place + 1} of {ranked.count}, among the best {len(ranked.names)}.",
        }
        for place, (name, each) in enumerate(zip(ranked.names, ranked.judged, strict=True))
    ]


def report(ranked: RankedFolder) -> list[str]:
    first = ranked.judged[0]
    lines = [f"The best {len(ranked.names)} of {ranked.count} images by {first.quantity} ({first.direction.value})."]
    lines += [f"{place + 1}. {name}: {each.score:.4g}" for place, (name, each) in enumerate(zip(ranked.names, ranked.judged, strict=True))]
    further = len(ranked.skipped) - SKIPPED_SHOWN
    return lines + ranked.skipped[:SKIPPED_SHOWN] + ([f"{further} further images are left out."] if further > 0 else [])


NODES = [RankFolder]
