"""The images that every method is measured on: the same noises and labels for all, in chunks that are kept under out/."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from uncertainty_nodes.benchmarks.shared.common import kept
from uncertainty_nodes.benchmarks.shared.subject import OnSubject, Subject, digits
from uncertainty_nodes.core.options import AleatoricOptions, FreeOptions, FreeScore, Quantity, StepWindow
from uncertainty_nodes.core.result import Uncertainty
from uncertainty_nodes.hosts.diffusers.demo import CLASSES, attach, sample

CHUNK = 50
STEPS = 25
SEEDS = (11, 12, 13)  # not the seed of direction.py and information.py, on whose images the default windows were picked
DEFAULT, LAST = AleatoricOptions().window, StepWindow(0.90, 0.98)  # the paper's last steps: 45 to 48 of 50
FREE = {"trajectory": FreeScore.TRAJECTORY, "condition gap": FreeScore.CONDITION_GAP}


@dataclass(frozen=True)
class Chunk:
    """A chunk of the pool: place, starting noise (B, C, 32, 32), labels (B,), and its images once they are drawn."""

    seed: int
    index: int
    noise: Tensor
    labels: Tensor
    images: Tensor


@dataclass(frozen=True)
class Lab(OnSubject):
    """What is measured, and where what was measured is kept.

    size: images a chunk. precision: of the network; all else is float32. cfg: the scale of classifier-free guidance of every sampling.
    """

    subject: Subject
    work: Path
    size: int = CHUNK
    steps: int = STEPS
    precision: torch.dtype = torch.float32
    cfg: float = 1.0

    @classmethod
    def open(
        cls,
        work: Path,
        size: int = CHUNK,
        steps: int = STEPS,
        precision: torch.dtype = torch.float32,
        subject: Subject | None = None,
        cfg: float = 1.0,
    ) -> Lab:
        """Of the bundled digits where no subject is given."""
        return cls(subject or digits(), work, size, steps, precision, cfg)

    @property
    def options(self) -> dict[str, Any]:
        """What a measurement hangs on beside its place."""
        guided = {} if self.cfg == 1 else {"cfg": self.cfg}
        return {"steps": self.steps, "size": self.size, "precision": str(self.precision)} | guided | self.subject.options

    def casting(self, precision: torch.dtype | None = None) -> AbstractContextManager[None]:
        """The network's arithmetic in the lab's precision, or in another."""
        precision = precision or self.precision
        return torch.autocast(self.device.type, precision, enabled=precision != torch.float32)

    def sample(self, noise: Tensor, labels: Tensor, steps: int | None = None) -> Tensor:
        return sample(self.network, self.scheduler, noise, labels, steps or self.steps, self.cfg)

    def blank(self, seed: int, index: int, size: int | None = None) -> Chunk:
        """With no images yet. size: of other chunks than the lab's."""
        size = size or self.size
        first = index * size
        labels = (torch.arange(size) + first) % CLASSES
        return Chunk(seed, index, self.subject.noise(size, seed, first).to(self.device), labels.to(self.device), torch.empty(0))

    def chunks(self, seeds: tuple[int, ...], images: int) -> Iterator[Chunk]:
        """``images`` of each seed, rounded up to whole chunks, the seeds taking turns, so that a stop leaves them alike."""
        for index in range(-(-images // self.size)):
            for seed in seeds:
                yield self.blank(seed, index)

    def path(self, job: str, chunk: Chunk) -> Path:
        return self.work / job / f"{chunk.seed}_{chunk.index}.safetensors"

    def drawn(self, chunk: Chunk) -> Chunk:
        """The chunk with its images, drawn or read back."""
        tensors = kept(self.path("draw", chunk), self.options, lambda: self.draw(chunk))
        return replace(chunk, images=tensors["images"].to(self.device))

    def draw(self, chunk: Chunk) -> dict[str, Tensor]:
        """Images and the aleatoric scores, all from one sampling; scores (B,) by name, NFE in a tensor of one number."""
        with self.casting():
            images, results = self.recorded(chunk, (DEFAULT, LAST))
        return {"images": images} | scored(results)

    def recorded(self, chunk: Chunk, windows: tuple[StepWindow, ...]) -> tuple[Tensor, dict[str, Uncertainty]]:
        """One sampling, watched once for each window; what a watcher asks of the network the others don't see.

        Of photos the scores that cost no call are recorded too; those of digits have a benchmark of their own.
        """
        where = {DEFAULT: "", LAST: ", last steps"}
        wanted: dict[str, AleatoricOptions | FreeOptions] = {where[w]: AleatoricOptions(window=w) for w in windows}
        free = [n for n, s in FREE.items() if self.cfg != 1 or s is FreeScore.TRAJECTORY] if self.subject.is_colour else []
        wanted |= {name: FreeOptions(FREE[name]) for name in free}
        guided = {"classifier_free": self.cfg != 1, "guidance_scale": self.cfg}
        with ExitStack() as blocks:
            runs = {n: blocks.enter_context(attach(self.network, self.scheduler, record=o, **guided)) for n, o in wanted.items()}
            images = self.sample(chunk.noise, chunk.labels)
        names = [where[w] for w in windows]
        results = {q.value + name: runs[name].result(q) for name in names for q in Quantity}
        return images, results | {name: run.result() for name, run in runs.items() if name not in names}


def scored(results: dict[str, Uncertainty]) -> dict[str, Tensor]:
    """What the filtering table needs of results, as tensors to keep: badness (B,) and NFE (1,) by name."""
    badness = {f"badness {name}": result.badness for name, result in results.items()}
    return badness | {f"nfe {name}": torch.tensor([result.nfe], dtype=torch.float64) for name, result in results.items()}
