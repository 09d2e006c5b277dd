"""Sample Filter: accepted, rejected, and what lies between."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from comfy_api.latest import io

from ...core.options import Borderline, FilterRule, Unanswered, choose
from ...core.options.limits import BAND, CONFIDENCE, REVIEW_SECONDS
from ...core.result import Uncertainty as Result
from ...core.selection.calibration import Calibration as History
from ...core.selection.filtering import decide
from ...core.selection.settings import common_settings
from ...core.selection.unsure import find_borderline
from ...core.view.filtered import describe_filter
from ...core.view.summary import summarize_scores
from ...core.view.verdict import list_verdicts
from ...hosts.comfyui.batch import check_rows, join_scores, list_scores
from ...hosts.comfyui.review.pictures import middle_frames
from ...hosts.comfyui.review.reviewed import ReviewOptions, settle_borderline
from ...hosts.comfyui.view.notes import note_in_pictures
from ...hosts.comfyui.view.report import show
from ...hosts.comfyui.view.thumbnails import thumbnail_sheet
from ..sockets import checked, schema
from .inputs import check_rule, inputs, seeds_of
from .outputs import first_values, listed, outputs, seeds_at

LIMITS = (FilterRule.THRESHOLD.value, FilterRule.CALIBRATED.value, FilterRule.AT_MOST_BAD.value)


class SampleFilter(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "UQ_SampleFilter",
            "Sample Filter",
            "Divides a batch into accepted and rejected images by their uncertainty. Nodes behind an empty side are skipped without an "
            "error. Costs nothing: a change of rule or value does not sample again. You can look at borderline images and decide yourself.",
            inputs=inputs(),
            outputs=outputs(),
            hidden=[io.Hidden.extra_pnginfo],
            is_input_list=True,
            has_intermediate_output=True,
            search_aliases=["filter", "reject", "keep best", "quality", "review", "pick"],
        )

    @classmethod
    def validate_inputs(cls, rule: Sequence[str | None] = (None,), value: Sequence[float | None] = (None,)) -> bool | str:
        return checked(lambda: check_rule(rule[0], value[0]))

    @classmethod
    async def execute(
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
        borderline: Sequence[str] = (Borderline.BY_RULE.value,),
        band: Sequence[float] = (BAND.default,),
        review_seconds: Sequence[float] = (REVIEW_SECONDS.default,),
        unanswered: Sequence[str] = (Unanswered.BY_RULE.value,),
        seeds: list[int] | None = None,
    ) -> io.NodeOutput:
        check_rule(rule[0], value[0])  # wired values come here unchecked
        if calibration[0] is not None and not isinstance(calibration[0], History):
            raise ValueError("calibration holds thresholds of guidance, not scores; connect Calibrate or Load Calibration.")
        options = ReviewOptions(
            choose("borderline", borderline[0], Borderline), review_seconds[0], choose("unanswered", unanswered[0], Unanswered)
        )
        scores, direction, quantity = join_scores(uncertainty)
        count, chosen = len(scores), FilterRule(rule[0])
        seeds = seeds_of(seeds, count)
        if images:
            check_rows("images", images, count)  # before anybody is asked about them
        extra = None if extra_scores is None else list_scores(extra_scores)
        made = common_settings([result.provenance for result in uncertainty])
        told = {"quantity": quantity, "made": made, "confidence": confidence[0]}
        by_rule = decide(scores, direction, chosen, value[0], calibration[0], extra, extra_weight[0], **told)
        near = find_borderline(scores, by_rule, chosen, value[0], band[0], calibration[0])
        line = by_rule.threshold if rule[0] in LIMITS else None
        before = summarize_scores(scores, direction, quantity, by_rule.accepted, line)
        reviewed = await settle_borderline(by_rule, near, options, before, uncertainty, images)
        decision = reviewed.decision
        summary = summarize_scores(scores, direction, quantity, decision.accepted, line)
        note_in_pictures(cls.hidden.extra_pnginfo, summary, uncertainty, decision.reasons, images)
        more = {
            "unsure": list(decision.unsure),
            "reviewed": sorted((*reviewed.accepted, *reviewed.rejected)),
            "review": {"ending": reviewed.ending.name, "near": reviewed.near} if reviewed.ending else None,
            "filter": describe_filter(chosen, value[0], extra, extra_weight[0], calibration[0]),
            "thumbnails": thumbnail_sheet(middle_frames(images, count)) if images else None,
        }
        verdicts = list_verdicts(decision, scores, direction, quantity, seeds)
        *values, unsure = first_values(decision, scores.tolist(), images, latents, masks)
        title = f"{len(decision.accepted)} of {count} accepted" + (f", {len(decision.unsure)} set aside" if decision.unsure else "")
        lines = [*decision.reasons, *([reviewed.sentence] if reviewed.sentence else [])]
        ui = show(summary | more, title, lines, chart=False, kind=cls.SCHEMA.node_id) | {"uq_verdict": verdicts}
        return io.NodeOutput(
            *values,
            unsure,
            listed(decision.rejected),
            listed(decision.unsure),
            len(decision.accepted),
            len(decision.rejected),
            seeds_at(seeds, decision.accepted),
            seeds_at(seeds, decision.rejected),
            listed(sorted(reviewed.accepted)),
            listed(sorted(reviewed.rejected)),
            json.dumps(verdicts, allow_nan=False),
            ui=ui,
        )


NODES = [SampleFilter]
