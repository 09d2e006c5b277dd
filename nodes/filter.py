"""Keeping the good images: Sample Filter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from comfy_api.latest import io

from ..core.options import FilterRule, check_range
from ..core.options.limits import BAD_SHARE, CONFIDENCE, EXTRA_WEIGHT, FILTER_VALUE, PERCENT
from ..core.result import Uncertainty as Result
from ..core.selection.calibration import Calibration as History
from ..core.selection.calibration import common_settings
from ..core.selection.filtering import decide
from ..core.view.summary import summarize_scores
from ..hosts.comfyui.batch import join_scores, list_scores, part_latents, part_tensors
from ..hosts.comfyui.view.report import SKIPPED, missing, note_in_pictures, show
from .sockets import Calibration, Uncertainty, checked, number_input, schema


class SampleFilter(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "UQ_SampleFilter",
            "Sample Filter",
            "Divides a batch into accepted and rejected images by their uncertainty. Nodes behind an empty side are skipped without an "
            "error. Costs nothing: a change of rule or value does not sample again.",
            inputs=inputs(),
            outputs=outputs(),
            hidden=[io.Hidden.extra_pnginfo],
            is_input_list=True,
            has_intermediate_output=True,
            search_aliases=["filter", "reject", "keep best", "quality"],
        )

    @classmethod
    def validate_inputs(cls, rule: Sequence[str | None] = (None,), value: Sequence[float | None] = (None,)) -> bool | str:
        return checked(lambda: check_rule(rule[0], value[0]))

    @classmethod
    def execute(
        cls,
        uncertainty: list[Result],
        rule: list[str],
        value: list[float],
        images: list[io.Image.Type] | None = None,
        latents: list[io.Latent.Type] | None = None,
        masks: list[io.Mask.Type] | None = None,
        extra_scores: list[Any] | None = None,
        extra_weight: Sequence[float] = (0.5,),
        calibration: Sequence[History | None] = (None,),
        confidence: Sequence[float] = (CONFIDENCE.default,),
    ) -> io.NodeOutput:
        check_rule(rule[0], value[0])  # wired values come here unchecked
        if calibration[0] is not None and not isinstance(calibration[0], History):
            raise ValueError("calibration holds thresholds of guidance, not scores; connect Calibrate or Load Calibration.")
        scores, direction, quantity = join_scores(uncertainty)
        extra = None if extra_scores is None else list_scores(extra_scores)
        made = common_settings([result.provenance for result in uncertainty])
        chosen = FilterRule(rule[0]), value[0], calibration[0]
        decision = decide(scores, direction, *chosen, extra, extra_weight[0], quantity=quantity, made=made, confidence=confidence[0])
        accepted, count = set(decision.accepted), len(scores)
        summary = summarize_scores(scores, direction, quantity, accepted, decision.threshold if rule[0] in LIMITS else None)
        note_in_pictures(cls.hidden.extra_pnginfo, summary)
        pictures = sides("images", images and part_tensors("images", images, accepted, count))
        samples = sides("latents", latents and part_latents(latents, accepted, count))
        areas = sides("masks", masks and part_tensors("masks", masks, accepted, count))
        numbers = scores.tolist(), ",".join(map(str, decision.accepted)), bool(accepted)
        title = f"{len(accepted)} of {count} accepted"
        return io.NodeOutput(*pictures, *samples, areas[0], *numbers, ui=show(summary, title, decision.reasons, chart=False))


LIMITS = (FilterRule.THRESHOLD.value, FilterRule.CALIBRATED.value, FilterRule.AT_MOST_BAD.value)


def inputs() -> list[io.Input]:
    return [
        Uncertainty.Input("uncertainty", tooltip="How unsure the model was of each image."),
        io.Combo.Input(
            "rule",
            options=[rule.value for rule in FilterRule],
            default=FilterRule.DROP_WORST_PERCENT.value,
            tooltip="How to decide. drop_worst_percent rejects the worst images, that many percent of the batch. keep_best_count accepts "
            "the best images, that many. threshold compares each score with value. calibrated accepts what is at least as good as that "
            "many percent of earlier scores. at_most_bad accepts as many images as it can while at most that many percent of them are bad; "
            "it needs a calibration with labelled images.",
        ),
        number_input("value", FILTER_VALUE, "A percentage, a number of images or a score, depending on the rule."),
        io.Image.Input("images", optional=True, tooltip="The images that were scored, as a batch or a list."),
        io.Latent.Input("latents", optional=True, tooltip="The latents that were scored. Their noise_mask and batch_index stay with them."),
        io.Mask.Input("masks", optional=True, tooltip="A mask for each image, or one mask for all."),
        io.Float.Input(
            "extra_scores",
            optional=True,
            force_input=True,
            tooltip="Another score for each image, where high is good, such as an aesthetic score. Any list of FLOAT can be used. "
            "It is joined by rank, with the rules drop_worst_percent and keep_best_count only.",
        ),
        number_input(
            "extra_weight",
            EXTRA_WEIGHT,
            "How much extra_scores counts. At 0 it does not count, at 1 it alone decides.",
            advanced=True,
            optional=True,
        ),
        Calibration.Input(
            "calibration",
            optional=True,
            tooltip="Earlier scores, from Calibrate or Load Calibration. The rules calibrated and at_most_bad need them.",
        ),
        number_input(
            "confidence",
            CONFIDENCE,
            "How sure the rule at_most_bad must be, in percent: 95 means that in 19 of 20 calibrations the promise holds. "
            "The surer, the more labelled images it needs.",
            advanced=True,
            optional=True,
        ),
    ]


def outputs() -> list[io.Output]:
    return [
        io.Image.Output(
            display_name="accepted images",
            is_output_list=True,
            tooltip="The accepted images. Without any, the nodes behind this output are skipped.",
        ),
        io.Image.Output(
            display_name="rejected images",
            is_output_list=True,
            tooltip="The rejected images. Without any, the nodes behind this output are skipped.",
        ),
        io.Latent.Output(display_name="accepted latents", is_output_list=True, tooltip="The latents of the accepted images."),
        io.Latent.Output(display_name="rejected latents", is_output_list=True, tooltip="The latents of the rejected images."),
        io.Mask.Output(display_name="accepted masks", is_output_list=True, tooltip="The masks of the accepted images."),
        io.Float.Output(display_name="scores", is_output_list=True, tooltip="The uncertainty of each image, in the order of the batch."),
        io.String.Output(display_name="accepted_indexes", tooltip='Which images were accepted, counted from 0, such as "0,2,5".'),
        io.Boolean.Output(display_name="any_accepted", tooltip="Whether any image was accepted."),
    ]


def check_rule(rule: str | None, value: float | None) -> None:
    """What can be known before anything runs; None comes in place of what is wired."""
    rules = [r.value for r in FilterRule]
    if rule is not None and rule not in rules:
        raise ValueError(f"rule must be one of {', '.join(rules)}, got {rule!r}.")
    if value is None or rule is None:
        return
    FILTER_VALUE.check("value", value)
    if rule in (FilterRule.DROP_WORST_PERCENT, FilterRule.CALIBRATED):
        PERCENT.check("value (percent)", value)
    elif rule == FilterRule.AT_MOST_BAD:
        BAD_SHARE.check("value (percent of bad images)", value)
    elif rule == FilterRule.KEEP_BEST_COUNT:
        check_range("value (images to keep)", value, 0)


def sides(name: str, parts: tuple[list[Any], list[Any]] | None) -> list[Any]:
    """The two outputs: a list, or what keeps the nodes behind them from running."""
    if parts is None:
        return [[missing(f"Sample Filter has no {name} to give: connect {name} to it.")] for _ in range(2)]
    return [side or [SKIPPED] for side in parts]


NODES = [SampleFilter]
