"""How well the Bayesian family finds bad images, and by which settings: python benchmarks/quality/bayesian.py

Takes the images of direction.py (drawn when missing; 50 DDIM steps). Sweeps, for generative uncertainty, the Laplace fit's noise
variance and prior precision, members and their steps, and what the images are encoded by; beside it BayesDiff and MC dropout. Reports
the AUROC for bad images (the bundled classifier gives the asked class p < 0.5) with 95 % bootstrap intervals, NFE and processor seconds.
The sweep runs on all bad images and as many good ones as make 200: AUROC does not depend on their shares. With --confirm the settings
chosen by it then run on all images. About 25 core-minutes; stops and resumes by chunks. The package's recommended settings come from here.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from uncertainty_nodes.benchmarks.quality.direction import CHUNK, gather, with_interval
from uncertainty_nodes.benchmarks.shared.common import clock, kept, write
from uncertainty_nodes.core.demo.extractor import load_extractor
from uncertainty_nodes.core.demo.network import LAPLACE
from uncertainty_nodes.core.last_layer.generative import semantic_entropy
from uncertainty_nodes.core.last_layer.laplace import Laplace
from uncertainty_nodes.core.options import BayesDiffOptions, DrawOptions, DropoutOptions, GenerativeOptions, Pooling, StepWindow
from uncertainty_nodes.core.result import pool
from uncertainty_nodes.hosts.diffusers.demo import load_demo, sample, starting_noise
from uncertainty_nodes.hosts.diffusers.dropout import mc_dropout
from uncertainty_nodes.hosts.diffusers.last_layer.bayesdiff import bayesdiff
from uncertainty_nodes.hosts.diffusers.last_layer.generative import generative

STEPS, BATCH = 50, 50
VARIANCES = (1e-5, 1e-3, 1e-1)  # sigma^2 of the semantic likelihood; the paper's: 1e-3
MEMBERS = (1, 2, 3, 5)
WINDOWS = ((0.4, 0.6), (0.6, 0.75), (0.75, 0.9), (0.9, 1.0))
CURVE = DropoutOptions(DrawOptions(3), StepWindow(0.39, 1.0, every=4))


@dataclass(frozen=True)
class Setting:
    """Of generative uncertainty. fit: which Laplace fit, ``bundled`` or a file's name in the working folder."""

    noise_variance: float = 1.0
    prior_precision: float = 1.0
    steps: int = 10
    fit: str = "bundled"
    members: int = max(MEMBERS)

    @property
    def name(self) -> str:
        kind = "" if self.fit == "bundled" else f", {self.fit}"
        return f"noise variance {self.noise_variance:g}, prior precision {self.prior_precision:g}, {self.steps} steps{kind}"


SWEEP = [
    *(Setting(noise_variance=v) for v in (1.0, 10.0, 3.0, 30.0, 0.1)),
    Setting(steps=5),
    Setting(noise_variance=0.1, fit="kronecker"),  # of 1,000 digits, so as wide as 1 over 10,000
    Setting(prior_precision=1e6),
    Setting(steps=25),
]
CHOSEN = Setting()
PROPAGATED = ((3, 5),)  # BayesDiff's draws, and on every how many steps; the paper's 10 draws cost 90 calls


@dataclass(frozen=True)
class Lab:
    """The demo model, some images that it drew with what they were drawn from, and where what was measured is kept."""

    network: Any
    scheduler: Any
    images: Tensor
    noise: Tensor
    labels: Tensor
    work: Path

    @classmethod
    def open(cls, count: int, drawn: Path, work: Path) -> Lab:
        data = gather(count, drawn)
        noise = torch.cat([starting_noise(CHUNK, 0, first) for first in range(0, len(data["labels"]), CHUNK)])
        network, scheduler = load_demo()
        return cls(network.to(memory_format=torch.channels_last), scheduler, data["images"], noise, data["labels"], work)

    @property
    def bad(self) -> Tensor:
        asked = load_extractor()(self.images).softmax(dim=1)[torch.arange(len(self.labels)), self.labels]
        return asked < 0.5

    def part(self, count: int) -> Lab:
        """All bad images, and the first good ones, ``count`` together."""
        bad = self.bad
        pick = torch.cat([bad.nonzero()[:, 0], (~bad).nonzero()[:, 0]])[:count]
        return replace(self, images=self.images[pick], noise=self.noise[pick], labels=self.labels[pick], work=self.work / str(count))

    def each(self, name: str, options: object, measure: Callable[[Tensor, Tensor, Tensor], dict[str, Tensor]]) -> dict[str, Tensor]:
        """What ``measure`` says of images, noise and labels, chunk by chunk, with the processor seconds per image."""

        def timed(*part: Tensor) -> dict[str, Tensor]:
            start = clock()
            return measure(*part) | {"seconds": torch.full((len(part[0]),), clock() - start).double() / len(part[0])}

        chunks = list(zip(self.images.split(BATCH), self.noise.split(BATCH), self.labels.split(BATCH), strict=True))
        found = [
            kept(self.work / name / f"{i}.safetensors", options, lambda part=part: timed(*part))
            for i, part in enumerate(tqdm(chunks, desc=name))
        ]
        return {key: torch.cat([f[key] for f in found], dim=int(key == "members")) for key in found[0]}

    def laplace(self, setting: Setting) -> Laplace:
        fit = Laplace.load(LAPLACE if setting.fit == "bundled" else self.work.parent / f"{setting.fit}.safetensors")
        options = replace(fit.options, noise_variance=setting.noise_variance, prior_precision=setting.prior_precision)
        return replace(fit, options=options)

    def members(self, setting: Setting) -> dict[str, Tensor]:
        """members (M + 1, N, 1, 32, 32) half, nfe and seconds (N,)"""
        laplace, options = self.laplace(setting), GenerativeOptions(setting.members, member_steps=setting.steps)

        def measure(images: Tensor, noise: Tensor, labels: Tensor) -> dict[str, Tensor]:
            def draw(steps: int) -> Tensor:
                return images if steps == STEPS else sample(self.network, self.scheduler, noise, labels, steps)

            _, found = generative(draw, STEPS, self.network, laplace, load_extractor().features, options)
            return {"members": found.images.half(), "nfe": torch.full((len(images),), found.result.nfe)}

        return self.each(setting.name.replace(", ", "_").replace(" ", "-"), setting, measure)

    def watched(self, name: str, make: Callable[[], Any], options: object) -> dict[str, Tensor]:
        """Maps (N, 1, 32, 32) and curves (N, S) of a method that watches the sampling."""

        def measure(images: Tensor, noise: Tensor, labels: Tensor) -> dict[str, Tensor]:
            with make() as run:
                again = sample(self.network, self.scheduler, noise, labels, STEPS)
            result = run.result()
            same = (again - images).flatten(1).abs().amax(dim=1)
            return {"maps": result.maps, "curve": result.curve.T, "nfe": torch.full((len(images),), result.nfe), "moved": same}

        return self.each(name, options, measure)


