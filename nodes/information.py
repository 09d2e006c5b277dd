"""Does the image carry what was asked: Prompt Information, Phrase Checklist and Prompt Phrases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from comfy_api.latest import io

from ..core.options import DrawOptions, InformationOptions, StepWindow, bounds
from ..core.pixelwise.information import Information
from ..core.pixelwise.phrases import leave_one_out, weakest
from ..hosts.comfyui.estimate import picture
from ..hosts.comfyui.information import phrase_checklist, prompt_information
from ..hosts.comfyui.view.report import warn_of_failed
from .sockets import Uncertainty, checked, number_input, option_input, percent_input, schema, seed_input

DEFAULT = InformationOptions()
DRAWS = DEFAULT.draws.samples * DEFAULT.levels
PHRASES = "a red fox\nsitting in the snow\nat night"


def information_options(samples: int, start: float, end: float, levels: int, seed: int) -> InformationOptions:
    return InformationOptions(DrawOptions(samples, seed, antithetic=True), StepWindow(start, end), levels)


def check_options(samples: int | None, start: float | None, end: float | None) -> bool | str:
    """What ComfyUI's own check of each input by itself lets through."""
    return checked(lambda: information_options(samples, start, end, DEFAULT.levels, 0), samples, start, end)


def measuring_inputs(price: str) -> list[io.Input]:
    window = DEFAULT.window
    return [
        number_input(
            "samples",
            replace(bounds(DEFAULT.draws, "samples"), default=DEFAULT.draws.samples, step=2),
            f"How many noise draws to make at each level; they come in pairs. Four times as many halve the error. Each costs {price}.",
        ),
        percent_input(
            "start_percent", window.start, "Where in the noise schedule the levels begin: 0 is pure noise, 1 is the clean image."
        ),
        percent_input(
            "end_percent",
            window.end,
            "Where in the noise schedule the levels end. Near 1 there is nothing to measure: a prompt decides early.",
        ),
        option_input("levels", DEFAULT, "levels", "How many noise levels to measure at, from start to end."),
        seed_input("The seed of the noise draws. The same seed gives the same score."),
    ]


class PromptInformation(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "UQ_PromptInformation",
            "Prompt Information",
            "Scores how much of its prompt each finished image shows. A low score means that it is not what was asked for. The node adds "
            "noise and compares how well the model restores the image with and without the prompt. Costs 2 x samples x levels model calls "
            f"per image, {2 * DRAWS} by default.",
            inputs=[
                io.Model.Input("model", tooltip="The model that made the latent, or another one that should judge it."),
                io.Conditioning.Input("positive", tooltip="The prompt that the image was made for."),
                io.Conditioning.Input(
                    "negative", tooltip="The empty prompt. With another prompt here, a low score means that the image fits that one better."
                ),
                io.Latent.Input("latent", tooltip="The finished latents, from a sampler or from VAE Encode."),
                *measuring_inputs("two model calls per image and level"),
            ],
            outputs=[
                io.Latent.Output(display_name="latent", tooltip="The latent, unchanged."),
                Uncertainty.Output(
                    display_name="uncertainty",
                    tooltip="A map and a score for each image, in nats, for every node that takes an uncertainty.",
                ),
                io.Image.Output(
                    display_name="heatmap",
                    tooltip="A picture of where each image contradicts the prompt. Bright means that it does. It does not show which "
                    "pixels are wrong.",
                ),
                io.Float.Output(
                    display_name="scores",
                    is_output_list=True,
                    tooltip="One number for each image, in nats. Below 0 the image contradicts the prompt.",
                ),
            ],
            search_aliases=["prompt adherence", "alignment", "information", "classifier"],
        )

    @classmethod
    def validate_inputs(cls, samples, start_percent, end_percent) -> bool | str:
        return check_options(samples, start_percent, end_percent)

    @classmethod
    def execute(
        cls,
        model: io.Model.Type,
        positive: io.Conditioning.Type,
        negative: io.Conditioning.Type,
        latent: io.Latent.Type,
        samples: int,
        start_percent: float,
        end_percent: float,
        levels: int,
        seed: int,
    ) -> io.NodeOutput:
        options = information_options(samples, start_percent, end_percent, levels, seed)
        result = warn_of_failed(prompt_information(model, positive, negative, latent, options).result, "Prompt Information")
        return io.NodeOutput(latent, result, picture(result), result.scores.tolist())


