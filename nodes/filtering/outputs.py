"""What comes out of Sample Filter. Further outputs are appended only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from comfy_api.latest import io

from ...core.selection.filtering import Decision
from ...hosts.comfyui.batch import part_latents, part_tensors
from ...hosts.comfyui.view.report import SKIPPED, missing


def outputs() -> list[io.Output]:
    return [*rule_outputs(), *further_outputs()]


def rule_outputs() -> list[io.Output]:
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


def further_outputs() -> list[io.Output]:
    return [
        io.Image.Output(
            display_name="unsure images",
            is_output_list=True,
            tooltip="The borderline images that were set aside. Without any, the nodes behind this output are skipped.",
        ),
        io.String.Output(display_name="rejected_indexes", tooltip="Which images were rejected, counted from 0."),
        io.String.Output(display_name="unsure_indexes", tooltip="Which images were set aside, counted from 0."),
        io.Int.Output(display_name="accepted_count", tooltip="How many images were accepted."),
        io.Int.Output(display_name="rejected_count", tooltip="How many images were rejected."),
        io.Int.Output(display_name="accepted_seeds", is_output_list=True, tooltip="Seeds of the accepted images, if seeds is connected."),
        io.Int.Output(display_name="rejected_seeds", is_output_list=True, tooltip="Seeds of the rejected images, if seeds is connected."),
        io.String.Output(
            display_name="reviewed_accepted",
            tooltip="Images that you accepted in the review, counted from 0. Combine Uncertainty learns weights from them.",
        ),
        io.String.Output(
            display_name="reviewed_rejected",
            tooltip="Images that you rejected in the review, counted from 0. Combine Uncertainty learns weights from them.",
        ),
        io.String.Output(
            display_name="verdict",
            tooltip="JSON, for other programs: of each image the score, whether it was accepted, the seed, and why.",
        ),
    ]


def first_values(
    decision: Decision, scores: list[float], images: Sequence[Any] | None, latents: Sequence[Any] | None, masks: Sequence[Any] | None
) -> list[Any]:
    """Those of ``rule_outputs``, and the unsure images."""
    count, kept, dropped = len(scores), decision.accepted, decision.rejected
    pictures = [images and part_tensors("images", images, pile, count)[0] for pile in (kept, dropped, decision.unsure)]
    samples = [latents and part_latents(latents, pile, count)[0] for pile in (kept, dropped)]
    areas = masks and part_tensors("masks", masks, kept, count)[0]
    numbers = scores, listed(kept), bool(kept)
    accepted, rejected, unsure = (pile("images", part) for part in pictures)
    return [accepted, rejected, *(pile("latents", part) for part in samples), pile("masks", areas), *numbers, unsure]


def pile(name: str, part: list[Any] | None) -> list[Any]:
    """The output: a list, or what keeps the nodes behind it from running."""
    return [missing(f"Sample Filter has no {name} to give: connect {name} to it.")] if part is None else part or [SKIPPED]


def seeds_at(seeds: list[int] | None, indexes: Sequence[int]) -> list[Any]:
    return pile("seeds", None if seeds is None else [seeds[i] for i in indexes])


def listed(indexes: Sequence[int]) -> str:
    return ",".join(map(str, indexes))
