"""ComfyUI's batches in two: IMAGE, MASK and LATENT values parted into accepted and rejected; and lists of scores joined.

A socket may bring one batch or a list of batches; each is parted on its own, so that what goes in as a list comes out as one.
A part that keeps all of a batch is that very batch, untouched.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from ...core.options import Direction
from ...core.result import Uncertainty

Batch = TypeVar("Batch", Tensor, dict[str, Any])
Latent = dict[str, Any]


def join_scores(results: Sequence[Uncertainty]) -> tuple[Tensor, Direction, str]:
    """Scores of all results (B,), on the CPU, their direction and quantity; maps and steps may differ.

    Raises ValueError when direction or quantity differ.
    """
    kinds = {(r.direction, r.quantity) for r in results}
    if len(kinds) != 1:
        names = ", ".join(sorted(f"{quantity}, {direction.value}" for direction, quantity in kinds))
        raise ValueError(f"uncertainty holds different kinds of scores ({names}), which cannot be compared; filter them apart.")
    return torch.cat([r.scores.detach().float().cpu() for r in results]), *kinds.pop()


def list_scores(values: Sequence[Any]) -> Tensor:
    """Numbers in a list, or in lists inside it, as some packs give them -> (B,) float64."""
    flat = [float(x) for value in values for x in (value if isinstance(value, (list, tuple)) else [value])]
    return torch.tensor(flat, dtype=torch.float64)


def parse_indexes(name: str, text: str, count: int) -> list[int]:
    """Images named as Sample Filter names them: "0,2,5". An empty text is none. Raises ValueError for what is no such list."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not all(word.isdecimal() and int(word) < count for word in words):
        raise ValueError(
            f"{name} must be numbers from 0 to {count - 1} with commas between, got {text!r}; the first image is 0, as in Sample Filter."
        )
    return sorted({int(word) for word in words})


def join_further(results: Sequence[Uncertainty]) -> dict[str, Tensor]:
    """What other scores said of all images, (B,) by name; NaN for the images of results that don't tell it."""
    names = sorted({name for r in results for name in r.further})
    unknown = [torch.full((len(r),), torch.nan) for r in results]
    return {name: torch.cat([r.further.get(name, u).float().cpu() for r, u in zip(results, unknown, strict=True)]) for name in names}


def parse_labels(count: int, accepted: str, rejected: str) -> tuple[list[int], Tensor]:
    """Which of so many images somebody labelled, and which of those are bad.

    Raises ValueError for indexes that are none, or in both lists.
    """
    good = parse_indexes("accepted_indexes", accepted, count)
    bad = parse_indexes("rejected_indexes", rejected, count)
    if both := sorted(set(good) & set(bad)):
        raise ValueError(f"accepted_indexes and rejected_indexes both name image {both[0]}; take it out of one of them.")
    return good + bad, torch.tensor([False] * len(good) + [True] * len(bad), dtype=torch.bool)


def part_tensors(name: str, batches: Sequence[Tensor], accepted: Collection[int], count: int) -> tuple[list[Tensor], list[Tensor]]:
    """Accepted and rejected rows of IMAGE (N, H, W, C) or MASK (N, H, W) batches that belong to ``count`` scored samples.

    N may be a multiple of count: the frames of videos, which stay together. A single mask belongs to all.
    Raises ValueError when rows and samples do not fit.
    """
    if name == "masks" and sum(map(len, batches)) == 1:
        batches = [batches[0].expand(count, *batches[0].shape[1:])]
    each = check_rows(name, batches, count)
    sizes = [len(batch) // each for batch in batches]
    return _part(batches, sizes, accepted, lambda batch, indexes: batch[[i * each + k for i in indexes for k in range(each)]])


def check_rows(name: str, batches: Sequence[Tensor], count: int) -> int:
    """How many rows belong to each of ``count`` samples: 1, or the frames of a video. Raises ValueError when they do not fit."""
    rows = sum(map(len, batches))
    each = rows // count
    if each == 0 or rows % count or any(len(batch) % each for batch in batches):
        raise ValueError(f"There are {count} scores, but {rows} {name} came with them; connect the {name} that were scored.")
    return each


def part_latents(batches: Sequence[Latent], accepted: Collection[int], count: int) -> tuple[list[Latent], list[Latent]]:
    """Accepted and rejected samples of LATENT batches. Raises ValueError when samples and scores do not fit."""
    sizes = [len(batch["samples"]) for batch in batches]
    if sum(sizes) != count:
        raise ValueError(f"There are {count} scores, but {sum(sizes)} latents came with them; connect the latents that were scored.")
    return _part(batches, sizes, accepted, pick_latent)


def pick_latent(latent: Latent, indexes: Sequence[int]) -> Latent:
    """Some samples of a LATENT, with all that belongs to them.

    batch_index is made when missing, so that sampling again with the same seed finds the same noise, as Latent From Batch does it.
    noise_mask is repeated to the batch as samplers repeat it. Other tensors and lists as long as the batch are parted too.
    """
    size = len(latent["samples"])
    latent = {"batch_index": list(range(size)), **latent}
    if (mask := latent.get("noise_mask")) is not None and len(mask) > 1:
        latent["noise_mask"] = mask[[i % len(mask) for i in range(size)]]
    return {name: _pick(value, indexes, size) for name, value in latent.items()}


def _pick(value: Any, indexes: Sequence[int], size: int) -> Any:
    if torch.is_tensor(value) and value.ndim > 0 and len(value) == size:
        return value[list(indexes)]
    if isinstance(value, (list, tuple)) and len(value) == size:
        return type(value)(value[i] for i in indexes)
    return value


def _part(
    batches: Sequence[Batch], sizes: Sequence[int], accepted: Collection[int], pick: Callable[[Batch, list[int]], Batch]
) -> tuple[list[Batch], list[Batch]]:
    sides: tuple[list[Batch], list[Batch]] = ([], [])
    first = 0
    for batch, size in zip(batches, sizes, strict=True):
        for side, wanted in zip(sides, (True, False), strict=True):
            indexes = [i for i in range(size) if (first + i in accepted) is wanted]
            if indexes:
                side.append(batch if len(indexes) == size else pick(batch, indexes))
        first += size
    return sides
