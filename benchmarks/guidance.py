"""What guidance does to the bundled model's samples, beside controls: python benchmarks/guidance.py

The same noises and classes at every setting. Agreement: share of images whose asked digit the bundled classifier gives
p > 0.5; log p: mean log probability of the asked digit; fid: Frechet distance to held-out digits in the classifier's
features, comparable within this table only. Controls: a random direction of the same norm, and eps scaled by a constant,
which costs nothing. Settings already in the results are not run again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from common import RESULTS, write
from torch import Tensor, nn
from tqdm import tqdm

from uncertainty_nodes.core.extractor import load_extractor, load_reference
from uncertainty_nodes.core.features import FeatureStatistics, frechet_distance
from uncertainty_nodes.core.guidance import scale, without_mean
from uncertainty_nodes.core.options import DrawOptions, GuidanceMode, GuidanceOptions
from uncertainty_nodes.hosts.demo import CLASSES, attach, load_demo, sample, starting_noise

STEPS = 25
BATCH = 50
DRAWS = DrawOptions(samples=3)


def guided(**options: Any) -> GuidanceOptions:
    return GuidanceOptions(draws=DRAWS, **options)


SETTINGS: dict[str, Any] = {
    "plain": None,
    "forward 0.1": guided(strength=0.1),
    "forward 0.2": guided(strength=0.2),
    "forward 0.1, mean not kept": guided(strength=0.1, keep_mean=False),
    "posterior 0.1": guided(strength=0.1, mode=GuidanceMode.POSTERIOR),
    "control: random direction 0.1": 0.1,
    "control: eps scaled by 1.02": 1.02,
    "autograd 0.1": guided(strength=0.1, mode=GuidanceMode.AUTOGRAD),
    "forward 0.05": guided(strength=0.05),
    "forward -0.1": guided(strength=-0.1),
    "forward 0.1, orthogonal": guided(strength=0.1, orthogonal=True),
    "forward 0.1, top 5 % of pixels": guided(strength=0.1, percentile=95.0),
    "posterior 0.05": guided(strength=0.05, mode=GuidanceMode.POSTERIOR),
    "posterior 0.2": guided(strength=0.2, mode=GuidanceMode.POSTERIOR),
    "forward 0.4": guided(strength=0.4),
}


@contextmanager
def control(network: nn.Module, amount: float) -> Iterator[None]:
    """Below 1: a random direction of that relative norm, fresh at each step. Else: eps times that constant."""
    generator = torch.Generator().manual_seed(0)

    def hook(module: nn.Module, args: Any, output: Any) -> Any:
        eps = output.sample
        if amount >= 1:
            return type(output)(sample=eps * amount)
        direction = without_mean(torch.randn(eps.shape, generator=generator))
        return type(output)(sample=eps + scale(direction, eps, GuidanceOptions(strength=amount)))

    handle = network.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def draw(setting: Any, network: Any, scheduler: Any, noise: Tensor, labels: Tensor) -> tuple[Tensor, float]:
    """The images, and the network calls per image that the setting added."""
    images, nfe = [], 0.0
    for part in range(0, len(noise), BATCH):
        given = noise[part : part + BATCH], labels[part : part + BATCH]
        if isinstance(setting, GuidanceOptions):
            with attach(network, scheduler, guide=setting) as run:
                images.append(sample(network, scheduler, *given, STEPS))
            nfe = run.guidance_nfe
        elif setting is None:
            images.append(sample(network, scheduler, *given, STEPS))
        else:
            with control(network, setting):
                images.append(sample(network, scheduler, *given, STEPS))
    return torch.cat(images), nfe


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=100)
    a = parser.parse_args()
    network, scheduler = load_demo()
    judge, real = load_extractor(), load_reference().statistics
    noise, labels = starting_noise(a.images, 1), torch.arange(a.images) % CLASSES
    path = RESULTS / "guidance.json"
    earlier = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    table = earlier["settings"] if earlier.get("images") == a.images else {}
    for name, setting in tqdm(SETTINGS.items()):
        if name in table:
            continue
        images, nfe = draw(setting, network, scheduler, noise, labels)
        log_p = judge(images).log_softmax(dim=1)[torch.arange(a.images), labels]
        fid = frechet_distance(real, FeatureStatistics.of(judge.features(images), judge.name))
        table[name] = {
            "agreement": round(float((log_p.exp() > 0.5).float().mean()), 4),
            "log_p": round(float(log_p.mean()), 4),
            "fid": round(fid, 3),
            "nfe_added": nfe,
        }
        tqdm.write(f"{name:35s} {table[name]}")
        write("guidance", {"images": a.images, "steps": STEPS, "draws": DRAWS.samples, "settings": table})


if __name__ == "__main__":
    main()
