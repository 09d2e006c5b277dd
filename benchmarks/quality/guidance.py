"""What guidance does to the bundled model's samples, beside controls: python benchmarks/quality/guidance.py

The same noises and classes at every setting; each is compared with plain sampling of the same images. Agreement: share
of images whose asked digit the bundled classifier gives p > 0.5; log p: mean log probability of the asked digit; fid,
precision, recall: against held-out digits, in the classifier's features. The table's main settings take --images, the
others the first --screen of them. The network runs in bfloat16 unless told otherwise, the sampler in float32: twice as fast
on processors that have it, and the figures are the same within their error. Kept in chunks under out/guidance, so a
stopped run goes on where it was.
"""

from __future__ import annotations

import argparse
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from uncertainty_nodes.benchmarks.shared.common import kept, write
from uncertainty_nodes.benchmarks.shared.guidance.judging import beyond, row
from uncertainty_nodes.benchmarks.shared.guidance.search import CANDIDATES, CONTROLS, NO_CONDITION, SEARCH, TUNING_SEED, WITHOUT_CONDITION
from uncertainty_nodes.benchmarks.shared.guidance.settings import MAIN, PAIR, SCREEN, STEPS, UNDER_CFG, Guided, Model, Setting
from uncertainty_nodes.core.demo.extractor import DigitClassifier, load_extractor, load_reference
from uncertainty_nodes.hosts.diffusers.demo import CLASSES, load_demo, starting_noise

Place = tuple[int, int, int]  # seed, number of the first image, images
CHUNK = 50
SEED = 1
CFG_SEEDS = (1, 2, 3)


@dataclass(frozen=True)
class Lab:
    """The demo model, what judges its images, and where what was drawn is kept."""

    model: Model
    judge: DigitClassifier
    precision: torch.dtype
    work: Path

    def chunk(self, setting: Setting, place: Place) -> dict[str, Tensor]:
        """Features (n, D) and log p (n,) of the images of one place at one setting."""
        seed, first, count = place
        noise, labels = starting_noise(count, seed, first), torch.arange(first, first + count) % CLASSES
        with torch.autocast("cpu", self.precision, enabled=self.precision != torch.float32):
            images, nfe = setting.draw(self.model, noise, labels, first, seed)
        log_p = self.judge(images).log_softmax(dim=1)[torch.arange(count), labels]
        return {"features": self.judge.features(images), "log_p": log_p, "nfe": torch.tensor(nfe), "images": images.half()}

    def path(self, name: str, place: Place) -> Path:
        return self.work / f"{name.replace(' ', '_')}_{'_'.join(map(str, place))}.safetensors"

    def drawn(self, name: str, setting: Setting, place: Place) -> dict[str, Tensor]:
        """``chunk``, made or read back."""
        return kept(self.path(name, place), (setting, STEPS, self.precision), lambda: self.chunk(setting, place))


def places(seeds: tuple[int, ...], count: int) -> list[Place]:
    """``count`` images in chunks, the seeds taking turns, so that a stop leaves them alike."""
    starts = range(0, count, CHUNK)
    return [(seeds[i % len(seeds)], i // len(seeds) * CHUNK, min(CHUNK, count - start)) for i, start in enumerate(starts)]


def gather(lab: Lab, name: str, setting: Setting, where: list[Place]) -> dict[str, Tensor] | None:
    """What was drawn of one setting, up to the first place that is missing; None: nothing. seed (N,) beside the figures."""
    there = list(itertools.takewhile(lambda place: lab.path(name, place).exists(), where))
    parts = [lab.drawn(name, setting, place) for place in there]
    if not parts:
        return None
    seed = torch.cat([torch.full((count,), seed) for seed, _, count in there])
    return {key: torch.cat([p[key] for p in parts]) for key in ("features", "log_p")} | {"nfe": parts[0]["nfe"], "seed": seed}


@dataclass(frozen=True)
class Table:
    """What one results' file holds. guided: what is held against the controls."""

    name: str
    settings: dict[str, Setting]
    seeds: tuple[int, ...]
    guided: list[str]
    controls: list[str]

    @classmethod
    def asked(cls, a: argparse.Namespace) -> Table:
        if a.search:
            return cls("guidance_search", SEARCH, (TUNING_SEED,), list(CANDIDATES), list(CONTROLS))
        name, settings, seeds = ("guidance_cfg", UNDER_CFG, CFG_SEEDS) if a.cfg else ("guidance", MAIN | SCREEN, (SEED,))
        guided = [name for name, setting in settings.items() if isinstance(setting, Guided)]
        return cls(name, settings, seeds, guided, [n for n in settings if n not in (*guided, *SCREEN, "plain")])

    def only(self, names: list[str] | None) -> dict[str, Setting]:
        return {name: setting for name, setting in self.settings.items() if not names or name in (*names, "plain")}

    def baseline(self, name: str) -> str:
        return NO_CONDITION if name in WITHOUT_CONDITION else "plain"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=100, help="for the main settings (default: %(default)s)")
    parser.add_argument("--screen", type=int, default=50, help="for the others (default: %(default)s)")
    parser.add_argument("--cfg", action="store_true", help="the settings under classifier-free guidance instead, with three seeds")
    parser.add_argument("--search", action="store_true", help="the search of shared/guidance/search.py instead, on its tuning seed")
    parser.add_argument("--only", nargs="*", help="these settings alone; plain always")
    parser.add_argument("--table", action="store_true", help="draw nothing further, make the table of what is there")
    parser.add_argument("--precision", choices=["bfloat16", "float32"], default="bfloat16")
    parser.add_argument("--work", type=Path, default=Path("out/guidance"))
    return parser.parse_args()


def main() -> None:
    a = arguments()
    network, scheduler = load_demo()
    model = Model(network.to(memory_format=torch.channels_last), scheduler)  # a seventh faster on processors
    lab, real, table = Lab(model, load_extractor(), getattr(torch, a.precision), a.work), load_reference(), Table.asked(a)
    settings = table.only(a.only)
    where = {name: places(table.seeds, min(a.screen, a.images) if name in SCREEN else a.images) for name in settings}
    for place in () if a.table else tqdm(places(table.seeds, a.images), desc="Drawing"):
        for name, setting in settings.items():
            if place in where[name]:
                lab.drawn(name, setting, place)
    drawn = {name: found for name, s in settings.items() if (found := gather(lab, name, s, where[name])) is not None}
    rows: dict[str, Any] = {}
    for name, found in drawn.items():
        rows[name] = row(found, drawn[table.baseline(name)], real)
        tqdm.write(f"{name:40s} {rows[name]}")
    figures = {
        "steps": STEPS,
        "draws": PAIR.samples,
        "seeds": table.seeds,
        "precision": a.precision,
        "extractor": lab.judge.name,
        "settings": rows,
        "beyond": beyond(drawn, table.guided, table.controls, real),
    }
    tqdm.write(f"Wrote {write(table.name, figures)}")


if __name__ == "__main__":
    main()
