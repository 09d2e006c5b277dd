"""What guidance does to the bundled model's samples, beside controls: python benchmarks/guidance.py

The same noises and classes at every setting; each is compared with plain sampling of the same images. Agreement: share
of images whose asked digit the bundled classifier gives p > 0.5; log p: mean log probability of the asked digit; fid,
precision, recall: against held-out digits, in the classifier's features. The table's main settings take --images, the
others the first --screen of them. Kept in chunks under out/guidance, so a stopped run goes on where it was. 2,000 and
300 images take some four hours on one core.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from common import write
from guidance_settings import MAIN, PAIR, SCREEN, STEPS, Model, Setting
from torch import Tensor
from tqdm import tqdm

from uncertainty_nodes.core.extractor import DigitClassifier, Reference, load_extractor, load_reference
from uncertainty_nodes.core.features import FeatureStatistics, frechet_distance, precision_recall
from uncertainty_nodes.core.files import load_tensors, save_tensors
from uncertainty_nodes.core.metrics import bootstrap_interval
from uncertainty_nodes.hosts.demo import CLASSES, load_demo, starting_noise

CHUNK = 50
SEED = 1
KIND = "guidance chunk"


def chunk(name: str, setting: Setting, model: Model, judge: DigitClassifier, first: int, count: int, work: Path) -> dict[str, Tensor]:
    """Features (n, D) and log p (n,) of the images ``first`` to ``first + count`` at one setting: drawn, or read back."""
    path, wanted = work / f"{name.replace(' ', '_')}_{first}_{count}.safetensors", {"setting": repr(setting), "steps": STEPS}
    if path.exists():
        tensors, metadata = load_tensors(path, KIND)
        if metadata == wanted:
            return tensors
    noise, labels = starting_noise(count, SEED, first), torch.arange(first, first + count) % CLASSES
    images, nfe = setting.draw(model, noise, labels, first, SEED)
    log_p = judge(images).log_softmax(dim=1)[torch.arange(count), labels]
    tensors = {"features": judge.features(images), "log_p": log_p, "nfe": torch.tensor(nfe), "images": images.half()}
    save_tensors(path, tensors, KIND, 1, wanted)
    return tensors


def gather(name: str, setting: Setting, model: Model, judge: DigitClassifier, count: int, work: Path) -> dict[str, Tensor]:
    starts = range(0, count, CHUNK)
    parts = [chunk(name, setting, model, judge, first, min(CHUNK, count - first), work) for first in tqdm(starts, desc=name)]
    return {key: torch.cat([p[key] for p in parts]) for key in ("features", "log_p")} | {"nfe": parts[0]["nfe"]}


def row(drawn: dict[str, Tensor], plain: dict[str, Tensor], real: Reference, extractor: str) -> dict[str, Any]:
    """The figures of one setting, and what it changes over plain sampling of the same images, with 95 % intervals."""

    def fid(features: Tensor) -> float:
        return frechet_distance(real.statistics, FeatureStatistics.of(features, extractor))

    def fid_gain(features: Tensor, before: Tensor) -> float:
        return fid(before) - fid(features)

    count = len(drawn["log_p"])
    before = {key: plain[key][:count] for key in ("features", "log_p")}
    shows, showed = ((d["log_p"].exp() > 0.5).double() for d in (drawn, before))
    near = precision_recall(real.features, drawn["features"])
    pair = (drawn["features"], before["features"])
    return {
        "images": count,
        "nfe": round(float(drawn["nfe"]), 1),
        "agreement": round(float(shows.mean()), 4),
        "agreement_gain": round(float((shows - showed).mean()), 4),
        "agreement_gain_interval": rounded(bootstrap_interval(lambda d: float(d.mean()), shows - showed)[:2]),
        "log_p": round(float(drawn["log_p"].mean()), 4),
        "fid": round(fid(drawn["features"]), 3),
        "fid_gain": round(fid_gain(*pair), 3),
        "fid_gain_interval": rounded(bootstrap_interval(fid_gain, *pair, resamples=200)[:2]),
        "precision": round(near.precision, 4),
        "recall": round(near.recall, 4),
    }


def rounded(values: Any) -> list[float]:
    return [round(v, 4) for v in values]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=100, help="for the main settings (default: %(default)s)")
    parser.add_argument("--screen", type=int, default=50, help="for the others (default: %(default)s)")
    parser.add_argument("--only", nargs="*", help="these settings alone; plain always")
    parser.add_argument("--work", type=Path, default=Path("out/guidance"))
    a = parser.parse_args()
    network, scheduler = load_demo()
    model = Model(network.to(memory_format=torch.channels_last), scheduler)  # a seventh faster on processors
    judge, real = load_extractor(), load_reference()
    drawn: dict[str, dict[str, Tensor]] = {}
    table: dict[str, Any] = {}
    for name, setting in (MAIN | SCREEN).items():
        if a.only and name not in (*a.only, "plain"):
            continue
        drawn[name] = gather(name, setting, model, judge, a.images if name in MAIN else min(a.screen, a.images), a.work)
        table[name] = row(drawn[name], drawn["plain"], real, judge.name)
        tqdm.write(f"{name:40s} {table[name]}")
    found = {"steps": STEPS, "draws": PAIR.samples, "seed": SEED, "extractor": judge.name, "settings": table}
    tqdm.write(f"Wrote {write('guidance', found)}")


if __name__ == "__main__":
    main()
