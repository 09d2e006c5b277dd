"""Which method finds the bad images, and what is gained by leaving them out: python benchmarks/quality/filtering.py

Draws a pool of images from three seeds and scores all of them by every method of methods.py. For each method: FID, precision
and recall of the best 5/6 of each seed's images, beside 20 random subsets of the same size; AUROC for bad images (the bundled
classifier gives the asked class p < 0.5); share of bad images by score; NFE; seconds and memory, from a small pass of its own
in float32. The network runs in bfloat16 unless told otherwise, twice as fast on processors that have it; all else is float32.
Runs for hours on one core; stops and resumes by chunks, and what is not finished is left out of the table.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from uncertainty_nodes.benchmarks.shared import pipeline
from uncertainty_nodes.benchmarks.shared.common import MEASURED, kept, write
from uncertainty_nodes.benchmarks.shared.costs import costs
from uncertainty_nodes.benchmarks.shared.judging import KEPT, Judged, best_of_other_seeds, judge_filter
from uncertainty_nodes.benchmarks.shared.methods import CONTROLS, EXACT, METHODS, RECORDED, asked
from uncertainty_nodes.benchmarks.shared.pool import SEEDS, Chunk, Lab, scored
from uncertainty_nodes.core.demo.extractor import ARCHITECTURE
from uncertainty_nodes.core.files import load_tensors
from uncertainty_nodes.core.options import EnsembleOptions

COMBINED = {"rank average of the best two": 2, "rank average of the best three": 3}


def measure(lab: Lab, chunks: list[Chunk], names: list[str]) -> None:
    """Every chunk by every method, read back where it was measured before."""
    for chunk in tqdm(chunks, desc="Chunks"):
        drawn = lab.drawn(chunk)
        for name in names:
            hangs_on = asked(lab, name) | ({"options": EnsembleOptions()} if name == "DECU" else {})
            kept(lab.path(name, chunk), hangs_on, lambda n=name, c=drawn: score(lab, n, c))


def score(lab: Lab, name: str, chunk: Chunk) -> dict[str, Tensor]:
    with lab.casting(torch.float32 if name in EXACT else None):
        return scored({name: METHODS[name](lab, chunk)})


def gather(lab: Lab, chunks: list[Chunk], job: str) -> tuple[list[int], dict[str, Tensor]]:
    """What is there of a job: places in ``chunks``, and its tensors joined. Rounds that lack a seed are left out."""
    seeds = len({c.seed for c in chunks})
    there = [lab.path(job, c).exists() for c in chunks]
    rounds = [r for r in range(0, len(chunks), seeds) if all(there[r : r + seeds])]
    places = [r + i for r in rounds for i in range(seeds)]
    parts = [load_tensors(lab.path(job, chunks[p]), MEASURED)[0] for p in places]
    return places, {name: torch.cat([p[name] for p in parts]) for name in (parts[0] if parts else {})}


def table(lab: Lab, chunks: list[Chunk]) -> dict[str, Any]:
    """The rows, by method; a method is judged on the images that it was measured on."""
    jobs = {name: gather(lab, chunks, "draw" if name in RECORDED else name) for name in [*RECORDED, *METHODS]}
    jobs = {name: job for name, job in jobs.items() if job[0]}
    images = jobs["denoised"][1]["images"]
    places_of = {len(places): places for places, _ in jobs.values()}  # as many chunks are the same chunks
    pools = {count: pool_of(images, [chunks[p] for p in places], lab.size) for count, places in places_of.items()}
    priced = costs(lab, [name for name in METHODS if name in jobs])
    rows = {"plain sampling": priced.pop("plain sampling")}
    for name, (places, found) in tqdm(jobs.items(), desc="Judge"):
        cost = {"nfe": round(float(found[f"nfe {name}"].mean()), 2)} | priced[name]
        rows[name] = judge_filter(pools[len(places)], found[f"badness {name}"]) | cost
    shared = max(pools)  # a method that was measured on fewer images is no candidate
    whole = {name: found for name, (places, found) in jobs.items() if len(places) == shared and name not in CONTROLS}
    scores = {name: found[f"badness {name}"] for name, found in whole.items()}
    for name, count in COMBINED.items():
        joined, picked = best_of_other_seeds(pools[shared], scores, count)
        rows[name] = judge_filter(pools[shared], joined) | together(rows, picked)
    return rows


def together(rows: dict[str, Any], picked: dict[int, list[str]]) -> dict[str, Any]:
    """What joined methods cost: the sum of their prices, on average over seeds, and the highest peak."""
    sums = {kind: sum(rows[n][kind] for names in picked.values() for n in names) / len(picked) for kind in ("nfe", "seconds")}
    peak = max(rows[n]["peak_mb"] for names in picked.values() for n in names)
    return {kind: round(value, 4) for kind, value in sums.items()} | {"peak_mb": peak, "of": {str(s): n for s, n in picked.items()}}


def pool_of(images: Tensor, chunks: list[Chunk], size: int) -> Judged:
    seed = torch.tensor([c.seed for c in chunks]).repeat_interleave(size)
    return Judged.of(images[: len(seed)], torch.cat([c.labels for c in chunks]), seed)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1000, help="of each seed; with --model, of each prompt")
    parser.add_argument("--only", nargs="*", default=list(METHODS), choices=list(METHODS), help="measure only these; the table holds all")
    parser.add_argument("--table", action="store_true", help="measure nothing further, make the table of what is there")
    parser.add_argument("--no-table", action="store_true", help="measure only")
    parser.add_argument("--size", type=int, default=50, help="images a chunk")
    parser.add_argument("--steps", type=int, default=25, help="of sampling")
    parser.add_argument("--work", type=Path, default=Path("out/filtering"))
    parser.add_argument("--precision", choices=["bfloat16", "float32"], default="bfloat16", help="of the network (default: %(default)s)")
    other = parser.add_argument_group("another model than the bundled one; see pipeline.py")
    other.add_argument("--model", type=Path, help="a folder that save_pretrained() of a diffusers pipeline wrote")
    other.add_argument("--prompts", type=Path, help="a text file, one prompt a line")
    other.add_argument("--device", default="cpu")
    other.add_argument("--laplace", type=Path, help="a Laplace fit of it, for BayesDiff and generative uncertainty")
    other.add_argument("--encoder", type=Path, help="the folder of a CLIP image model, for generative uncertainty and FID")
    other.add_argument("--reference", type=Path, help="a folder of real images, for FID")
    a = parser.parse_args()
    if a.model is not None and a.prompts is None:
        parser.error("--model needs --prompts, a text file with one prompt a line")
    return a


def main() -> None:
    a = arguments()
    if a.model is not None:
        print(f"Wrote {pipeline.run(a)}")
        return
    lab = Lab.open(a.work, a.size, a.steps, getattr(torch, a.precision))
    chunks = list(lab.chunks(SEEDS, a.images))
    if not a.table:
        measure(lab, chunks, a.only)
    if a.no_table:
        return
    rows = table(lab, chunks)
    figures = {
        "images": rows["denoised"]["images"],
        "seeds": list(SEEDS),
        "steps": a.steps,
        "precision": a.precision,
        "kept_share": round(KEPT, 4),
    }
    figures |= {"extractor": ARCHITECTURE, "plain_sampling": rows.pop("plain sampling"), "methods": rows}
    print(f"Wrote {write('filtering', figures)}")


if __name__ == "__main__":
    main()
