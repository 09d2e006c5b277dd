"""How far several members of an ensemble disagree: Ensemble LoRA / Embedding and Ensemble Uncertainty."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from comfy_api.latest import io

from ..core.options import Distance, EnsembleOptions, Moment, PaideOptions, bounds, choose, limits
from ..hosts.comfyui.ensemble.from_files import PLACEHOLDER, members_of
from ..hosts.comfyui.ensemble.members import Member, ModelEnsemble
from ..hosts.comfyui.ensemble.names import MemberFile, list_files, parse_names
from ..hosts.comfyui.ensemble.sample import sample_ensemble
from ..hosts.comfyui.sampling.ksampler import KSample
from ..hosts.comfyui.view.report import warn_of_failed
from .sampling import ksampler_inputs
from .sockets import Ensemble, Uncertainty, checked, number_input, schema

DEFAULT = EnsembleOptions()
SOCKETS = 5
LISTS = 8  # members that can be chosen from lists


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
                    tooltip="Names of files in the folders loras and embeddings: one a line, or several with commas between them. "
                    "A name may contain commas itself. style:0.8 gives the file style the strength 0.8.",
                ),
                number_input("strength", limits.LORA_STRENGTH, "The strength of the files that are named without one."),
                io.String.Input(
                    "prompt",
                    default="",
                    multiline=True,
                    tooltip=f"The prompt that each member encodes by itself. Embeddings need it: they take the place of {PLACEHOLDER}, or "
                    "stand at the end of the prompt. If it is empty, the members take positive of Ensemble Uncertainty.",
                ),
                io.Clip.Input(
                    "clip",
                    optional=True,
                    tooltip="The text encoder for the prompt. A LoRA that has a part for it acts on it too.",
                ),
                *(
                    io.Conditioning.Input(
                        f"conditioning_{i}",
                        optional=True,
                        tooltip="A conditioning that is a member together with the unchanged model. A list gives one member for each.",
                    )
                    for i in range(1, SOCKETS + 1)
                ),
                *member_lists(),
            ],
            outputs=[Ensemble.Output(display_name="ensemble", tooltip="The ensemble, for Ensemble Uncertainty.")],
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
        chosen: dict[str, list[Any]] | None = None,
    ) -> io.NodeOutput:
        if len(model) > 1:
            raise ValueError(
                f"Ensemble LoRA / Embedding takes one model, got {len(model)}; connect one, and give its members as files or conditionings."
            )
        files = [*parse_names("\n".join(members), strength[0]), *chosen_files(chosen or {})]
        files = members_of(files, model[0], clip[0] if clip else None, prompt[0])
        conditionings = [*conditioning_1, *conditioning_2, *conditioning_3, *conditioning_4, *conditioning_5]
        wired = [Member(f"conditioning {i}", model[0], condition) for i, condition in enumerate(conditionings, 1)]
        return io.NodeOutput(ModelEnsemble((*files, *wired)))


def member_lists() -> list[io.Input]:
    """How many members to choose, and so many lists of files and strengths; nothing where ComfyUI has no inputs that depend on others."""
    if not hasattr(io, "DynamicCombo"):
        return []
    names = list(list_files())
    options = [
        io.DynamicCombo.Option(str(count), [each for i in range(1, count + 1) for each in (member_list(i, names), member_strength(i))])
        for count in range(LISTS + 1)
    ]
    tooltip = "How many members to choose from lists of your LoRAs and embeddings. They come after those that members names."
    return [io.DynamicCombo.Input("chosen", options, optional=True, tooltip=tooltip)]


def member_list(i: int, names: list[str]) -> io.Input:
    return io.Combo.Input(f"file_{i}", names, tooltip="A file of the folder loras or embeddings that is a member.")


def member_strength(i: int) -> io.Input:
    return number_input(f"strength_{i}", limits.LORA_STRENGTH, "The strength of this member.")


def chosen_files(chosen: dict[str, list[Any]]) -> list[MemberFile]:
    """chosen: by the name of the input, a list that holds its value."""
    count = int(chosen["chosen"][0]) if chosen else 0
    files = list_files()
    return [MemberFile(*files[chosen[f"file_{i}"][0]], chosen[f"strength_{i}"][0]) for i in range(1, count + 1)]


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
            "Samples like KSampler, with an ensemble: one member draws the start for all, then each goes on alone. How far their images "
            "are apart tells what the model has learned too little of (DECU). The steps before branch_percent are computed once, those "
            "after it once for each member.",
            inputs=[
                Ensemble.Input("ensemble", tooltip="The ensemble, from Ensemble LoRA / Embedding, Train Ensemble or Load Ensemble."),
                *sampling_inputs(),
                number_input(
                    "branch_percent",
                    bounds(DEFAULT, "branch"),
                    "How much of the noise schedule one member draws for all. At 0 each member draws by itself from the start; at 0.9 "
                    "only details can differ.",
                ),
                io.Combo.Input(
                    "distance",
                    [d.value for d in Distance],
                    default=DEFAULT.paide.distance.value,
                    tooltip="How two members are compared. w2 compares their samples, at every step. kl and bhattacharyya compare the "
                    "random steps that they would take, so the last step, which is not random, is left out.",
                ),
                number_input(
                    "bandwidth",
                    bounds(DEFAULT.paide, "bandwidth"),
                    "The number that distances are divided by. 0 stands for the number of pixels and channels. 1 is the paper's value, "
                    "at which almost all images reach the highest score, the logarithm of the number of members.",
                ),
                io.Combo.Input(
                    "moment",
                    [m.value for m in Moment],
                    default=DEFAULT.moment.value,
                    tooltip="Which step after the branch is scored. last scores the finished images, first the step at which the members "
                    "part, as in the paper, and mean all steps together.",
                ),
                io.Conditioning.Input(
                    "positive", optional=True, tooltip="The prompt of the image, for members that have no conditioning of their own."
                ),
            ],
            outputs=[
                io.Latent.Output(
                    display_name="latent", tooltip="The images of the member that drew the start, the same as KSampler would draw with it."
                ),
                Uncertainty.Output(
                    display_name="uncertainty",
                    tooltip="How much the members disagree: information in nats, from 0 to the logarithm of the number of members.",
                ),
                io.Latent.Output(display_name="members", is_output_list=True, tooltip="A list with the latents of each member."),
                Uncertainty.Output(
                    display_name="distance",
                    tooltip="The mean distance between two members. It still ranks images whose uncertainty is at its highest value.",
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
        ensemble: ModelEnsemble,
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
        latent, branches, members = sample_ensemble(ensemble, run, options)
        warn_of_failed(branches.information, "Ensemble Uncertainty")
        return io.NodeOutput(latent, branches.information, members, branches.distance)


def sampling_inputs() -> list[io.Input]:
    """KSampler's, but for the model, which the ensemble brings, and positive, which its members may bring."""
    inputs = ksampler_inputs(
        "The seed of the starting noise, as in KSampler. It also picks the member that draws the start.",
        "The sampler. dpm_fast and dpm_adaptive can't be used here.",
    )
    return [each for each in inputs if each.id not in ("model", "positive")]


NODES = [EnsembleLoRAEmbedding, EnsembleUncertainty]
