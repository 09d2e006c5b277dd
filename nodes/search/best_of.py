"""The best of several candidates: Best of N and Best of N Sampler."""

from __future__ import annotations

from comfy_api.latest import io

from ...core.options import BestOfOptions, DrawOptions, Scorer, SearchMode, choose
from ...core.selection.calibration import Calibration as History
from ...hosts.comfyui.sampling.ksampler import KSample
from ...hosts.comfyui.search.best_of import best_of_sampler
from ...hosts.comfyui.search.sample import sample_best
from ...hosts.comfyui.view.live import Live
from ...hosts.comfyui.view.report import SKIPPED
from ..sampling import ksampler_inputs
from ..sockets import Calibration, Record, Uncertainty, checked, option_input, schema

DEFAULT = BestOfOptions()
NONE = "none"
PAYS = "It pays for hard prompts, few steps and models that sample at CFG 1. Where a model samples well with CFG, raising cfg is cheaper. "


def numbers(name: str, text: str) -> tuple[float, ...]:
    """Raises ValueError unless the text is numbers with commas between them."""
    try:
        return tuple(float(part) for part in text.replace(";", ",").split(",") if part.strip())
    except ValueError:
        raise ValueError(f"{name} must be numbers with commas between them, such as 0.25, 0.5, got {text!r}.") from None


def best_of_options(
    candidates: int, keep: int, points: str, fractions: str, scorer: str, second: str, mode: str, samples: int, micro_batch: int,
    limit: float = DEFAULT.limit, sharpness: float = DEFAULT.sharpness,
) -> BestOfOptions:  # fmt: skip
    """Raises ValueError for values out of range or at odds with each other."""
    return BestOfOptions(
        candidates,
        keep,
        numbers("points", points),
        numbers("fractions", fractions),
        choose("mode", mode, SearchMode),
        choose("scorer", scorer, Scorer),
        None if second == NONE else choose("second_scorer", second, Scorer),
        DrawOptions(samples, antithetic=True),
        micro_batch,
        sharpness,
        limit,
    )


def candidates_inputs() -> list[io.Input]:
    return [
        option_input("candidates", DEFAULT, "candidates", "How many images to start for each image of the latent."),
    ]


def points_inputs() -> list[io.Input]:
    return [
        io.String.Input(
            "points",
            default=", ".join(f"{p:g}" for p in DEFAULT.points),
            tooltip="When candidates are compared: parts of the noise schedule with commas between them, 0 = pure noise, 1 = finished. "
            "If it is empty, only the finished images are compared.",
        ),
        io.String.Input(
            "fractions",
            default=", ".join(f"{p:g}" for p in DEFAULT.fractions),
            tooltip="Which part of the candidates goes on after each point, with commas between them. 0.25 of 8 candidates lets 2 go on.",
        ),
        io.Combo.Input(
            "scorer",
            [s.value for s in Scorer],
            default=DEFAULT.scorer.value,
            tooltip="What candidates are compared by. information: how much of the prompt an image carries beside the negative prompt. "
            "denoised: how sure the model is of the image. noise: how sure it is of the noise. Two scorers cost no model call. trajectory: "
            "how much the predicted image moved from step to step, which tells little before point 0.6. condition_gap: how much the "
            "prompt changes the prediction, which tells most at points up to 0.5 and needs a cfg other than 1.",
        ),
        io.Combo.Input(
            "second_scorer",
            [NONE, *(s.value for s in Scorer)],
            default=NONE,
            tooltip="Another scorer, whose ranks are averaged with those of the first.",
        ),
    ]


def modes_input(modes: list[SearchMode], more: str) -> io.Input:
    return io.Combo.Input(
        "mode",
        [m.value for m in modes],
        default=DEFAULT.mode.value,
        tooltip="prune: the worst candidates end. resample: copies of the best take the place of the worst and go on with fresh noise; "
        "this needs a sampler that adds noise, such as euler_ancestral." + more,
    )


def cost_inputs() -> list[io.Input]:
    return [
        option_input(
            "samples",
            DEFAULT.draws,
            "samples",
            "Noise draws of each comparison. Each draw costs one model call per candidate, two with the scorer information, and none with "
            "trajectory and condition_gap.",
        ),
        option_input(
            "micro_batch",
            DEFAULT,
            "micro_batch",
            "How many candidates may share a model call. 1 needs the least memory and draws exactly what KSampler draws. Samplers that "
            "add noise always take one.",
        ),
    ]


