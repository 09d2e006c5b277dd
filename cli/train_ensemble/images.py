"""The images that an ensemble is trained on: read, encoded, and their captions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from ...core.options import EnsembleKind
from ...hosts.diffusers.ensemble.words import STAR
from ...hosts.diffusers.images import ImageModel
from ..shared.pictures import ImageFile, in_batches, leave_out, read_picture, with_captions
from ..shared.progress import progress_bar
from ..shared.text import printable
from .options import TrainOptions

Fit = Callable[[Image.Image], Image.Image]  # as the model can take it
ENCODED_AT_ONCE = 4


def encode_images(model: ImageModel, images: Sequence[ImageFile], fit: Fit) -> tuple[Tensor, list[ImageFile]]:
    """The images as latents, a few at a time, and those that they are of.

    An image that can't be read, or whose latent is not finite, is named and left out, and the others are as if it weren't there.
    Raises ValueError where none is left.
    """
    latents, used = [], []
    with progress_bar("Encode", len(images), "image") as bar:
        for batch in in_batches(read_pictures(images, fit, bar), ENCODED_AT_ONCE):
            encoded = model.encode([picture for _, picture in batch])
            for (image, _), latent in zip(batch, encoded, strict=True):
                if bool(latent.isfinite().all()):
                    latents.append(latent)
                    used.append(image)
                else:
                    leave_out(image.name, "is encoded to values that are not finite")
    if not latents:
        raise ValueError("None of the images can be trained on.")
    return torch.stack(latents), used


def read_pictures(images: Sequence[ImageFile], fit: Fit, bar: tqdm) -> Iterator[tuple[ImageFile, Image.Image]]:
    for image in images:
        bar.update(1)
        try:
            yield image, fit(read_picture(image.path))
        except ValueError as error:
            leave_out(image.name, f"is no readable image ({error})")


def read_captions(images: Sequence[ImageFile], options: TrainOptions) -> dict[str, str]:
    """By the image's name; without images whose caption can't be read.

    Raises ValueError for an image without a caption, where there is no prompt for all.
    """
    pairs = with_captions(images, options.prompt)
    return {image.name: complete_caption(image, text, options.member_kind) for image, text in pairs}


def complete_caption(image: ImageFile, text: str, kind: EnsembleKind) -> str:
    """With the sub-folder's name for ``{folder}``, and the word that is learned."""
    if not text:
        beside = printable(image.path.with_suffix(".txt").name)
        raise ValueError(f"{image.name} has no caption: write {beside} beside it, or give one prompt for all.")
    text = text.replace("{folder}", printable(image.path.parent.name))
    return text if kind is EnsembleKind.LORA or STAR in text else f"{text} {STAR}"
