"""A prompt in parts: the texts to compare, and which part each image heeds least."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..result import Uncertainty
from .information import Information


def leave_one_out(phrases: str, separator: str = ", ") -> tuple[list[str], list[str]]:
    """One phrase a line -> the whole prompt followed by it without each phrase in turn (K + 1 texts), and the K phrases.

    Empty lines don't count. Raises ValueError where no phrase is left.
    """
    parts = [line.strip(" ,") for line in phrases.splitlines() if line.strip(" ,")]
    if not parts:
        raise ValueError("phrases is empty: write the prompt with one phrase a line.")
    return [separator.join(parts), *(separator.join(parts[:k] + parts[k + 1 :]) for k in range(len(parts)))], parts


@dataclass(frozen=True, eq=False)
class Weakest:
    """The part with the lowest information, for each of B images. part: (B,) its index. result: score and map of that part."""

    part: Tensor
    result: Uncertainty


def weakest(parts: Sequence[Information]) -> Weakest:
    """Of the results of ``core.pixelwise.information.part_information``, the lowest for each image, on the cost of all together.

    A score that is not finite counts as lowest. Raises ValueError when there is no part.
    """
    if len(parts) == 0:
        raise ValueError("There is no part to choose from: give at least one.")
    results = [p.result for p in parts]
    part = torch.stack([r.scores.nan_to_num(nan=-torch.inf, posinf=-torch.inf) for r in results]).argmin(dim=0)
    image = torch.arange(len(part), device=part.device)
    chosen = replace(
        results[0],
        maps=torch.stack([r.maps for r in results])[part, image],
        scores=torch.stack([r.scores for r in results])[part, image],
        curve=torch.stack([r.curve for r in results])[part, :, image].T.contiguous(),
        nfe=sum(r.nfe for r in results),
        seconds=sum(r.seconds for r in results),
        provenance={k: v for k, v in results[0].provenance.items() if k != "note"} | {"of": f"the lowest of {len(results)} parts"},
    )
    return Weakest(part, chosen)