class BestOfN(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "UQ_BestOfN",
            "Best of N",
            "KSampler that starts several candidates for each image, compares them on the way, and finishes only the best. "
            + PAYS
            + "At the defaults 8 candidates of 20 steps cost about as much as 5 full samplings, at CFG 1 as 6.",
            inputs=[
                *ksampler_inputs(
                    "The seed of the first candidate. The others have seeds that follow from it, which the output seeds tells.",
                    "The sampler. dpm_fast and dpm_adaptive can't be used here.",
                ),
                *candidates_inputs(),
                option_input("keep", DEFAULT, "keep", "How many of the finished images come out, for each image of the latent."),
                *points_inputs(),
                modes_input(
                    list(SearchMode), " stop: a candidate ends when earlier scores in calibration say that it is hopeless, however many."
                ),
                *cost_inputs(),
                option_input(
                    "limit",
                    DEFAULT,
                    "limit",
                    "For the mode stop: how much of the earlier scores, in percent and best first, would go on. Where calibration holds "
                    "labelled drafts: how many of the good images go on.",
                    advanced=True,
                ),
                option_input(
                    "sharpness",
                    DEFAULT,
                    "sharpness",
                    "For the mode resample: how strongly the best are preferred. 0 = not at all.",
                    advanced=True,
                ),
                Calibration.Input(
                    "calibration",
                    optional=True,
                    tooltip="Earlier scores for the mode stop: what Calibrate makes of the output compared, or of the uncertainty of "
                    "Finish Drafts with labels.",
                ),
            ],
            outputs=[
                io.Latent.Output(
                    display_name="latent", tooltip="The best images, the best first. It is skipped when every candidate was stopped."
                ),
                Uncertainty.Output(display_name="uncertainty", tooltip="Their scores in the last comparison that they were in."),
                io.String.Output(display_name="report", tooltip="What was compared, what went on and why, and what it cost."),
                io.Int.Output(
                    display_name="seeds",
                    is_output_list=True,
                    tooltip="The seed of each image. KSampler draws the image again with it; where the latent has several, that one alone, "
                    "behind Latent From Batch. -1 for a copy that the mode resample made, which no seed draws.",
                ),
                Uncertainty.Output(
                    display_name="compared",
                    is_output_list=True,
                    tooltip="The scores of all candidates at each point, for Calibrate and Uncertainty Report.",
                ),
            ],
            live=True,
            search_aliases=["best of n", "prune", "particle", "candidates", "early stop", "ksampler"],
        )

    @classmethod
    def validate_inputs(
        cls, candidates, keep, points, fractions, scorer, second_scorer, mode, samples, micro_batch
    ) -> bool | str:  # fmt: skip
        values = (candidates, keep, points, fractions, scorer, second_scorer, mode, samples, micro_batch)
        return checked(lambda: best_of_options(*values), *values)

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
        candidates: int,
        keep: int,
        points: str,
        fractions: str,
        scorer: str,
        second_scorer: str,
        mode: str,
        samples: int,
        micro_batch: int,
        limit: float,
        sharpness: float,
        calibration: History | None = None,
    ) -> io.NodeOutput:
        options = best_of_options(
            candidates, keep, points, fractions, scorer, second_scorer, mode, samples, micro_batch, limit, sharpness
        )  # fmt: skip
        run = KSample(model, seed, steps, cfg, sampler_name, scheduler, positive, negative, latent_image, denoise)
        live = Live(cls.hidden.unique_id, cls.SCHEMA.node_id)
        latent, found = sample_best(run, options, calibrations_of(options, calibration), live)
        ui = {"text": found.report.splitlines()} | live.shown
        seeds = list(found.seeds)
        if latent is None:
            return io.NodeOutput(SKIPPED, SKIPPED, found.report, [SKIPPED], list(found.compared), ui=ui)
        return io.NodeOutput(latent, found.uncertainty, found.report, seeds, list(found.compared) or [found.uncertainty], ui=ui)


def calibrations_of(options: BestOfOptions, calibration: History | None) -> tuple[History, ...]:
    """Raises ValueError where the mode stop has not just one point, or no earlier scores."""
    if options.mode is not SearchMode.STOP:
        return ()
    if not isinstance(calibration, History):
        raise ValueError("The mode 'stop' needs earlier scores: connect to calibration what Calibrate makes of the output compared.")
    if len(options.points) != 1:
        raise ValueError(f"The mode 'stop' takes one point, the one of its calibration, got {len(options.points)} points.")
    return (calibration,)


class BestOfNSampler(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "UQ_BestOfNSampler",
            "Best of N Sampler",
            "A sampler for SamplerCustomAdvanced that starts several candidates for each image with another sampler, compares them on the "
            "way, and finishes only the best. " + PAYS,
            inputs=[
                io.Sampler.Input("sampler", tooltip="What draws each candidate, for example from KSamplerSelect."),
                *candidates_inputs(),
                *points_inputs(),
                modes_input([SearchMode.PRUNE, SearchMode.RESAMPLE], ""),
                *cost_inputs(),
            ],
            outputs=[
                io.Sampler.Output(display_name="sampler", tooltip="For SamplerCustomAdvanced. As many images come out as go in."),
                Record.Output(
                    display_name="record",
                    tooltip="For Read Uncertainty, behind SamplerCustomAdvanced: the scores of the best, and their seeds for RandomNoise.",
                ),
            ],
            search_aliases=["best of n", "prune", "particle", "candidates"],
        )

    @classmethod
    def validate_inputs(cls, candidates, points, fractions, scorer, second_scorer, mode, samples, micro_batch) -> bool | str:
        values = (candidates, 1, points, fractions, scorer, second_scorer, mode, samples, micro_batch)
        return checked(lambda: best_of_options(*values), *values)

    @classmethod
    def execute(
        cls,
        sampler: io.Sampler.Type,
        candidates: int,
        points: str,
        fractions: str,
        scorer: str,
        second_scorer: str,
        mode: str,
        samples: int,
        micro_batch: int,
    ) -> io.NodeOutput:
        if mode == SearchMode.STOP.value:
            raise ValueError("mode 'stop' may leave no image, which a sampler can't: use prune, or the node Best of N.")
        options = best_of_options(candidates, 1, points, fractions, scorer, second_scorer, mode, samples, micro_batch)
        return io.NodeOutput(*best_of_sampler(sampler, options))


NODES = [BestOfN, BestOfNSampler]
