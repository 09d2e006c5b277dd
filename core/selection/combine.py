"""Several results for the same images as one: joined by rank, so that their units don't matter."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..denoiser import finite_rows
from ..options import Direction
from ..result import FAILED, Uncertainty
from .ranks import rank_average

QUANTITY = "combined"
KEPT = ("note", "caution", FAILED)  # what a reader of the joined result must still be told


def combine(results: Sequence[Uncertainty], weights: Sequence[float]) -> Uncertainty:
    """Scores: ``rank_average`` of the badness, 0 = best and 1 = worst of this batch. Maps: sum_k w_k z_k / sum_k w_k.

    results: K >= 2 for the same B images, maps of one shape. weights: K numbers >= 0, not all 0.
    z_k: ``bad_maps`` of result k less its mean, over its standard deviation, both over the whole batch; a constant map gives 0.
    Returns scores (B,) and maps (B, C, ...) float32, high = bad. Scores are ranks: they compare images of this batch only.
    An image that failed in one of the results keeps NaN, and the others are joined as if it were not there.
    The curve has one row, the scores, at sigma 0; NFE and seconds add up.
    Raises ValueError when results or weights do not fit.
    """
    if len(results) < 2:
        raise ValueError(f"Combining needs two results or more, got {len(results)}; connect another.")
    sizes = [len(r) for r in results]
    if len(set(sizes)) > 1:
        raise ValueError(f"Results to combine must be of the same images, got batches of {', '.join(map(str, sizes))}; score one batch.")
    shapes = [tuple(r.maps.shape[1:]) for r in results]
    if len(set(shapes)) > 1:
        raise ValueError(f"Maps to combine must have one shape, got {', '.join(map(str, shapes))}; measure the same latents.")
    scores = rank_average([r.badness for r in results], weights).float()
    sound = torch.stack([r.scores.cpu().isfinite() & finite_rows(r.maps).cpu() for r in results]).all(dim=0)
    weighted = (w * standardise(r.bad_maps, sound) for w, r in zip(weights, results, strict=True))
    maps = sum(weighted, start=torch.zeros(())) / sum(weights)
    return Uncertainty(
        maps=maps.float(),
        scores=scores,
        curve=scores[None],
        sigmas=torch.zeros(1),
        direction=Direction.HIGH_IS_BAD,
        quantity=QUANTITY,
        nfe=sum(r.nfe for r in results),
        seconds=sum(r.seconds for r in results),
        provenance=describe(results, weights),
    )


def standardise(maps: Tensor, sound: Tensor) -> Tensor:
    """(maps - mean) / standard deviation over the images that are ``sound``, (B,) bool; NaN for the others. Float64 on the CPU.

    0 where nothing differs.
    """
    standard, values = torch.full_like(maps, torch.nan, dtype=torch.float64, device="cpu"), maps.detach().cpu().double()[sound]
    if values.numel() == 0:
        return standard
    alike = values.min() == values.max()  # rounding of the mean must not be blown up to a pattern
    standard[sound] = torch.zeros_like(values) if alike else (values - values.mean()) / values.std(correction=0)
    return standard


def describe(results: Sequence[Uncertainty], weights: Sequence[float]) -> dict[str, str]:
    """What was combined, and the notes and cautions of each result, numbered from 1."""
    parts = [f"{r.quantity} ({r.direction.value}) x {w:g}" for r, w in zip(results, weights, strict=True)]
    provenance = {"of": ", ".join(parts), "by": "weighted average of ranks in this batch"}
    if sum(all(r.scores[i].isfinite() for r in results) for i in range(len(results[0]))) == 1:
        provenance["note"] = "A single image has nothing to be ranked against: its score is 0.5 whatever the results say."
    return provenance | {f"{name} of {i}": r.provenance[name] for i, r in enumerate(results, 1) for name in KEPT if name in r.provenance}
