"""How far several members of an ensemble disagree: Ensemble LoRA / Embedding and Ensemble Uncertainty."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from comfy_api.latest import io

from ..core.options import Distance, EnsembleOptions, Moment, PaideOptions, choose
from ..hosts.comfyui.ensemble.from_files import PLACEHOLDER, members_of
from ..hosts.comfyui.ensemble.members import Ensemble as Members
from ..hosts.comfyui.ensemble.members import Member
from ..hosts.comfyui.ensemble.names import parse_names
from ..hosts.comfyui.ensemble.sample import sample_ensemble
from ..hosts.comfyui.ksampler import KSample
from .sampling import ksampler_inputs
from .sockets import Ensemble, Uncertainty, checked, percent_input, schema

DEFAULT = EnsembleOptions()
SOCKETS = 5


class EnsembleLoRAEmbedding(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "UQ_EnsembleLoRAEmbedding",
            "Ensemble LoRA / Embedding",
            "Makes an ensemble of LoRAs, embeddings or conditionings that you have: its members share the model and differ in these. "
            "Costs nothing but reading the files and encoding the prompt once for each.",
            inputs=[
                io.Model.Input("model", tooltip="What the members have in common."),
                io.String.Input(
                    "members",
                    default="",
                    multiline=True,
                    tooltip="Files in the folders loras and embeddings, by line or comma. style:0.8 gives one a strength of its own.",
                ),
                io.Float.Input("strength", default=1.0, min=-20.0, max=20.0, step=0.01, tooltip="Of the files that name none."),
                io.String.Input(
                    "prompt",
                    default="",
                    multiline=True,
                    tooltip=f"What each member encodes by itself; needed for embeddings, which go where it says {PLACEHOLDER}, or at its end. "
                    "Empty: the members take positive of Ensemble Uncertainty.",
                ),
                io.Clip.Input("clip", optional=True, tooltip="Encodes the prompt, with what a LoRA has for the text encoder."),
                *(
                    io.Conditioning.Input(
                        f"conditioning_{i}", optional=True, tooltip="A member, or a list of members, of the model as it is."
                    )
                    for i in range(1, SOCKETS + 1)
                ),
            ],
            outputs=[Ensemble.Output(display_name="ensemble", tooltip="For Ensemble Uncertainty.")],
            is_input_list=True,
            search_aliases=["lora", "embedding", "textual inversion", "members", "decu"],
        )

    @classmethod
    def execute(
        cls,
        model: list[Any],
        members: list[str],
        strength: list[float],
        prompt: list[str],
        clip: Sequence[Any] = (),
        conditioning_1: Sequence[Any] = (),
        conditioning_2: Sequence[Any] = (),
        conditioning_3: Sequence[Any] = (),
        conditioning_4: Sequence[Any] = (),
        conditioning_5: Sequence[Any] = (),
    ) -> io.NodeOutput:
        if len(model) > 1:
            raise ValueError(f"Ensemble LoRA / Embedding takes one model, got {len(model)}; its members are the files and conditionings.")
        names = parse_names("\n".join(members), strength[0])
        files = members_of(names, model[0], clip[0] if clip else None, prompt[0])
        given = [*conditioning_1, *conditioning_2, *conditioning_3, *conditioning_4, *conditioning_5]
        wired = [Member(f"conditioning {i}", model[0], condition) for i, condition in enumerate(given, 1)]
        return io.NodeOutput(Members((*files, *wired)))


def ensemble_options(branch_percent: float, distance: str, bandwidth: float, moment: str, seed: int) -> EnsembleOptions:
    """Raises ValueError for values out of range."""
    paide = PaideOptions(choose("distance", distance, Distance), bandwidth)
    return EnsembleOptions(branch_percent, paide, choose("moment", moment, Moment), seed=seed)


class EnsembleUncertainty(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "UQ_EnsembleUncertainty",
            "Ensemble Uncertainty",
            "KSampler for an ensemble: one member draws the start for all, then each goes on alone, and how far they part says what "
            "the model has learned too little of (DECU). Costs the steps before branch_percent once and those after it for each member.",
            inputs=[
                Ensemble.Input("ensemble", tooltip="Of Ensemble LoRA / Embedding, Train Ensemble or Load Ensemble."),
                *sampling_inputs(),
                percent_input(
                    "branch_percent",
                    DEFAULT.branch,
                    "How much of the noise schedule is drawn for all: 0 = each member by itself from the start, 0.9 = only details differ.",
                ),
                io.Combo.Input(
                    "distance",
                    [d.value for d in Distance],
                    default=DEFAULT.paide.distance.value,
                    tooltip="How two members are compared. w2: by their samples, at every step. kl, bhattacharyya: by the random step "
                    "they would take, so not at the last one.",
                ),
                io.Float.Input(
                    "bandwidth",
                    default=DEFAULT.paide.bandwidth,
                    min=0.0,
                    max=1e9,
                    step=0.01,
                    tooltip="What distances are divided by. 0 = the number of pixels and channels; 1 = the paper's, at which all images "
                    "soon score log of the members.",
                ),
                io.Combo.Input(
                    "moment",
                    [m.value for m in Moment],
                    default=DEFAULT.moment.value,
                    tooltip="Which step after the branch is scored. last: the finished images. first: where they part, as in the paper. "
                    "mean: all of them.",
                ),
                io.Conditioning.Input(
                    "positive", optional=True, tooltip="What the image shall show, for members that bring no conditioning of their own."
                ),
            ],
            outputs=[
                io.Latent.Output(display_name="latent", tooltip="What the member that drew the start makes of it, as KSampler would."),
                Uncertainty.Output(
                    display_name="uncertainty", tooltip="Information in nats, from 0 to log of the members; high = they disagree."
                ),
                io.Latent.Output(display_name="members", is_output_list=True, tooltip="A list: the latents of each member."),
                Uncertainty.Output(
                    display_name="distance",
                    tooltip="The mean distance between two members, which still ranks where uncertainty is at its top.",
                ),
            ],
            search_aliases=["epistemic", "ensemble", "decu", "paide", "disagreement", "ksampler"],
        )

    @classmethod
    def validate_inputs(cls, branch_percent, distance, bandwidth, moment) -> bool | str:
        values = (branch_percent, distance, bandwidth, moment)
        return checked(lambda: ensemble_options(*values, 0), *values)

    @classmethod
    def execute(
        cls,
        ensemble: Members,
        seed: int,
        steps: int,
        cfg: float,
        sampler_name: str,
        scheduler: str,
        negative: io.Conditioning.Type,
        latent_image: io.Latent.Type,
        denoise: float,
        branch_percent: float,
        distance: str,
        bandwidth: float,
        moment: str,
        positive: io.Conditioning.Type | None = None,
    ) -> io.NodeOutput:
        options = ensemble_options(branch_percent, distance, bandwidth, moment, seed)
        model = ensemble.members[0].model
        run = KSample(model, seed, steps, cfg, sampler_name, scheduler, positive, negative, latent_image, denoise)
        latent, found, members = sample_ensemble(ensemble, run, options)
        return io.NodeOutput(latent, found.information, members, found.distance)


def sampling_inputs() -> list[io.Input]:
    """KSampler's, but for the model, which the ensemble brings, and positive, which its members may bring."""
    given = ksampler_inputs(
        "Of the starting noise, as in KSampler, and of the member that draws the start.", "All but dpm_fast and dpm_adaptive."
    )
    return [each for each in given if each.id not in ("model", "positive")]


NODES = [EnsembleLoRAEmbedding, EnsembleUncertainty]
