"""The images that every method is measured on: the same noises and labels for all, in chunks that are kept under out/."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from uncertainty_nodes.benchmarks.shared.common import kept
from uncertainty_nodes.core.options import AleatoricOptions, Quantity, StepWindow
from uncertainty_nodes.core.result import Uncertainty
from uncertainty_nodes.hosts.diffusers.demo import CLASSES, attach, load_demo, sample, starting_noise

CHUNK = 50
STEPS = 25
SEEDS = (11, 12, 13)  # not the seed of direction.py and information.py, on whose images the default windows were picked
DEFAULT, LAST = AleatoricOptions().window, StepWindow(0.90, 0.98)  # the paper's last steps: 45 to 48 of 50


@dataclass(frozen=True)
class Chunk:
    """A chunk of the pool: place, starting noise (B, 1, 32, 32), labels (B,), and its images once they are drawn."""

    seed: int
    index: int
    noise: Tensor
    labels: Tensor
    images: Tensor

    @classmethod
    def blank(cls, seed: int, index: int, size: int = CHUNK) -> Chunk:
        first = index * size
        noise = starting_noise(size, seed, first)
        return cls(seed, index, noise, (torch.arange(size) + first) % CLASSES, torch.empty(0))


@dataclass(frozen=True)
class Lab:
    """The demo model, and where what was measured is kept. size: images a chunk. precision: of the network; all else is float32."""

    network: Any
    scheduler: Any
    work: Path
    size: int = CHUNK
    steps: int = STEPS
    precision: torch.dtype = torch.float32

    @classmethod
    def open(cls, work: Path, size: int = CHUNK, steps: int = STEPS, precision: torch.dtype = torch.float32) -> Lab:
        network, scheduler = load_demo()
        network = network.to(memory_format=torch.channels_last)  # a seventh faster on processors
        return cls(network, scheduler, work, size, steps, precision)

    @property
    def options(self) -> dict[str, Any]:
        """What a measurement hangs on beside its place."""
        return {"steps": self.steps, "size": self.size, "precision": str(self.precision)}

    def casting(self, precision: torch.dtype | None = None) -> AbstractContextManager[None]:
        """The network's arithmetic in the lab's precision, or in another."""
        precision = precision or self.precision
        return torch.autocast("cpu", precision, enabled=precision != torch.float32)

    def chunks(self, seeds: tuple[int, ...], images: int) -> Iterator[Chunk]:
        """``images`` of each seed, rounded up to whole chunks, the seeds taking turns, so that a stop leaves them alike."""
        for index in range(-(-images // self.size)):
            for seed in seeds:
                yield Chunk.blank(seed, index, self.size)

    def path(self, job: str, chunk: Chunk) -> Path:
        return self.work / job / f"{chunk.seed}_{chunk.index}.safetensors"

    def drawn(self, chunk: Chunk) -> Chunk:
        """The chunk with its images, drawn or read back."""
        tensors = kept(self.path("draw", chunk), self.options, lambda: self.draw(chunk))
        return Chunk(chunk.seed, chunk.index, chunk.noise, chunk.labels, tensors["images"])

    def draw(self, chunk: Chunk) -> dict[str, Tensor]:
        """Images and the aleatoric scores, all from one sampling; scores (B,) by name, NFE in a tensor of one number."""
        with self.casting():
            images, results = self.recorded(chunk, (DEFAULT, LAST))
        return {"images": images} | scored(results)

    def recorded(self, chunk: Chunk, windows: tuple[StepWindow, ...]) -> tuple[Tensor, dict[str, Uncertainty]]:
        """One sampling, watched once for each window; what a watcher asks of the network the others don't see."""
        with ExitStack() as blocks:
            runs = [blocks.enter_context(attach(self.network, self.scheduler, record=AleatoricOptions(window=w))) for w in windows]
            images = sample(self.network, self.scheduler, chunk.noise, chunk.labels, self.steps)
        where = {DEFAULT: "", LAST: ", last steps"}
        return images, {q.value + where[w]: run.result(q) for w, run in zip(windows, runs, strict=True) for q in Quantity}


def scored(results: dict[str, Uncertainty]) -> dict[str, Tensor]:
    """What the filtering table needs of results, as tensors to keep: badness (B,) and NFE (1,) by name."""
    badness = {f"badness {name}": result.badness for name, result in results.items()}
    return badness | {f"nfe {name}": torch.tensor([result.nfe], dtype=torch.float64) for name, result in results.items()}
