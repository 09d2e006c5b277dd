"""A process of its own that searches, or scores, in less and less memory, and prints a line of JSON for each amount."""

from __future__ import annotations

import json
import logging
import re
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from uncertainty_nodes.core.options import AleatoricOptions, BestOfOptions, DrawOptions
from uncertainty_nodes.hosts.diffusers import best_of
from uncertainty_nodes.hosts.diffusers.attach import score
from uncertainty_nodes.hosts.diffusers.demo import SHAPE, load_demo
from uncertainty_nodes.hosts.diffusers.search.best_of import DigitCandidates

MIB = 2**20
AMOUNTS = [2**power * MIB for power in range(8, -1, -1)]  # the greatest is enough, the least is not
MANY = 64  # candidates, or draws, in a call


def main(what: str) -> None:
    torch.set_num_threads(1)
    warnings = Texts()
    logging.getLogger("uncertainty_nodes").addHandler(warnings)
    job, demo = {"search": search, "scores": scores}[what], load_demo()
    expected = job(*demo)
    for spare in AMOUNTS:
        warnings.texts.clear()
        try:
            with no_more_than(spare):
                result = job(*demo)
        except (RuntimeError, MemoryError) as error:
            print(json.dumps({"warnings": warnings.texts, "error": str(error)}), flush=True)  # noqa: T201  to the test
            break
        difference = float((result - expected).abs().max())
        print(json.dumps({"warnings": warnings.texts, "difference": difference}), flush=True)  # noqa: T201
        if warnings.texts:
            break


def search(network: Any, scheduler: Any) -> Tensor:
    options = BestOfOptions(candidates=MANY, points=(0.5,), fractions=(0.25,), keep=2, micro_batch=MANY, seed=5)
    return best_of(DigitCandidates(network, scheduler, 3, 2), options=options).images


def scores(network: Any, scheduler: Any) -> Tensor:
    images = torch.randn((1, *SHAPE), generator=torch.Generator().manual_seed(0))
    options = AleatoricOptions(DrawOptions(samples=MANY, micro_batch=MANY))
    return score(network, scheduler, images, {"class_labels": torch.tensor([3])}, options, 1).scores


@contextmanager
def no_more_than(spare: int) -> Iterator[None]:
    """This many bytes beyond what the process has now: the system refuses more."""
    limits = resource.getrlimit(resource.RLIMIT_AS)
    now = int(re.search(r"VmSize:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024  # type: ignore[index]
    resource.setrlimit(resource.RLIMIT_AS, (now + spare, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


class Texts(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


if __name__ == "__main__":
    main(sys.argv[1])
