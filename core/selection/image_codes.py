"""Which images scores belong to, so that an image that comes again is known."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from ..result import Uncertainty


def image_codes(results: Sequence[Uncertainty]) -> Tensor:
    """(B,) int64, of all images of the results: a hash of the score, the curve and the map of each.

    It is the same whenever the same image is measured in the same way, in whatever batch. Two others of a million have the same
    with a probability of 1e-7.
    """
    codes = [code_of(result.scores[i], result.curve[:, i], result.maps[i]) for result in results for i in range(len(result))]
    return torch.tensor(codes, dtype=torch.int64)


def code_of(*values: Tensor) -> int:
    digest = hashlib.blake2b(digest_size=8)
    for each in values:
        digest.update(each.detach().float().cpu().contiguous().numpy().tobytes())
    return int.from_bytes(digest.digest(), "little", signed=True)
