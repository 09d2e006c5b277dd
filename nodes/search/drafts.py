"""Looking at candidates before they are finished: Draft Candidates and Finish Drafts."""

from __future__ import annotations

from dataclasses import replace

from comfy_api.latest import io

from ...core.options import BestOfOptions, DrawOptions, Scorer, choose
from ...core.options.bounds import bounds
from ...hosts.comfyui.batch import parse_indexes
from ...hosts.comfyui.sampling.ksampler import KSample
from ...hosts.comfyui.search.drafts import Drafts as Drafted
from ...hosts.comfyui.search.drafts import draft, finish
from ...hosts.comfyui.view.report import SKIPPED
from ..sampling import ksampler_inputs
from ..sockets import Drafts, Uncertainty, checked, option_input, percent_input, schema
from .best_of import DEFAULT, candidates_inputs, cost_inputs

HALF_WAY = 0.5  # by then a preview shows what is coming
BEST = "best"  # in place of numbers: the best by score


def draft_options(candidates: int, point: float, scorer: str, samples: int, micro_batch: int) -> BestOfOptions:
    """Raises ValueError for values out of range or at odds with each other."""
    draws = DrawOptions(samples, antithetic=True)
    kind = choose("scorer", scorer, Scorer)
    return BestOfOptions(candidates, points=(point,), fractions=(1.0,), scorer=kind, draws=draws, micro_batch=micro_batch)


class DraftCandidates(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "UQ_DraftCandidates",
            "Draft Candidates",
            "Starts several candidates for each image, stops them on the way and shows what each is going to be, with a score. "
            "Finish Drafts goes on with those that you choose, from where they were.",
            inputs=[
                *ksampler_inputs(
                    "The seed of the first candidate. The others have seeds that follow from it, which the output seeds tells.",
                    "The sampler. dpm_fast and dpm_adaptive can't be used here.",
                ),
                *candidates_inputs(),
                percent_input("point", HALF_WAY, "Where the candidates stop: a part of the noise schedule, 0 = pure noise."),
                io.Combo.Input(
                    "scorer",
                    [s.value for s in Scorer],
                    default=DEFAULT.scorer.value,
                    tooltip="What the drafts are compared by, as in Best of N.",
                ),
                *cost_inputs(),
            ],
            outputs=[
                Drafts.Output(display_name="drafts", tooltip="For Finish Drafts."),
                io.Latent.Output(
                    display_name="previews",
                    tooltip="What the model expects of each draft: first those of the first image.",
                ),
                Uncertainty.Output(display_name="uncertainty", tooltip="The score of each draft, for Sample Filter and Report."),
                io.Int.Output(display_name="seeds", is_output_list=True, tooltip="The seed of each draft, for KSampler."),
                io.String.Output(display_name="report", tooltip="Where the drafts stopped, and what it cost."),
            ],
            search_aliases=["draft", "preview", "candidates", "pick", "early stop", "ksampler"],
        )

    @classmethod
    def validate_inputs(cls, candidates, point, scorer, samples, micro_batch) -> bool | str:
        values = (candidates, point, scorer, samples, micro_batch)
        return checked(lambda: draft_options(*values), *values)

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
        point: float,
        scorer: str,
        samples: int,
        micro_batch: int,
    ) -> io.NodeOutput:
        run = KSample(model, seed, steps, cfg, sampler_name, scheduler, positive, negative, latent_image, denoise)
        drafts = draft(run, draft_options(candidates, point, scorer, samples, micro_batch))
        ui = {"text": drafts.report.splitlines()}
        return io.NodeOutput(drafts, drafts.previews, drafts.uncertainty, drafts.seeds, drafts.report, ui=ui)


class FinishDrafts(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "UQ_FinishDrafts",
            "Finish Drafts",
            "Goes on with the drafts that you choose, to what KSampler draws with their seeds. Their first steps are not paid again.",
            inputs=[
                Drafts.Input("drafts", tooltip="From Draft Candidates."),
                io.String.Input(
                    "chosen",
                    default=BEST,
                    tooltip="best: those with the best scores. Or the numbers of drafts with commas between them, counted from 0, such as "
                    "0,3; accepted_indexes of Sample Filter fits. Empty: none, and what is wired to the latent is skipped.",
                ),
                option_input("keep", replace(DEFAULT, keep=1), "keep", "With best: how many drafts of each image are finished."),
            ],
            outputs=[
                io.Latent.Output(display_name="latent", tooltip="The finished images, in the order chosen; by score, the best first."),
                Uncertainty.Output(display_name="uncertainty", tooltip="The scores that they had as drafts."),
                io.Int.Output(display_name="seeds", is_output_list=True, tooltip="The seed of each image, for KSampler."),
            ],
            search_aliases=["draft", "resume", "finish", "pick"],
        )

    @classmethod
    def execute(cls, drafts: Drafted, chosen: str, keep: int) -> io.NodeOutput:
        bounds(BestOfOptions, "keep").check("keep", keep)
        numbers = drafts.best(keep) if chosen.strip() == BEST else parse_indexes("chosen", chosen, len(drafts.candidates))
        if not numbers:
            return io.NodeOutput(SKIPPED, SKIPPED, [SKIPPED])
        return io.NodeOutput(finish(drafts, numbers), drafts.uncertainty.select(numbers), [drafts.seeds[n] for n in numbers])


NODES = [DraftCandidates, FinishDrafts]
