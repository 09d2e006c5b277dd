"""What scores were like in earlier runs: Calibrate and Load Calibration, for the rule calibrated of Sample Filter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from comfy_api.latest import io

from ..core.options import limits
from ..core.result import Uncertainty as Result
from ..core.selection.calibration import Calibration as History
from ..core.selection.calibration_text import describe, describe_promise
from ..core.selection.combine import QUANTITY as COMBINED
from ..core.selection.image_codes import image_codes
from ..core.selection.settings import PROMPT_KIND
from ..core.selection.step_scores import StepScores
from ..hosts.comfyui.batch import join_further, join_scores, parse_labels
from ..hosts.comfyui.files import collect_scores, find, names, stamp, target
from .sockets import Calibration, Uncertainty, checked, number_input, schema

KIND = "calibration"
RANKS = (
    "uncertainty comes from Combine Uncertainty, whose scores are ranks within one batch and say nothing about images of another: connect "
    "the results that it joins, each to a Calibrate with a name of its own."
)


class Calibrate(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "UQ_Calibrate",
            "Calibrate",
            "Collects scores over many runs, so that Sample Filter can judge a single image by what is usual. "
            "Each run adds its scores to the file. Costs nothing.",
            inputs=[
                Uncertainty.Input("uncertainty", tooltip="Results of the kind that shall be judged: same model, same settings."),
                io.String.Input(
                    "name",
                    default="scores",
                    tooltip="The file in output/uncertainty/calibration that collects them; empty = this run alone.",
                ),
                io.String.Input(
                    "prompt_kind",
                    default="",
                    optional=True,
                    tooltip="A word for what is drawn, such as portraits. Scores of another kind are then refused. Left empty, "
                    "it is not compared.",
                ),
                number_input(
                    "limit",
                    limits.CALIBRATION,
                    "How many scores the file keeps. When more are collected, a random sample of all of them stays.",
                    optional=True,
                ),
                label_input("accepted_indexes", "good"),
                label_input("rejected_indexes", "bad"),
                number_input(
                    "bad_share",
                    limits.BAD_SHARE,
                    "The node tells whether the labels suffice to promise that at most that many percent of the accepted images are bad.",
                    optional=True,
                ),
                number_input("confidence", limits.CONFIDENCE, "How sure that promise must be, in percent.", optional=True),
            ],
            outputs=[Calibration.Output(display_name="calibration", tooltip="All scores of the file, for Sample Filter.")],
            is_input_list=True,
            is_output_node=True,
            search_aliases=["calibration", "threshold"],
        )

    @classmethod
    def validate_inputs(cls, name: list[str | None]) -> bool | str:
        return checked(lambda: name[0] and target(KIND, name[0]))

    @classmethod
    def execute(
        cls,
        uncertainty: list[Result],
        name: list[str],
        prompt_kind: Sequence[str] = ("",),
        limit: Sequence[int] = (int(limits.CALIBRATION.default),),
        accepted_indexes: Sequence[str] = ("",),
        rejected_indexes: Sequence[str] = ("",),
        bad_share: Sequence[float] = (limits.BAD_SHARE.default,),
        confidence: Sequence[float] = (limits.CONFIDENCE.default,),
    ) -> io.NodeOutput:
        scores, direction, quantity = join_scores(uncertainty)
        if quantity == COMBINED:
            raise ValueError(RANKS)
        kind = {PROMPT_KIND: prompt_kind[0].strip()} if prompt_kind[0].strip() else {}
        made = [result.provenance | kind for result in uncertainty]
        path, again = target(KIND, name[0]) if name[0] else None, 0
        if path is not None and path.is_file() and not bool(scores.isfinite().any()):
            history = History.load(path)  # a failed image must not end an overnight run
        else:
            images, bad = parse_labels(len(scores), accepted_indexes[0], rejected_indexes[0])
            further = {name: values[images] for name, values in join_further(uncertainty).items()}
            fitted = History.fit([scores], direction, quantity, made, images=image_codes(uncertainty))
            history = fitted.label(scores[images], bad, further)
            history = replace(history, steps=StepScores.of((result.sigmas, result.curve) for result in uncertainty))
            if path is not None:
                history, again = collect_scores(path, history, limit[0])
        return io.NodeOutput(history, ui={"text": describe(history, again) + describe_promise(history, bad_share[0], confidence[0])})


def label_input(name: str, kind: str) -> io.Input:
    tooltip = (
        f'Images of this run that you find {kind}, counted from 0, such as "0,2,5". Label every image that you look at, good or bad, '
        "and don't pick: the rule at_most_bad of Sample Filter rests on them."
    )
    return io.String.Input(name, default="", optional=True, tooltip=tooltip)


class LoadCalibration(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "UQ_LoadCalibration",
            "Load Calibration",
            "Reads the scores that Calibrate collected. Costs nothing.",
            inputs=[
                io.Combo.Input("name", names(KIND), tooltip="A file of output/uncertainty/calibration or models/uncertainty/calibration.")
            ],
            outputs=[Calibration.Output(display_name="calibration", tooltip="For Sample Filter, rule calibrated.")],
            search_aliases=["calibration", "threshold"],
        )

    @classmethod
    def validate_inputs(cls, name: str | None) -> bool | str:
        try:
            find(KIND, name or "scores")
        except (FileNotFoundError, ValueError) as error:
            return name is None or str(error)  # None: connected
        return True

    @classmethod
    def fingerprint_inputs(cls, name: str) -> str:
        return stamp(KIND, name)

    @classmethod
    def execute(cls, name: str) -> io.NodeOutput:
        return io.NodeOutput(History.load(find(KIND, name)))


NODES = [Calibrate, LoadCalibration]
