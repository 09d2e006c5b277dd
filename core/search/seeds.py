"""Seeds of further attempts and candidates, derived from one."""

from __future__ import annotations

from ..options import check_whole, limits

BITS = 53  # a browser's numbers are exact up to here, so that a seed can be read off, typed in and drawn again
MASK = (1 << BITS) - 1
NO_SEED = -1  # told for an image that no seed draws again


def derive_seed(seed: int, index: int) -> int:
    """The seed of attempt or candidate ``index`` = 0, 1, 2, ...: number 0 has ``seed`` itself, as it would without a search.

    From 1 on: splitmix64's steps (Steele et al. 2014) modulo 2^53, applied to seed + index * golden ratio. Each step can be
    undone, so the seeds from 1 to 2^53 are all different; and neighbouring seeds share none of their first attempts, as
    seed + index would. Raises ValueError for a seed or index out of range.
    """
    limits.SEED.check("seed", seed)
    check_whole("index", index, 0, MASK)
    if index == 0:
        return seed
    mixed = (seed + 0x9E3779B97F4A7C15 * index) & MASK
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & MASK
    return mixed ^ (mixed >> 31)
