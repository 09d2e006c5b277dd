"""Generative uncertainty: how much an image changes in meaning when the last layer's weights are drawn anew (Jazbec et al. 2025)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..denoiser import finite_rows
from ..options import Direction, GenerativeOptions
from ..result import Uncertainty, clock
from .laplace import Laplace, LayerPosterior
from .layer_algebra import Layer

QUANTITY = "generative"
ImageEncoder = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Generated:
    """M + 1 samplings of B images, and their uncertainty.

    images: (M + 1, B, ...), the first by the trained weights.  features: (M + 1, B, D).
    """

    result: Uncertainty
    images: Tensor
    features: Tensor


def semantic_entropy(features: Tensor, variance: float) -> Tensor:
    """Entropy of the posterior predictive of an image's features, in nats, (B,) float64 on the CPU; high = the members differ in meaning.

    1/2 sum_d log(Var_m[c_d] + sigma^2) + D/2 (1 + log 2 pi), Var with divisor M + 1. Least where all members agree: Var = 0.
    features: (M + 1, B, D).  variance: sigma^2. Source: Jazbec et al. 2025, and their published code.
    """
    spread = features.cpu().double().var(dim=0, correction=0)
    return 0.5 * (spread + variance).log().sum(dim=1) + spread.shape[1] / 2 * (1 + math.log(2 * math.pi))


def estimate_generative(
    sample: Callable[[], Tensor],
    encode: ImageEncoder,
    network: nn.Module,
    laplace: Laplace,
    options: GenerativeOptions | None = None,
    trained: Tensor | None = None,
) -> Generated:
    """M samplings with drawn last layers beside the one with the trained weights, all from one noise and condition.

    sample: () -> images (B, ...), a whole sampling from that noise by ``network``, the same whenever it is called.
    encode: images (B, ...) -> features (B, D).
    trained: the images of the trained weights, where the host has them from as many steps; sampled once more, and counted, when left out.
    Score: the semantic entropy. Maps: per-pixel variance of the M + 1 images, divisor M + 1. NFE: counted at the last layer.
    The model's weights are back bit for bit on every exit. An image that is not finite, or has no finite
    features, scores NaN. Raises ValueError for a Laplace fit of another model, and for images or features of a shape that does not fit.
    """
    options = options or GenerativeOptions()
    posterior = laplace.posterior(network)
    start = clock(posterior.layer.weight)
    with count_rows(posterior.layer) as rows:
        images = torch.stack(list(sample_members(sample, posterior, options, trained)))
    return score_members(images, encode, laplace, options, sum(rows) / images.shape[1], clock(images) - start)


def score_members(
    images: Tensor, encode: ImageEncoder, laplace: Laplace, options: GenerativeOptions, nfe: float, seconds: float
) -> Generated:
    """What ``estimate_generative`` returns, of images (M + 1, B, ...) that the host has sampled itself; seconds: those of sampling.

    Raises ValueError for images or features of a shape that does not fit.
    """
    start = clock(images)
    for number, member in enumerate(images):
        check_images(member, images[0] if number else None)
    features = torch.stack([encode_images(encode, member) for member in images])
    scores = semantic_entropy(features, options.semantic_variance).float()
    result = Uncertainty(
        maps=images.float().var(dim=0, correction=0),
        scores=scores.to(images.device),
        curve=scores.new_zeros(0, len(scores)),
        sigmas=torch.zeros(0),
        direction=Direction.HIGH_IS_BAD,
        quantity=QUANTITY,
        nfe=nfe,
        seconds=seconds + clock(images) - start,
        provenance=describe_generative(options, laplace, features.shape[2]) | caution_of(images),
    )
    return Generated(result, images, features)


def caution_of(images: Tensor) -> dict[str, str]:
    """Says how many images fail with drawn weights alone, which is the fit's doing. images: (M + 1, B, ...)."""
    finite = torch.stack([finite_rows(member) for member in images])
    if lost := int((finite[0] & ~finite.all(dim=0)).sum()):
        return {"caution": f"With drawn weights {lost} of {finite.shape[1]} images failed: raise prior_precision, or fit on more images."}
    return {}


def sample_members(
    sample: Callable[[], Tensor], posterior: LayerPosterior, options: GenerativeOptions, trained: Tensor | None
) -> Iterator[Tensor]:
    """The images (B, ...) of the trained weights, then those of each draw; what is no image ends it at once."""
    yield (first := check_images(sample() if trained is None else trained))
    for member in range(options.members):
        with posterior.sampled(options.seed, member):
            images = check_images(sample(), first)
        yield images  # outside, so that nobody is handed the drawn weights


@contextmanager
def count_rows(layer: Layer) -> Iterator[list[int]]:
    """The rows that reach the layer, call by call: what was run, conditional and unconditional passes alike."""
    rows: list[int] = []
    handle = layer.register_forward_hook(lambda _, args, output: rows.append(len(output)))
    try:
        yield rows
    finally:
        handle.remove()


def check_images(images: Tensor, first: Tensor | None = None) -> Tensor:
    """Raises ValueError, in a sentence, for images that no spread can be taken of. first: those of the trained weights."""
    if images.ndim < 2 or len(images) == 0:
        raise ValueError(f"A sampling must give images of shape (batch, ...), got {tuple(images.shape)}.")
    if first is not None and images.shape != first.shape:
        raise ValueError(f"Every sampling must give images of one shape, got {tuple(first.shape)} and {tuple(images.shape)}.")
    return images


def encode_images(encode: ImageEncoder, images: Tensor) -> Tensor:
    """Features (B, D), NaN where image or features are not finite. Raises ValueError for any other shape, or where none are finite."""
    sound = finite_rows(images)
    features = encode(torch.where(sound.view(-1, *[1] * (images.ndim - 1)), images, 0.0))
    if features.ndim != 2 or len(features) != len(images) or features.shape[1] == 0:
        shapes = f"({len(images)}, D), got {tuple(features.shape)}"
        raise ValueError(f"The encoder must give one feature vector an image, shape {shapes}; use its pooled output.")
    usable = sound.to(features.device) & finite_rows(features)
    if bool(sound.any()) and not bool(usable.any()):
        raise ValueError("The encoder gave NaN or infinite features; check the range of the images that it wants, or run it in float32.")
    return torch.where(usable[:, None], features, math.nan)


def describe_generative(options: GenerativeOptions, laplace: Laplace, dimensions: int) -> dict[str, str]:
    return {
        "method": "generative uncertainty",
        "members": str(options.members),
        "member_steps": str(options.member_steps or "same"),
        "semantic_variance": f"{options.semantic_variance:g}",
        "features": str(dimensions),
        "seed": str(options.seed),
        "layer": laplace.identity.name,
        "covariance": laplace.options.covariance.value,
        "prior_precision": f"{laplace.options.prior_precision:g}",
        "noise_variance": f"{laplace.options.noise_variance:g}",
        "training_samples": str(laplace.samples),
    }
