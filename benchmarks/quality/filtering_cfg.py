"""Which scores find the bad images under classifier-free guidance? python benchmarks/quality/filtering_cfg.py

The images are those of free_scores.py, at the scales where this model draws best and at a strong one. What costs calls is measured on
all bad images and on some others, picked by number: an AUROC of those is that of all. Where a score redraws a prediction it is measured
of the conditional one and of the mix that the sampler follows. Two judges: the bundled classifier (p of the asked digit < 0.5), and
whether an image lies off the real digits, in the same network's features, outside of every real one's third neighbour (what *precision*
counts): at strong guidance the first finds next to nothing. 95 % bootstrap intervals, of the predictions' differences too.
Stops and resumes by chunks; --table makes the table of what is there.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from uncertainty_nodes.benchmarks.quality.direction import with_interval
from uncertainty_nodes.benchmarks.quality.free_scores import turned
from uncertainty_nodes.benchmarks.shared.common import kept, write
from uncertainty_nodes.benchmarks.shared.free_methods import DEFAULTS, Pool, gather
from uncertainty_nodes.benchmarks.shared.judging import Judged, judge_filter, off_manifold
from uncertainty_nodes.benchmarks.shared.methods import EXACT
from uncertainty_nodes.benchmarks.shared.pool import Chunk, Lab, scored
from uncertainty_nodes.benchmarks.shared.trajectories import STEPS, Drawn, drawn, rounds
from uncertainty_nodes.benchmarks.shared.under_cfg.images import CONDITIONAL, METHODS, MIX, Picked, pairs
from uncertainty_nodes.core.demo.extractor import load_extractor, load_reference
from uncertainty_nodes.core.metrics.scores import Undefined, auroc, bootstrap_interval

EVERY = {1.25: 14, 1.5: 20, 3.0: 7}  # scales, and of how many images one is picked beside the bad ones
FEWEST = 10  # bad and good images; with fewer an interval says nothing


def picked_places(sampled: Drawn, index: int) -> tuple[Tensor, Tensor]:
    """Places of the images that are measured, and which of them were picked whatever they look like, (P,) bool."""
    bad = sampled.log_p.exp() < 0.5
    every = (torch.arange(len(bad)) + index) % EVERY[sampled.scale] == 0
    places = (bad | every).nonzero().flatten()
    return places, every[places]


def path(lab: Lab, scale: float, name: str, chunk: Chunk) -> Path:
    return lab.path(f"{name.replace(' ', '_')}_{scale:g}", chunk)


def measured(lab: Lab, scale: float, name: str, chunk: Chunk) -> dict[str, Tensor]:
    """Badness and calls of one method's scores on the picked images of a chunk; made or read back."""

    def measure() -> dict[str, Tensor]:
        sampled = drawn(lab, scale, chunk)
        picked = Picked.of(lab, chunk, sampled, picked_places(sampled, chunk.index)[0])
        with torch.no_grad(), lab.casting(torch.float32 if name in EXACT else None):
            return scored(METHODS[name](picked))

    return kept(path(lab, scale, name, chunk), lab.options | {"steps": STEPS[scale], "every": EVERY[scale]}, measure)


@dataclass(frozen=True, eq=False)
class Group:
    """Images that one judge looks at: bad (P,) bool, and where they are among those that were measured and among all."""

    bad: Tensor
    among_picked: Tensor
    among_all: Tensor


