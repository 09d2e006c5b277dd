"""Which samples each member of an ensemble is trained on, and data cut down to a number of samples a class."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..draws import step_generator
from ..options import Bootstrap, BootstrapOptions, check_whole, limits


def limit_classes(labels: Tensor, counts: Mapping[int, int], seed: int = 0) -> Tensor:
    """Indexes of the samples that stay when class c keeps ``counts[c]`` of them, all when it is not named; in their old order.

    labels: (N,) class of each sample. A smaller count keeps a part of what a larger one keeps. Returns (n,) int64.
    Raises ValueError for a class that is not in the labels, or that has fewer samples than it shall keep.
    Source: Berry et al. 2024 (DECU), classes of 1, 10, 100 and 1300 images.
    """
    check_classes(labels)
    kept = []
    for c in sorted(set(labels.tolist()) | set(counts)):
        places = (labels == c).nonzero()[:, 0]
        if len(places) == 0:
            raise ValueError(f"No sample is of class {c}: leave it out of the counts, or give samples of it.")
        check_whole(f"The count of class {c}", counts.get(c, len(places)), 1, len(places))
        order = torch.randperm(len(places), generator=step_generator(seed, c))
        kept.append(places[order[: counts.get(c, len(places))]])
    return torch.cat(kept).sort().values


def bootstraps(count: int, members: int, options: BootstrapOptions | None = None, labels: Tensor | None = None) -> list[Tensor]:
    """For each member, the indexes (n,) int64 of its samples among ``count``: drawn with replacement, or disjoint.

    labels: (count,) where given, each class is drawn by itself, so that no member loses a class or its share of the data.
    Deterministic from the seed; a member's draw doesn't depend on how many members there are, unless they are disjoint.
    Raises ValueError, in a sentence, when a bootstrap is larger than the data, or a class is too small to be shared out.
    """
    options = options or BootstrapOptions()
    check_whole("samples", count, 1)
    limits.MEMBERS.check("members", members)
    size = options.size or (count // members if options.kind is Bootstrap.DISJOINT else count)
    wanted = size * members if options.kind is Bootstrap.DISJOINT else size
    if size < 1 or wanted > count:
        asked = f"{members} disjoint bootstraps of {max(size, 1)}" if options.kind is Bootstrap.DISJOINT else f"A bootstrap of {size}"
        raise ValueError(f"{asked} samples can't come of the {count} that there are: use fewer members or samples, or give more data.")
    if labels is None:
        return draw_members(torch.arange(count), size, members, options, 0)
    check_classes(labels)
    if len(labels) != count:
        raise ValueError(f"labels must hold one class for each of {count} samples, got {len(labels)}.")
    parts = []
    for c in labels.unique().tolist():
        places = (labels == c).nonzero()[:, 0]
        share = len(places) // members if options.kind is Bootstrap.DISJOINT else len(places)
        share = max(min(round(len(places) * size / count), share), 1)
        if options.kind is Bootstrap.DISJOINT and share * members > len(places):
            raise ValueError(f"Class {c} has {len(places)} samples, too few for {members} disjoint bootstraps: draw with replacement.")
        parts.append(draw_members(places, share, members, options, c + 1))
    return [torch.cat(member).sort().values for member in zip(*parts, strict=True)]


def draw_members(places: Tensor, size: int, members: int, options: BootstrapOptions, stream: int) -> list[Tensor]:
    """``size`` of the places for each member. stream: tells the classes' draws apart."""
    if options.kind is Bootstrap.DISJOINT:
        order = torch.randperm(len(places), generator=member_generator(options.seed, stream, 0))
        return [places[part].sort().values for part in order[: size * members].split(size)]
    picks = [torch.randint(len(places), (size,), generator=member_generator(options.seed, stream, k)) for k in range(members)]
    return [places[pick].sort().values for pick in picks]


def member_generator(seed: int, stream: int, member: int) -> torch.Generator:
    return step_generator(seed, (member << 32) + stream)


def check_classes(labels: Tensor) -> None:
    if labels.ndim != 1 or len(labels) == 0 or labels.is_floating_point() or int(labels.min()) < 0:
        raise ValueError(f"labels must be a list of classes 0, 1, ..., one for each sample, got shape {tuple(labels.shape)}.")