class PhraseChecklist(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "UQ_PhraseChecklist",
            "Phrase Checklist",
            "Tells which phrase of its prompt each finished image ignores, and where. It compares the whole prompt with the prompt "
            "without each phrase; Prompt Phrases writes these prompts. Costs (phrases + 1) x samples x levels model calls per image, "
            f"{4 * DRAWS} for three phrases.",
            inputs=[
                io.Model.Input("model", tooltip="The model that made the latent, or another one that should judge it."),
                io.Latent.Input("latent", tooltip="The finished latents, from a sampler or from VAE Encode."),
                io.Conditioning.Input(
                    "conditionings",
                    tooltip="A list: first the whole prompt, then the prompt without the first phrase, without the second, and so on. "
                    "Wire the prompts of Prompt Phrases through CLIP Text Encode.",
                ),
                io.String.Input(
                    "labels", default=PHRASES, multiline=True, tooltip="The names of the phrases, one on each line, in the same order."
                ),
                *measuring_inputs("one model call per image and level for each phrase, and one more"),
            ],
            outputs=[
                io.Float.Output(
                    display_name="scores",
                    is_output_list=True,
                    tooltip="How much each phrase adds, in nats. A low number means that it is ignored. First the numbers of all images "
                    "for the first phrase, then for the second, and so on.",
                ),
                io.Image.Output(
                    display_name="maps",
                    is_output_list=True,
                    tooltip="For each phrase a picture of where the images ignore it. Bright means ignored.",
                ),
                io.String.Output(
                    display_name="worst phrase", is_output_list=True, tooltip="The phrase with the lowest score, for each image."
                ),
                Uncertainty.Output(
                    display_name="uncertainty", tooltip="The score and the map of the worst phrase of each image, for Sample Filter."
                ),
            ],
            is_input_list=True,
            search_aliases=["missing object", "attribute", "prompt adherence", "information"],
        )

    @classmethod
    def validate_inputs(cls, samples=(None,), start_percent=(None,), end_percent=(None,)) -> bool | str:
        return check_options(samples[0], start_percent[0], end_percent[0])

    @classmethod
    def execute(
        cls,
        model: list[Any],
        latent: list[dict[str, Any]],
        conditionings: list[Any],
        labels: list[str],
        samples: list[int],
        start_percent: list[float],
        end_percent: list[float],
        levels: list[int],
        seed: list[int],
    ) -> io.NodeOutput:
        names = check_labels(labels, len(conditionings))
        if len(latent) > 1 or len(model) > 1:
            raise ValueError(f"Phrase Checklist takes one model and one batch of latents, got {len(model)} and {len(latent)}; join them.")
        options = information_options(samples[0], start_percent[0], end_percent[0], levels[0], seed[0])
        parts = phrase_checklist(model[0], conditionings, latent[0], options)
        worst = weakest(parts)
        warn_of_failed(worst.result, "Phrase Checklist")
        return io.NodeOutput(scores_of(parts), [picture(p.result) for p in parts], [names[k] for k in worst.part.tolist()], worst.result)


def check_labels(labels: Sequence[str], count: int) -> list[str]:
    """One name for each phrase, from lines or from a list. Raises ValueError unless there is one prompt more than names."""
    names = [line.strip() for line in "\n".join(labels).splitlines() if line.strip()]
    if count < 2 or len(names) != count - 1:
        raise ValueError(
            f"conditionings must hold the whole prompt and then one without each phrase, got {count} for {len(names)} labels; "
            "give one more than there are labels."
        )
    return names


def scores_of(parts: Sequence[Information]) -> list[float]:
    return [score for part in parts for score in part.result.scores.tolist()]


class PromptPhrases(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "UQ_PromptPhrases",
            "Prompt Phrases",
            "Writes the prompts that Phrase Checklist compares: the whole prompt, and the prompt without each phrase. Costs nothing.",
            inputs=[io.String.Input("phrases", default=PHRASES, multiline=True, tooltip="The prompt, with one phrase on each line.")],
            outputs=[
                io.String.Output(
                    display_name="prompts",
                    is_output_list=True,
                    tooltip="All prompts as a list, for CLIP Text Encode and from there to Phrase Checklist.",
                ),
                io.String.Output(display_name="prompt", tooltip="The whole prompt, to sample with."),
                io.String.Output(display_name="labels", tooltip="The phrases, one on each line, for Phrase Checklist."),
            ],
            search_aliases=["split prompt", "phrases"],
        )

    @classmethod
    def validate_inputs(cls, phrases) -> bool | str:
        return checked(lambda: leave_one_out(phrases), phrases)

    @classmethod
    def execute(cls, phrases: str) -> io.NodeOutput:
        prompts, parts = leave_one_out(phrases)
        return io.NodeOutput(prompts, prompts[0], "\n".join(parts))


NODES = [PromptInformation, PhraseChecklist, PromptPhrases]