def encoders() -> dict[str, Callable[[Tensor], Tensor]]:
    classifier = load_extractor()
    return {
        "bundled features": classifier.features,  # 64 numbers before the last layer
        "bundled class probabilities": lambda x: classifier(x).softmax(dim=1),  # the judge's own verdict
        "bundled convolutions": lambda x: classifier.body[:12](x).flatten(1),
        "pixels": lambda x: x.flatten(1),
    }


@torch.no_grad()
def of_setting(lab: Lab, setting: Setting) -> dict[str, Any]:
    drawn, bad, table = lab.members(setting), lab.bad, {}
    images = drawn["members"].float()
    for name, encode in encoders().items():
        features = torch.stack([encode(member) for member in images])
        for variance in VARIANCES:
            table[f"{name}, semantic variance {variance:g}"] = with_interval(semantic_entropy(features, variance).float(), bad)
        if name == "bundled features":
            fewer = {m: with_interval(semantic_entropy(features[: m + 1], 1e-3).float(), bad) for m in MEMBERS if m <= setting.members}
            table["bundled features, by members"] = fewer
    return {"auroc": table, **cost(drawn)}


def cost(measured: dict[str, Tensor]) -> dict[str, float]:
    return {"nfe": round(float(measured["nfe"].mean()), 3), "seconds_per_image": round(float(measured["seconds"].mean()), 3)}


def bayesdiff_table(lab: Lab, samples: int, every: int) -> dict[str, Any]:
    laplace, options = lab.laplace(CHOSEN), BayesDiffOptions(DrawOptions(samples), every)
    name = f"bayesdiff_{samples}_{every}"
    found = lab.watched(name, lambda: bayesdiff(lab.network, laplace, lab.scheduler, options), (options, laplace.options))
    scores = {pooling.value: with_interval(pool(found["maps"], pooling), lab.bad) for pooling in Pooling}
    return {"auroc": scores, "moved": float(found["moved"].max()), **cost(found)}


def dropout_table(lab: Lab) -> dict[str, Any]:
    """AUROC step by step; a window's cost is 3 for each of its steps."""
    found = lab.watched("dropout", lambda: mc_dropout(lab.network, lab.scheduler, CURVE), CURVE)
    percents = [round(0.4 + 0.08 * i, 2) for i in range(found["curve"].shape[1])]
    steps = {f"{p:g}": with_interval(found["curve"][:, i], lab.bad) for i, p in enumerate(percents)}
    inside = {(low, high): [i for i, p in enumerate(percents) if low <= p <= high] for low, high in WINDOWS}
    windows = {f"{low:g} to {high:g}": with_interval(found["curve"][:, i].mean(dim=1), lab.bad) for (low, high), i in inside.items() if i}
    return {"auroc_per_step": steps, "auroc_per_window": windows, **cost(found)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--sweep", type=int, default=200, help="images of the sweep")
    parser.add_argument("--settings", type=int, default=len(SWEEP), help="only the first settings of the sweep")
    parser.add_argument("--confirm", action="store_true", help="the chosen settings on all images too")
    parser.add_argument("--drawn", type=Path, default=Path("out/direction"), help="the images of direction.py")
    parser.add_argument("--work", type=Path, default=Path("out/bayesian"))
    parser.add_argument("--out", default="bayesian", help="name of the results")
    a = parser.parse_args()
    whole = Lab.open(a.images, a.drawn, a.work)
    lab = whole.part(a.sweep)
    sweep = {setting.name: of_setting(lab, setting) for setting in SWEEP[: a.settings]}
    result = {
        "images": len(lab.images),
        "bad": int(lab.bad.sum()),
        "sampling": f"{STEPS} DDIM steps",
        "generative": sweep,
        "bayesdiff": {f"{s} draws, every {k}": bayesdiff_table(lab, s, k) for s, k in PROPAGATED},
        "mc dropout": dropout_table(lab),
    }
    if a.confirm:
        result["all images"] = {"images": len(whole.images), "bad": int(whole.bad.sum()), CHOSEN.name: of_setting(whole, CHOSEN)}
    print(f"Wrote {write(a.out, result)}")


if __name__ == "__main__":
    main()
