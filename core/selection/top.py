"""The best of a stream of any length, of which only those are kept in memory."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass
class Top(Generic[T]):
    """The ``keep`` best items offered so far. Equal ones stay in the order in which they came, as in core.selection.filtering."""

    keep: int
    seen: int = 0
    heap: list[tuple[float, int, float, T]] = field(default_factory=list)  # -badness, -number, badness, item: the worst on top

    def offer(self, badness: float, item: T) -> bool:
        """Whether it is among the best for now. What is not finite never is."""
        self.seen += 1
        if not math.isfinite(badness) or self.keep == 0:
            return False
        entry = (-badness, -self.seen, badness, item)
        if len(self.heap) < self.keep:
            heapq.heappush(self.heap, entry)
            return True
        return heapq.heappushpop(self.heap, entry)[1] != entry[1]

    def best(self) -> list[tuple[float, T]]:
        """(badness, item), best first."""
        return [(badness, item) for _, _, badness, item in sorted(self.heap, key=lambda entry: (entry[2], -entry[1]))]
