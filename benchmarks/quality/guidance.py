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
from uncertainty_nodes.benchmarks.shared.guidance_settings import MAIN, PAIR, SCREEN, STEPS, UNDER_CFG, Guided, Model, Setting
from uncertainty_nodes.core.demo.extractor import DigitClassifier, Reference, load_extractor, load_reference
from uncertainty_nodes.core.metrics.features import FeatureStatistics, frechet_distance, precision_recall
from uncertainty_nodes.core.metrics.scores import bootstrap_interval
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


def row(drawn: dict[str, Tensor], plain: dict[str, Tensor], real: Reference) -> dict[str, Any]:
    """The figures of one setting, and what it gains over plain sampling of the same images."""
    near = precision_recall(real.features, drawn["features"])
    return {
        "images": len(drawn["log_p"]),
        "nfe": round(float(drawn["nfe"]), 1),
        "agreement": round(float(shows(drawn).mean()), 4),
        "log_p": round(float(drawn["log_p"].mean()), 4),
        "fid": round(fid(drawn["features"], real), 3),
        "precision": round(near.precision, 4),
        "recall": round(near.recall, 4),
    } | gains(drawn, plain, real)


def gains(drawn: dict[str, Tensor], other: dict[str, Tensor], real: Reference) -> dict[str, Any]:
    """What one setting gains over another on the images that both were run on, with 95 % intervals: image pairs are resampled."""

    def fid_gain(ours: Tensor, theirs: Tensor) -> float:
        return fid(theirs, real) - fid(ours, real)

    count = min(len(drawn["log_p"]), len(other["log_p"]))
    change = (shows(drawn)[:count] - shows(other)[:count]).double()
    pair = (drawn["features"][:count], other["features"][:count])
    return {
        "agreement_gain": round(float(change.mean()), 4),
        "agreement_gain_interval": rounded(bootstrap_interval(lambda d: float(d.mean()), change)[:2]),
        "fid_gain": round(fid_gain(*pair), 3),
        "fid_gain_interval": rounded(bootstrap_interval(fid_gain, *pair, resamples=200)[:2]),
    }


def beyond(drawn: dict[str, dict[str, Tensor]], real: Reference) -> dict[str, dict[str, Any]]:
    """Guided setting -> control -> what guidance gains over it; of the settings that were run on most images."""
    settings = MAIN | SCREEN | UNDER_CFG
    most = max(len(found["log_p"]) for found in drawn.values())
    full = [name for name, found in drawn.items() if len(found["log_p"]) == most]
    guided = [name for name in full if isinstance(settings[name], Guided)]
    controls = [name for name in full if name in MAIN | UNDER_CFG and name not in (*guided, "plain")]
    return {g: {c: gains(drawn[g], drawn[c], real) for c in controls} for g in tqdm(guided, desc="Controls")}


def shows(drawn: dict[str, Tensor]) -> Tensor:
    """(n,) 1 where the image shows the asked digit."""
    return (drawn["log_p"].exp() > 0.5).float()


def fid(features: Tensor, real: Reference) -> float:
    return frechet_distance(real.statistics, FeatureStatistics.of(features, real.statistics.extractor))


def rounded(values: Any) -> list[float]:
    return [round(v, 4) for v in values]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=100, help="for the main settings (default: %(default)s)")
    parser.add_argument("--screen", type=int, default=50, help="for the others (default: %(default)s)")
    parser.add_argument("--cfg", action="store_true", help="the settings under classifier-free guidance instead, with three seeds")
    parser.add_argument("--only", nargs="*", help="these settings alone; plain always")
    parser.add_argument("--table", action="store_true", help="draw nothing further, make the table of what is there")
    parser.add_argument("--precision", choices=["bfloat16", "float32"], default="bfloat16")
    parser.add_argument("--work", type=Path, default=Path("out/guidance"))
    a = parser.parse_args()
    network, scheduler = load_demo()
    model = Model(network.to(memory_format=torch.channels_last), scheduler)  # a seventh faster on processors
    lab, real = Lab(model, load_extractor(), getattr(torch, a.precision), a.work), load_reference()
    settings = UNDER_CFG if a.cfg else MAIN | SCREEN
    settings = {name: s for name, s in settings.items() if not a.only or name in (*a.only, "plain")}
    seeds = CFG_SEEDS if a.cfg else (SEED,)
    where = {name: places(seeds, a.images if name in MAIN | UNDER_CFG else min(a.screen, a.images)) for name in settings}
    for place in () if a.table else tqdm(places(seeds, a.images), desc="Drawing"):
        for name, setting in settings.items():
            if place in where[name]:
                lab.drawn(name, setting, place)
    drawn = {name: found for name, s in settings.items() if (found := gather(lab, name, s, where[name])) is not None}
    table: dict[str, Any] = {}
    for name, found in drawn.items():
        table[name] = row(found, drawn["plain"], real)
        tqdm.write(f"{name:40s} {table[name]}")
    figures = {
        "steps": STEPS,
        "draws": PAIR.samples,
        "seeds": seeds,
        "precision": a.precision,
        "extractor": lab.judge.name,
        "settings": table,
        "beyond": beyond(drawn, real),
    }
    tqdm.write(f"Wrote {write('guidance_cfg' if a.cfg else 'guidance', figures)}")


if __name__ == "__main__":
    main()
