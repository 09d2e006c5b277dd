"""Sampling again until images are good: Sample Until Accepted."""

from __future__ import annotations

from dataclasses import replace

from comfy_api.latest import io

from ...core.options import SINGLE_RULES, FilterRule, InformationOptions, Scorer, UntilOptions, choose
from ...core.options.limits import CONFIDENCE, FILTER_VALUE, GOING_ON, LEVELS
from ...core.result import Uncertainty as Result
from ...core.selection.calibration import Calibration as History
from ...hosts.comfyui.sampling.ksampler import KSample
from ...hosts.comfyui.search.measuring import measure_by
from ...hosts.comfyui.search.until import EarlyEnd, UntilOutcome, sample_until
from ...hosts.comfyui.view.live import Live
from ...hosts.comfyui.view.report import SKIPPED
from ..sampling import ksampler_inputs
from ..sockets import Attempts, Calibration, Uncertainty, checked, number_input, option_input, schema

DEFAULT, DRAWS = UntilOptions(), InformationOptions().draws
WIRED = ("model", "positive", "negative", "latent_image")


def until_options(
    rule: str, value: float, wanted: int, max_attempts: int, seed: int = 0, confidence: float = CONFIDENCE.default
) -> UntilOptions:
    return UntilOptions(wanted, max_attempts, choose("rule", rule, FilterRule), value, seed, confidence)


class SampleUntilAccepted(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "UQ_SampleUntilAccepted",
            "Sample Until Accepted",
            "KSampler that scores what it draws and draws again, with another seed, until enough images are good or max_attempts is "
            "reached. Then it gives the best ones. It pays where some images fail and a good one costs nothing more than another try.",
            inputs=[*sampling_inputs(), *rule_inputs(), *measuring_inputs(), *loop_inputs(), *early_inputs()],
            outputs=outputs(),
            live=True,
            search_aliases=["retry", "until good", "auto reject", "loop", "ksampler"],
        )

    @classmethod
    def validate_inputs(cls, rule, value, wanted, max_attempts) -> bool | str:
        values = (rule, value, wanted, max_attempts)
        return checked(lambda: until_options(*values), *values)

    @classmethod
    def check_lazy_status(
        cls, model=None, seed=None, steps=None, cfg=None, sampler_name=None, scheduler=None, positive=None, negative=None,
        latent_image=None, denoise=None, rule=None, value=None, wanted=None, max_attempts=None, scorer=None, samples=None, levels=None,
        calibration=None, enough=None, previous=None, previous_uncertainty=None, so_far=None, early_calibration=None, early_limit=None,
        confidence=None,
    ) -> list[str]:  # fmt: skip
        """Nothing is asked for where enough is accepted already."""
        wired = (model, positive, negative, latent_image)
        return [] if enough or is_enough(so_far, wanted) else [name for name, got in zip(WIRED, wired, strict=True) if got is None]

    @classmethod
    def execute(
        cls,
        model: io.Model.Type,
        seed: int,
        steps: int,
        cfg: float,
        sampler_name: str,
        scheduler: str,
        positive: io.Conditioning.Type,
        negative: io.Conditioning.Type,
        latent_image: io.Latent.Type,
        denoise: float,
        rule: str,
        value: float,
        wanted: int,
        max_attempts: int,
        scorer: str,
        samples: int,
        levels: int,
        calibration: History | None = None,
        enough: bool = False,
        previous: io.Latent.Type | None = None,
        previous_uncertainty: Result | None = None,
        so_far: UntilOutcome | None = None,
        early_calibration: History | None = None,
        early_limit: float = GOING_ON.default,
        confidence: float = CONFIDENCE.default,
    ) -> io.NodeOutput:
        if so_far is not None and is_enough(so_far, wanted):
            return outcome(so_far)
        if (previous is None) != (previous_uncertainty is None):
            raise ValueError("previous and previous_uncertainty belong together: connect both outputs of the earlier node, or neither.")
        if enough:
            report = "Enough was accepted earlier: nothing was sampled."
            passed = (SKIPPED, SKIPPED) if previous is None else (previous, previous_uncertainty)
            return io.NodeOutput(*passed, 0, True, report, [SKIPPED], so_far, ui={"text": [report]})
        for name, history in (("calibration", calibration), ("early_calibration", early_calibration)):
            if history is not None and not isinstance(history, History):
                raise ValueError(f"{name} holds thresholds of guidance, not scores; connect Calibrate or Load Calibration.")
        options = until_options(rule, value, wanted, max_attempts, seed, confidence)
        run = KSample(model, seed, steps, cfg, sampler_name, scheduler, positive, negative, latent_image, denoise)
        measure = measure_by(model, positive, negative, choose("scorer", scorer, Scorer), samples, levels)
        earlier = None if previous is None else (previous, previous_uncertainty)
        live = Live(cls.hidden.unique_id, cls.SCHEMA.node_id)
        early = None if early_calibration is None else EarlyEnd(early_calibration, early_limit)
        return outcome(sample_until(run, options, measure, calibration, earlier, so_far, live, early), live)


def is_enough(so_far: UntilOutcome | None, wanted: int) -> bool:
    return so_far is not None and so_far.enough(wanted)


