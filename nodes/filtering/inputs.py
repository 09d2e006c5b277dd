"""What Sample Filter is told, and what of it can be checked before anything runs."""

from __future__ import annotations

from comfy_api.latest import io

from ...core.options import Borderline, FilterRule, Unanswered, check_range
from ...core.options.limits import BAD_SHARE, BAND, CONFIDENCE, EXTRA_WEIGHT, FILTER_VALUE, PERCENT, REVIEW_SECONDS
from ..sockets import Calibration, Uncertainty, number_input


def inputs() -> list[io.Input]:
    return [*rule_inputs(), *borderline_inputs()]


def rule_inputs() -> list[io.Input]:
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


def borderline_inputs() -> list[io.Input]:
    return [
        io.Combo.Input(
            "borderline",
            options=[choice.value for choice in Borderline],
            default=Borderline.BY_RULE.value,
            optional=True,
            tooltip="What to do with images near the line between accepted and rejected. by_rule: the rule decides. review: you decide, "
            "in a full-screen view, while the run waits. set_aside: they are neither accepted nor rejected and come out as unsure.",
        ),
        number_input(
            "band",
            BAND,
            "How near the line an image is borderline, in percent to each side: of the batch, or of the earlier scores in calibration, "
            "or, with the rule threshold, of value. Not used when borderline is by_rule.",
            advanced=True,
            optional=True,
        ),
        number_input(
            "review_seconds",
            REVIEW_SECONDS,
            "How long the run waits for you after your last key or click. 0 = as set in ComfyUI's settings under Uncertainty.",
            advanced=True,
            optional=True,
        ),
        io.Combo.Input(
            "unanswered",
            options=[choice.value for choice in Unanswered],
            default=Unanswered.BY_RULE.value,
            optional=True,
            tooltip="What becomes of borderline images when you don't answer in time or close the page. set_aside: they come out "
            "as unsure.",
        ),
        io.Int.Input(
            "seeds",
            optional=True,
            force_input=True,
            tooltip="The seed of each image, such as the output seeds of Best of N; or one seed for the whole batch.",
        ),
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


def seeds_of(seeds: list[int] | None, count: int) -> list[int] | None:
    """A seed for each image. Raises ValueError for another number of them."""
    if seeds is None or len(seeds) == count:
        return seeds
    if len(seeds) == 1:
        return seeds * count
    raise ValueError(f"seeds must be one for each of the {count} images, or one for all, got {len(seeds)}; connect those of these images.")
