"""Ensembles of one's own: Train Ensemble, Save Ensemble, Load Ensemble."""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean
from typing import Any

from comfy_api.latest import io

from ..core.options import Bootstrap, BootstrapOptions, EnsembleTrainingOptions, bounds, choose, limits
from ..hosts.comfyui.ensemble import saved as trained
from ..hosts.comfyui.ensemble.members import ModelEnsemble
from ..hosts.comfyui.ensemble.train import TrainingSettings, train_ensemble
from ..hosts.comfyui.files import stamp, target
from .sockets import Ensemble, checked, number_input, schema, seed_input

KINDS = ("embedding", "lora")
DEFAULT = EnsembleTrainingOptions()
OUTPUT = Ensemble.Output(display_name="ensemble", tooltip="The ensemble, for Ensemble Uncertainty and Save Ensemble.")


def plan(
    members: int, kind: str, rank: int, steps: int, learning_rate: float, seed: int, bootstrap: str, size: int, batch: int
) -> TrainingSettings:
    """Raises ValueError for values out of range."""
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}.")
    options = EnsembleTrainingOptions(steps, batch, learning_rate, seed)
    return TrainingSettings(
        members, rank if kind == "lora" else 0, options, BootstrapOptions(choose("bootstrap", bootstrap, Bootstrap), size, seed)
    )


class TrainEnsemble(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "UQ_TrainEnsemble",
            "Train Ensemble",
            "Trains several members on your images, each on its own random part of them. The model itself stays as it is. Where the "
            "members disagree afterwards, your images say too little. Costs members x steps training steps, 5 x 300 by default, each "
            "with a backward pass.",
            inputs=[
                io.Model.Input("model", tooltip="The model. It stays as it is."),
                io.Latent.Input(
                    "latents", tooltip="The images to train on, some dozens, from VAE Encode. A list of latents counts as one set."
                ),
                io.Conditioning.Input("positive", tooltip="The prompt of the images: one for all, or a list with one for each latent."),
                number_input("members", limits.MEMBERS, "How many members to train. It takes two or more to compare them."),
                io.Combo.Input(
                    "kind",
                    list(KINDS),
                    default="embedding",
                    tooltip="What is trained of each member. embedding trains the prompt as the model reads it, which is small "
                    "and fast to sample. lora trains a LoRA.",
                ),
                number_input(
                    "rank", replace(limits.RANK, default=8), "The rank of each LoRA. A higher rank can learn more and needs more memory."
                ),
                number_input("steps", bounds(DEFAULT, "steps"), "How many training steps each member gets."),
                number_input(
                    "learning_rate",
                    bounds(DEFAULT, "learning_rate"),
                    "How far each training step goes. 0 stands for what suits the kind: 0.005 for prompts, 0.1 for the demo model's "
                    "digits, 0.0005 for LoRAs.",
                ),
                seed_input("The seed of each member's part of the images, and of the noise in training."),
                io.Combo.Input(
                    "bootstrap",
                    [b.value for b in Bootstrap],
                    default=Bootstrap.REPLACEMENT.value,
                    tooltip="How the images are shared out. with_replacement draws each member's images from all of them, so that "
                    "one can come several times. disjoint gives no image to two members.",
                ),
                number_input(
                    "bootstrap_size",
                    bounds(BootstrapOptions, "size"),
                    "How many images each member gets. 0 stands for as many as there are.",
                ),
                number_input(
                    "batch_size",
                    replace(bounds(DEFAULT, "batch"), default=4),
                    "How many images a training step takes. Fewer need less memory.",
                ),
            ],
            outputs=[
                OUTPUT,
                io.Custom("LOSS_MAP").Output(
                    display_name="losses", tooltip="The mean loss of the members at each step, for Plot Loss Graph."
                ),
            ],
            is_input_list=True,
            search_aliases=["train", "lora", "embedding", "bootstrap", "decu"],
        )

    @classmethod
    def validate_inputs(
        cls,
        members=(None,),
        kind=(None,),
        rank=(None,),
        steps=(None,),
        learning_rate=(None,),
        seed=(None,),
        bootstrap=(None,),
        bootstrap_size=(None,),
        batch_size=(None,),
    ) -> bool | str:
        values = (members, kind, rank, steps, learning_rate, seed, bootstrap, bootstrap_size, batch_size)
        first = [value[0] for value in values]
        return checked(lambda: plan(*first), *first)

    @classmethod
    def execute(
        cls,
        model: list[Any],
        latents: list[dict[str, Any]],
        positive: list[Any],
        members: list[int],
        kind: list[str],
        rank: list[int],
        steps: list[int],
        learning_rate: list[float],
        seed: list[int],
        bootstrap: list[str],
        bootstrap_size: list[int],
        batch_size: list[int],
    ) -> io.NodeOutput:
        values = (members, kind, rank, steps, learning_rate, seed, bootstrap, bootstrap_size, batch_size)
        ensemble = train_ensemble(model[0], latents, positive, plan(*(value[0] for value in values)))
        losses = [fmean(at_step) for at_step in zip(*(member.losses for member in ensemble.members), strict=True)]
        return io.NodeOutput(trained.on_model(ensemble, model[0]), {"loss": losses})


class SaveEnsemble(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "UQ_SaveEnsemble",
            "Save Ensemble",
            "Writes a trained ensemble to output/uncertainty/ensemble, so that it need not be trained again. Costs nothing.",
            inputs=[
                Ensemble.Input("ensemble", tooltip="A trained ensemble, from Train Ensemble."),
                io.String.Input("name", default="ensemble", tooltip="The name of the file. A file that already has this name is replaced."),
                io.Boolean.Input(
                    "export_loras", default=False, tooltip="Whether to write each LoRA to output/loras too, as a file for Load LoRA."
                ),
            ],
            outputs=[OUTPUT],
            is_output_node=True,
            search_aliases=["ensemble", "export", "lora"],
        )

    @classmethod
    def validate_inputs(cls, name: str | None) -> bool | str:
        return checked(lambda: target(trained.KIND, name), name)

    @classmethod
    def execute(cls, ensemble: ModelEnsemble, name: str, export_loras: bool) -> io.NodeOutput:
        if ensemble.trained is None:
            raise ValueError("ensemble holds only files or prompts, so there is nothing to save; connect Train Ensemble or Load Ensemble.")
        written = trained.save(ensemble.trained, name, export_loras)
        return io.NodeOutput(ensemble, ui={"text": ["\n".join(map(str, written))]})


class LoadEnsemble(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "UQ_LoadEnsemble",
            "Load Ensemble",
            "Reads a trained ensemble. It belongs to the model that it was trained on, and is refused with another. Costs nothing.",
            inputs=[
                io.Model.Input("model", tooltip="The model that the ensemble was trained on."),
                io.Combo.Input(
                    "name",
                    trained.names(),
                    tooltip="A file of output/uncertainty/ensemble or models/uncertainty/ensemble, or that of the demo model.",
                ),
            ],
            outputs=[OUTPUT],
            search_aliases=["ensemble", "decu", "demo"],
        )

    @classmethod
    def validate_inputs(cls, name: str | None) -> bool | str:
        try:
            trained.check(name or trained.DEMO)
        except (FileNotFoundError, ValueError) as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, name: str) -> str:
        return stamp(trained.KIND, name)

    @classmethod
    def execute(cls, model: io.Model.Type, name: str) -> io.NodeOutput:
        return io.NodeOutput(trained.on_model(trained.load(name), model))


NODES = [TrainEnsemble, SaveEnsemble, LoadEnsemble]