def outcome(run: UntilOutcome, live: Live | None = None) -> io.NodeOutput:
    told = run.until.attempts, run.until.succeeded, run.report
    ui = {"text": run.report.splitlines()} | ({} if live is None else live.shown)
    if not run.chosen:
        return io.NodeOutput(SKIPPED, SKIPPED, *told, [SKIPPED], run, ui=ui)
    return io.NodeOutput(*run.best, *told, [v.seed for v in run.chosen], run, ui=ui)


def sampling_inputs() -> list[io.Input]:
    return ksampler_inputs(
        "The seed of the first attempt. The others have seeds that follow from it, which the output seeds tells.",
        "The sampler.",
        lazy=True,
    )


def rule_inputs() -> list[io.Input]:
    return [
        io.Combo.Input(
            "rule",
            [rule.value for rule in SINGLE_RULES],
            default=DEFAULT.rule.value,
            tooltip="calibrated: compare each image with the earlier scores in calibration. threshold: compare its score with value. "
            "at_most_bad: accept so that at most value percent of the accepted images are bad, by the labelled images in calibration.",
        ),
        number_input(
            "value",
            replace(FILTER_VALUE, default=50.0),
            "With calibrated: how much of the earlier scores, in percent and best first, would pass. With threshold: a score. With "
            "at_most_bad: how many percent of the accepted images may be bad.",
        ),
        option_input("wanted", DEFAULT, "wanted", "How many images should be accepted."),
        option_input("max_attempts", DEFAULT, "max_attempts", "How often to sample at most. Each attempt draws the whole latent batch."),
    ]


def measuring_inputs() -> list[io.Input]:
    return [
        io.Combo.Input(
            "scorer",
            [s.value for s in Scorer],
            default=Scorer.INFORMATION.value,
            tooltip="What is judged. information: what Prompt Information measures at its defaults. denoised and noise: what Uncertainty "
            "Estimator measures at its defaults. trajectory and condition_gap: what Record Uncertainty measures while the attempt is "
            "sampled, at no model call; condition_gap needs a cfg other than 1. A calibration must be of the same quantity.",
        ),
        option_input(
            "samples",
            DRAWS,
            "samples",
            "Noise draws at each level. Each costs one model call per image, two with information. trajectory and condition_gap don't use "
            "it.",
        ),
        number_input("levels", LEVELS, "How many noise levels to measure at. trajectory and condition_gap don't use it."),
        Calibration.Input(
            "calibration", optional=True, tooltip="Earlier scores, for the rules calibrated and at_most_bad: Calibrate or Load Calibration."
        ),
    ]


def loop_inputs() -> list[io.Input]:
    return [
        io.Boolean.Input(
            "enough",
            default=False,
            optional=True,
            tooltip="For loops: connect accepted of the round before. When it is on, nothing is sampled and previous passes through.",
        ),
        io.Latent.Input("previous", optional=True, tooltip="For loops: the best images so far, from latent of the round before."),
        Uncertainty.Input("previous_uncertainty", optional=True, tooltip="Their scores, from uncertainty of the round before."),
        Attempts.Input(
            "so_far",
            optional=True,
            tooltip="For loops that carry one value: so_far of the round before. The run goes on where it was, with max_attempts more, and "
            "once enough images are accepted, nothing is sampled.",
        ),
    ]


def early_inputs() -> list[io.Input]:
    return [
        Calibration.Input(
            "early_calibration",
            optional=True,
            tooltip="Leaves an attempt on its way when these scores of earlier drafts say that it is hopeless: what Calibrate makes of the "
            "output uncertainty of Finish Drafts. Labelled images teach it which those are.",
        ),
        number_input(
            "early_limit",
            GOING_ON,
            "For early_calibration: how many of the good images go on, in percent. Without labels: how much of the earlier scores, the "
            "best first.",
            advanced=True,
            optional=True,
        ),
        number_input(
            "confidence",
            CONFIDENCE,
            "How sure the rule at_most_bad must be, in percent: 95 means that in 19 of 20 calibrations the promise holds.",
            advanced=True,
            optional=True,
        ),
    ]


def outputs() -> list[io.Output]:
    return [
        io.Latent.Output(display_name="latent", tooltip="The accepted images as they came, and the best of the others where too few are."),
        Uncertainty.Output(display_name="uncertainty", tooltip="Their scores and maps."),
        io.Int.Output(display_name="attempts", tooltip="How often was sampled."),
        io.Boolean.Output(display_name="accepted", tooltip="Whether as many images were accepted as were wanted."),
        io.String.Output(display_name="report", tooltip="Which image was accepted or rejected, and why."),
        io.Int.Output(
            display_name="seeds",
            is_output_list=True,
            tooltip="The seed of each image. KSampler draws the whole batch of its attempt again with it; where early_calibration is "
            "connected, each image alone, behind Latent From Batch. -1 for images from previous.",
        ),
        Attempts.Output(
            display_name="so_far", tooltip="The run with its best images, for so_far of the next round of a loop. It is one value."
        ),
    ]


NODES = [SampleUntilAccepted]
