"""Until good beside plain sampling at equal calls: python benchmarks/cost/until_good.py

What best_of.py has counted of until good, 1,000 runs at each limit, beside one plain image for as many calls: with the same number of
network passes spent on further steps. Agreement by the bundled classifier, as there. Kept by settings under out/until_good, so that a
stopped run goes on where it was.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from uncertainty_nodes.benchmarks.shared.common import kept, read, write
from uncertainty_nodes.core.demo.extractor import DigitClassifier, load_extractor
from uncertainty_nodes.core.metrics.scores import bootstrap_interval
from uncertainty_nodes.hosts.diffusers.demo import CLASSES, load_demo, sample, starting_noise

SEED, BATCH = 23, 50  # of no other benchmark


@torch.no_grad()
def plain(network: Any, scheduler: Any, judge: DigitClassifier, steps: int, cfg: float, images: int) -> Tensor:
    """(N,) 1 where a plain image of so many steps shows the digit that was asked for."""
    shown = []
    for start in range(0, images, BATCH):
        count = min(BATCH, images - start)
        labels = torch.arange(start, start + count) % CLASSES
        drawn = sample(network, scheduler, starting_noise(count, SEED, start), labels, steps, cfg)
        shown.append(judge(drawn).log_softmax(dim=1)[torch.arange(count), labels].exp() > 0.5)
    return torch.cat(shown).float()


def row(until: dict[str, Any], shown: Tensor, steps: int) -> dict[str, Any]:
    interval = bootstrap_interval(lambda s: float(s.mean()), shown.double())[:2]
    names = ("runs", "acceptance_rate", "attempts", "calls", "agreement", "agreement_interval")
    control = {"plain_steps": steps, "plain_agreement": round(float(shown.mean()), 4), "plain_interval": [round(v, 4) for v in interval]}
    return {name: until[name] for name in names} | control


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=200, help="of each control (default: %(default)s)")
    parser.add_argument("--settings", nargs="*", help='of best_of.py, such as "20 steps, CFG 1" (default: all)')
    parser.add_argument("--work", type=Path, default=Path("out/until_good"))
    a = parser.parse_args()
    (network, scheduler), judge = load_demo(), load_extractor()
    network = network.to(memory_format=torch.channels_last)
    found: dict[str, Any] = {}
    settings = {name: each["until good"] for name, each in read("best_of")["settings"].items() if name in (a.settings or [name])}
    for name, limits in tqdm(settings.items(), desc="Settings"):
        cfg = float(name.split("CFG ")[1])
        found[name] = {}
        for limit, until in limits.items():
            steps = round(until["calls"] / (1 if cfg == 1 else 2))

            def draw(steps: int = steps, cfg: float = cfg) -> dict[str, Tensor]:
                return {"shown": plain(network, scheduler, judge, steps, cfg, a.images)}

            shown = kept(a.work / f"{steps}_{cfg:g}.safetensors", (steps, cfg, SEED, a.images), draw)["shown"]
            found[name][limit] = row(until, shown, steps)
    print(f"Wrote {write('until_good', {'images': a.images, 'seed': SEED, 'settings': found})}")


if __name__ == "__main__":
    main()
