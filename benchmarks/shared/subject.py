"""What a table is measured on: a model, what judges its images, and what its methods need. The bundled digits, or colour photos."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from uncertainty_nodes.benchmarks.shared.other_models.colour import held_out, load_colour, load_judge, noise_of
from uncertainty_nodes.core.demo.extractor import Reference, load_extractor, load_reference
from uncertainty_nodes.core.demo.network import FOLDER, LAPLACE
from uncertainty_nodes.core.ensemble.file import EnsembleParameters
from uncertainty_nodes.core.last_layer.laplace import Laplace
from uncertainty_nodes.hosts.diffusers.demo import load_demo, starting_noise

COLOUR = Path("out/colour")  # what is measured of photos
COLOUR_MODEL = Path(__file__).parents[1] / "colour_model"


@dataclass(frozen=True, eq=False)
class Subject:
    """A class-conditional pixel model of 10 classes, label 10 for none, and its judge, all on one device; the reference is on the CPU.

    judge: images -> logits, with ``features``. noise: (count, seed, first number) -> starting noise, one image's always the same.
    real: count -> at most so many real images that neither saw, and their classes. options: what a kept measurement hangs on.
    """

    name: str
    network: Any
    scheduler: Any
    judge: nn.Module
    reference: Reference
    noise: Callable[[int, int, int], Tensor]
    real: Callable[[int], tuple[Tensor, Tensor]]
    laplace_path: Path
    ensemble_path: Path
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    @property
    def is_colour(self) -> bool:
        return bool(self.options)

    @cached_property
    def laplace(self) -> Laplace:
        return Laplace.load(self.laplace_path)

    @cached_property
    def ensemble(self) -> EnsembleParameters:
        return EnsembleParameters.load(self.ensemble_path)

    @torch.no_grad()
    def judged(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """features (N, D), and what p the judge gives the asked class, (N,); on the CPU."""
        features = torch.cat([self.judge.features(part.to(self.device)) for part in images.split(500)])
        asked = self.judge.head(features).softmax(dim=1)[torch.arange(len(labels)), labels.to(self.device)]
        return {"features": features.cpu(), "asked": asked.cpu()}


class OnSubject:
    """What every lab of a subject reads off it."""

    subject: Subject

    @property
    def network(self) -> Any:
        return self.subject.network

    @property
    def scheduler(self) -> Any:
        return self.subject.scheduler

    @property
    def device(self) -> torch.device:
        return self.subject.device


def digits(device: str = "cpu", laplace: Path | None = None, ensemble: Path | None = None) -> Subject:
    """The bundled model, judged by the bundled classifier."""
    network, scheduler = load_demo(device)
    network = network.to(memory_format=torch.channels_last)  # a seventh faster on processors
    reference = load_reference()

    def real(count: int) -> tuple[Tensor, Tensor]:
        return reference.images[:count], reference.labels[:count]

    judge, members = load_extractor().to(device), ensemble or FOLDER / "ensemble.safetensors"
    return Subject("digits", network, scheduler, judge, reference, starting_noise, real, laplace or LAPLACE, members)


def colour(
    device: str = "cpu",
    model: Path | None = None,
    judge: Path | None = None,
    laplace: Path | None = None,
    ensemble: Path | None = None,
    photos: Path | None = None,
) -> Subject:
    """The model of bundle/train_colour.py, judged by that of bundle/train_colour_judge.py. photos: the folder that both were trained on."""
    network, scheduler, about = load_colour(model or COLOUR_MODEL / "model.safetensors", device)
    classifier, reference, judge_about = load_judge(judge or COLOUR_MODEL / "judge.safetensors", device)

    def real(count: int) -> tuple[Tensor, Tensor]:
        if photos is None:
            raise SystemExit("Pixels are measured on real photos: pass --photos, the folder that train_colour.py was given.")
        return held_out(photos, count)

    def noise(count: int, seed: int, first: int) -> Tensor:
        return noise_of(count, first, seed)

    paths = (laplace or COLOUR_MODEL / "laplace.safetensors", ensemble or COLOUR_MODEL / "ensemble.safetensors")
    options = {"model": about, "judge": judge_about}
    return Subject("colour", network, scheduler, classifier, reference, noise, real, *paths, options)


def add_subject(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what is measured")
    group.add_argument("--colour", action="store_true", help="the colour model (bundle/train_colour.py) instead of the bundled digits")
    group.add_argument("--device", default="cpu")
    group.add_argument("--model", type=Path, help="the colour model (default: that in benchmarks/colour_model)")
    group.add_argument("--judge", type=Path, help="of the colour model (default: likewise)")
    group.add_argument("--laplace", type=Path, help="a Laplace fit of the model (default: likewise)")
    group.add_argument("--ensemble", type=Path, help="class-embedding tables of the model (default: likewise)")
    group.add_argument("--photos", type=Path, help="the folder that the colour model was trained on, for pixels")


def open_subject(a: argparse.Namespace) -> Subject:
    if torch.device(a.device).type == "cuda":
        torch.backends.cudnn.allow_tf32 = False  # float32 is to be float32, as on a processor
    if a.colour:
        return colour(a.device, a.model, a.judge, a.laplace, a.ensemble, a.photos)
    return digits(a.device, a.laplace, a.ensemble)