def table(lab: Lab, scale: float, images: int) -> dict[str, Any]:
    chunks = [c for _, c in rounds(lab, images, [scale]) if lab.path(f"draw_{scale:g}", c).exists()]
    pool = gather(lab, scale, images, ())
    chunks = chunks[: len(pool.bad) // lab.size]  # whole rounds of seeds
    judged = Judged.of(torch.cat([drawn(lab, scale, c).images for c in chunks]), pool.label, pool.seed)
    off = off_manifold(load_reference().features, judged.features)
    free = {name: turned(pool, each) for name, each in DEFAULTS.items() if each in pool.scores}
    result: dict[str, Any] = {
        "images": len(pool.bad),
        "steps": STEPS[scale],
        "bad": int(pool.bad.sum()),
        "off_the_digits": int(off.sum()),
        "gains": {name: judge_filter(judged, badness) for name, badness in free.items()} if scale < 2 else {},
    }
    result["free_on_all"] = {title: rows(free, {}, bad) for title, bad in (("not_what_was_asked", pool.bad), ("off_the_real_digits", off))}
    scores, nfe, groups = costly(lab, scale, chunks, pool, off)
    for title, group in groups.items():
        values = {name: badness[group.among_picked] for name, badness in scores.items()}
        values |= {name: badness[group.among_all] for name, badness in free.items()}
        result[title] = rows(values, nfe, group.bad)
    return result


def costly(
    lab: Lab, scale: float, chunks: list[Chunk], pool: Pool, off: Tensor
) -> tuple[dict[str, Tensor], dict[str, float], dict[str, Group]]:
    """Scores and calls by name, and the groups of either judge, of the chunks on which all methods were measured."""
    there = [c for c in chunks if all(path(lab, scale, name, c).exists() for name in METHODS)]
    first = {(c.seed, c.index): i * lab.size for i, c in enumerate(chunks)}
    parts: list[dict[str, Tensor]] = []
    among_all, whatever = [], []
    for chunk in there:
        places, every = picked_places(drawn(lab, scale, chunk), chunk.index)
        parts.append({k: v for name in METHODS for k, v in measured(lab, scale, name, chunk).items()})
        among_all.append(places + first[chunk.seed, chunk.index])
        whatever.append(every)
    if not there:
        return {}, {}, {}
    names = [k.removeprefix("badness ") for k in parts[0] if k.startswith("badness ")]
    scores = {name: torch.cat([p[f"badness {name}"] for p in parts]) for name in names}
    nfe = {name: float(torch.cat([p[f"nfe {name}"] for p in parts]).mean()) for name in names}
    everywhere, random = torch.cat(among_all), torch.cat(whatever)
    index = torch.arange(len(everywhere))
    asked = Group(pool.bad[everywhere], index, everywhere)
    natural = Group(off[everywhere[random]], index[random], everywhere[random])
    return scores, nfe, {"not_what_was_asked": asked, "off_the_real_digits": natural}


def rows(values: dict[str, Tensor], nfe: dict[str, float], bad: Tensor) -> dict[str, Any]:
    """AUROC of each score, and what redrawing the mix adds to redrawing the conditional prediction."""
    found: dict[str, Any] = {"images": len(bad), "bad": int(bad.sum())}
    if min(found["bad"], len(bad) - found["bad"]) < FEWEST:
        return found
    found["scores"] = {name: with_interval(v, bad) | {"nfe": round(nfe.get(name, 0.0), 1)} for name, v in values.items()}
    found["mix_less_conditional"] = {
        name: difference(values[f"{name}, {MIX}"], values[f"{name}, {CONDITIONAL}"], bad) for name in pairs(values)
    }
    return found


def difference(a: Tensor, b: Tensor, bad: Tensor) -> dict[str, Any]:
    """AUROC of a less that of b, the images resampled together."""

    def less(a: Tensor, b: Tensor, bad: Tensor) -> float:
        return auroc(a, bad) - auroc(b, bad)

    try:
        interval = [round(v, 4) for v in bootstrap_interval(less, a, b, bad)[:2]]
    except Undefined:
        interval = None
    return {"difference": round(less(a, b, bad), 4), "interval": interval}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1000, help="of each seed and scale")
    parser.add_argument("--scales", type=float, nargs="*", default=list(EVERY), choices=list(EVERY))
    parser.add_argument("--table", action="store_true", help="measure nothing further, make the table of what is there")
    parser.add_argument("--work", type=Path, default=Path("out/free_scores"), help="of free_scores.py, whose samplings are used")
    a = parser.parse_args()
    lab = Lab.open(a.work, precision=torch.bfloat16)
    for scale, chunk in () if a.table else tqdm(list(rounds(lab, a.images, a.scales)), desc="Chunks"):
        drawn(lab, scale, chunk)
        for name in METHODS:
            measured(lab, scale, name, chunk)
    judge = load_extractor()
    found = {f"{scale:g}": table(lab, scale, a.images) for scale in a.scales}
    print(f"Wrote {write('filtering_cfg', {'extractor': judge.name, 'precision': 'bfloat16', 'scales': found})}")


if __name__ == "__main__":
    main()
