"""Which way the aleatoric scores point, where in sampling, and how to pool them: python benchmarks/quality/direction.py

Draws images with the bundled model, measures V (denoised) and U (noise) at every second step, and reports the AUROC of
the raw scores for bad images (the bundled classifier gives the asked class p < 0.5) per step, per pooling and for the
default window, beside a control that knows nothing of the model: the amount of ink. The package's default window and
pooling come from here. About 3 network-minutes per 100 images on one core; stops and resumes by chunks.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from uncertainty_nodes.benchmarks.shared.common import write
from uncertainty_nodes.core.demo.extractor import load_extractor
from uncertainty_nodes.core.files import load_tensors, save_tensors
from uncertainty_nodes.core.metrics.scores import auroc, bootstrap_interval
from uncertainty_nodes.core.options import AleatoricOptions, DrawOptions, StepWindow
from uncertainty_nodes.core.pixelwise.aleatoric import Recorder, Spread
from uncertainty_nodes.hosts.diffusers.demo import CLASSES, attach, load_demo, sample, starting_noise

CHUNK = 60
STEPS = 50
KIND = "direction chunk"
WATCHED = AleatoricOptions(draws=DrawOptions(samples=5), window=StepWindow(0.35, 1.0, every=2))
POOLINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda maps: maps.mean(dim=-1),
    "upper_tail": lambda maps: maps.topk(maps.shape[-1] // 20, dim=-1).values.mean(dim=-1),
    "median": lambda maps: maps.median(dim=-1).values,
    "max": lambda maps: maps.amax(dim=-1),
}


@dataclass
class MapRecorder(Recorder):
    """A Recorder that also keeps each step's maps."""

    steps: list[Spread] = field(default_factory=list)

    def add(self, spread: Spread, sigma: float, nfe: float, seconds: float) -> None:
        self.steps.append(spread)
        super().add(spread, sigma, nfe, seconds)


def draw_chunk(index: int, network: Any, scheduler: Any) -> dict[str, Tensor]:
    labels = (torch.arange(CHUNK) + index * CHUNK) % CLASSES
    with attach(network, scheduler, record=WATCHED) as run:
        recorder = run.recorder = MapRecorder(WATCHED, run.space.process)
        images = sample(network, scheduler, starting_noise(CHUNK, 0, index * CHUNK), labels, STEPS)
    maps = {name: torch.stack([getattr(s, name) for s in recorder.steps]).half() for name in ("denoised", "noise")}
    return {"images": images, "labels": labels, "sigmas": torch.tensor(recorder.sigmas), **maps}


def gather(count: int, work: Path) -> dict[str, Tensor]:
    """All chunks, drawn or read back; maps (S, N, pixels)."""
    network, scheduler = load_demo()
    chunks = []
    for index in tqdm(range(-(-count // CHUNK)), desc="Chunks"):
        path = work / f"{index}.safetensors"
        if not path.exists():
            save_tensors(path, draw_chunk(index, network, scheduler), KIND, 1, {})
        chunks.append(load_tensors(path, KIND)[0])
    joined = {name: torch.cat([c[name] for c in chunks]) for name in ("images", "labels")}
    maps = {name: torch.cat([c[name].float().flatten(2) for c in chunks], dim=1) for name in ("denoised", "noise")}
    return joined | maps | {"sigmas": chunks[0]["sigmas"]}


def with_interval(score: Tensor, bad: Tensor) -> dict[str, Any]:
    low, high = bootstrap_interval(auroc, score, bad)[:2]
    return {"auroc": round(auroc(score, bad), 4), "interval": [round(low, 4), round(high, 4)]}


def figures(data: dict[str, Tensor]) -> dict[str, Any]:
    images, labels = data["images"], data["labels"]
    asked = load_extractor()(images).softmax(dim=1)[torch.arange(len(images)), labels]
    bad = asked < 0.5
    percents = [round(0.36 + 0.04 * i, 2) for i in range(len(data["sigmas"]))]
    window = AleatoricOptions().window
    inside = [i for i, p in enumerate(percents) if window.start <= p <= window.end + 1e-6]
    result: dict[str, Any] = {
        "images": len(images),
        "bad": int(bad.sum()),
        "sampling": f"{STEPS} DDIM steps, {WATCHED.draws.samples} draws",
        "percent": percents,
        "sigma": [round(float(s), 4) for s in data["sigmas"]],
        "control_ink": with_interval(images.flatten(1).mean(dim=1), bad),
        "default_window": [window.start, window.end],
        "per_step": {},
        "window": {},
    }
    for quantity in ("denoised", "noise"):
        for name, pooling in POOLINGS.items():
            pooled = pooling(data[quantity])
            result["per_step"][f"{quantity} {name}"] = [round(auroc(row, bad), 3) for row in pooled]
            result["window"][f"{quantity} {name}"] = with_interval(pooled[inside].mean(dim=0), bad)
        standard = per_class(POOLINGS["mean"](data[quantity])[inside].mean(dim=0), labels)
        result["window"][f"{quantity} mean, standardised per class"] = with_interval(standard, bad)
        paper = [i for i, p in enumerate(percents) if 0.90 <= p <= 0.98]
        last = POOLINGS["mean"](data[quantity])[paper].mean(dim=0)
        result["window"][f"{quantity} mean, the paper's last steps"] = with_interval(last, bad)
    return result


def per_class(score: Tensor, labels: Tensor) -> Tensor:
    """(score - mean) / std within each class: what a batch of one prompt sees. 0 for an image that is alone in its class."""
    out = torch.empty_like(score)
    for label in labels.unique():
        own = labels == label
        apart = score[own] - score[own].mean()
        out[own] = apart / (apart.square().sum() / max(len(apart) - 1, 1)).sqrt().clamp_min(1e-30)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--work", type=Path, default=Path("out/direction"))
    a = parser.parse_args()
    result = figures(gather(a.images, a.work))
    for name, value in result["window"].items():
        print(f"{name:45s} {value['auroc']:.3f}  {value['interval']}")
    print(f"Wrote {write('direction', result)}")


if __name__ == "__main__":
    main()
