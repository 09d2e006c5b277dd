"""Which method finds the bad images, and what is gained by leaving them out: python benchmarks/quality/filtering.py

Draws a pool of images from three seeds and scores all of them by every method of methods.py. For each method: FID, precision
and recall of the best 5/6 of each seed's images, beside 20 random subsets of the same size; AUROC for bad images (the bundled
classifier gives the asked class p < 0.5); share of bad images by score; NFE; seconds and memory, from a small pass of its own
in float32. The network runs in bfloat16 unless told otherwise, twice as fast on processors that have it; all else is float32.
Runs for hours on one core; stops and resumes by chunks, and what is not finished is left out of the table.

--colour: of the colour model, by its own judge, with --cfg under classifier-free guidance: results/filtering_colour.json and
filtering_colour_cfg.json. No seconds and memory, but the scores that cost no call.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from uncertainty_nodes.benchmarks.shared import pipeline
from uncertainty_nodes.benchmarks.shared.common import MEASURED, kept, provenance, write
from uncertainty_nodes.benchmarks.shared.costs import costs
from uncertainty_nodes.benchmarks.shared.judging import KEPT, Judged, best_of_other_seeds, judge_filter
from uncertainty_nodes.benchmarks.shared.methods import CONTROLS, EXACT, METHODS, RECORDED, asked
from uncertainty_nodes.benchmarks.shared.pool import FREE, SEEDS, Chunk, Lab, scored
from uncertainty_nodes.benchmarks.shared.subject import COLOUR, add_subject, open_subject
from uncertainty_nodes.core.demo.extractor import Reference
from uncertainty_nodes.core.files import load_tensors, save_tensors
from uncertainty_nodes.core.options import EnsembleOptions

POOL = "pool of the filtering table"
COMBINED = {"rank average of the best two": 2, "rank average of the best three": 3}


@dataclass(frozen=True, eq=False)
class Measured:
    """A pool of N images and what every method made of it: all that the table needs, without the images.

    features (N, D), asked: the judge's p of the asked class (N,), seed, label (N,); scores, high = bad, (n,) of the first n; nfe (1,).
    """

    features: Tensor
    asked: Tensor
    seed: Tensor
    label: Tensor
    scores: dict[str, Tensor]
    nfe: dict[str, Tensor]
    drawn_on: str

    def pool(self, count: int, reference: Reference) -> Judged:
        return Judged(self.features[:count], self.asked[:count] < 0.5, self.seed[:count], self.label[:count], reference)

    def save(self, path: Path) -> None:
        tensors = {"features": self.features, "asked": self.asked, "seed": self.seed, "label": self.label}
        named = {f"{kind} {name}": v for kind, of in (("score", self.scores), ("nfe", self.nfe)) for name, v in of.items()}
        save_tensors(path, tensors | named, POOL, 1, {"names": list(self.scores), "drawn_on": self.drawn_on})

    @classmethod
    def load(cls, path: Path) -> Measured:
        tensors, metadata = load_tensors(path, POOL)
        parts = [{name: tensors[f"{kind} {name}"] for name in metadata["names"]} for kind in ("score", "nfe")]
        return cls(*(tensors[name] for name in ("features", "asked", "seed", "label")), *parts, metadata["drawn_on"])


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


def together_on(lab: Lab, chunks: list[Chunk]) -> Measured:
    """What is there of every method, on one pool; a method that was measured on fewer chunks, on the first of them."""
    drawn = gather(lab, chunks, "draw")[1]
    names = [*RECORDED, *FREE, *METHODS]
    count = len(drawn["images"]) // lab.size
    labels, seed = torch.cat([c.labels.cpu() for c in chunks[:count]]), torch.tensor([c.seed for c in chunks[:count]])
    found = {key: values for job in (drawn, *(gather(lab, chunks, name)[1] for name in METHODS)) for key, values in job.items()}
    names = [name for name in names if f"badness {name}" in found]
    scores = {name: found[f"badness {name}"] for name in names}
    nfe = {name: found[f"nfe {name}"].mean(dim=0, keepdim=True) for name in names}
    judged = lab.subject.judged(drawn["images"], labels)
    return Measured(**judged, seed=seed.repeat_interleave(lab.size), label=labels, scores=scores, nfe=nfe, drawn_on=provenance()["device"])


def table(found: Measured, reference: Reference, priced: dict[str, dict[str, float]]) -> dict[str, Any]:
    """The rows, by method; a method is judged on the images that it was measured on. priced: what it costs, where that was measured."""
    pools = {len(v): found.pool(len(v), reference) for v in found.scores.values()}
    rows: dict[str, Any] = {}
    for name, badness in tqdm(found.scores.items(), desc="Judge"):
        cost = {"nfe": round(float(found.nfe[name]), 2)} | priced.get(name, {})
        rows[name] = judge_filter(pools[len(badness)], badness) | cost
    shared = max(pools)  # a method that was measured on fewer images is no candidate
    scores = {name: v for name, v in found.scores.items() if len(v) == shared and name not in CONTROLS}
    for name, count in COMBINED.items():
        joined, picked = best_of_other_seeds(pools[shared], scores, count)
        rows[name] = judge_filter(pools[shared], joined) | together(rows, picked)
    return rows


def together(rows: dict[str, Any], picked: dict[int, list[str]]) -> dict[str, Any]:
    """What joined methods cost: the sum of their prices, on average over seeds, and the highest peak, where those were measured."""
    kinds = [kind for kind in ("nfe", "seconds") if all(kind in rows[n] for names in picked.values() for n in names)]
    sums = {kind: sum(rows[n][kind] for names in picked.values() for n in names) / len(picked) for kind in kinds}
    peaks = [rows[n]["peak_mb"] for names in picked.values() for n in names if "peak_mb" in rows[n]]
    return {kind: round(value, 4) for kind, value in sums.items()} | {
        "peak_mb": max(peaks, default=None),
        "of": {str(s): n for s, n in picked.items()},
    }


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1000, help="of each seed; with --prompts, of each prompt")
    parser.add_argument("--only", nargs="*", default=list(METHODS), choices=list(METHODS), help="measure only these; the table holds all")
    parser.add_argument("--table", action="store_true", help="measure nothing further, make the table of what is there")
    parser.add_argument("--no-table", action="store_true", help="measure only")
    parser.add_argument("--pool", type=Path, help="a file for what the table needs: written, or with --table read in place of the chunks")
    parser.add_argument("--size", type=int, default=50, help="images a chunk")
    parser.add_argument("--steps", type=int, default=25, help="of sampling")
    parser.add_argument("--cfg", type=float, default=1.0, help="scale of classifier-free guidance, for --colour (default: %(default)s)")
    parser.add_argument("--work", type=Path, help="(default: out/filtering, or out/colour/filtering_SCALE)")
    parser.add_argument("--precision", choices=["bfloat16", "float32"], default="bfloat16", help="of the network (default: %(default)s)")
    add_subject(parser)
    other = parser.add_argument_group("another model than these, see pipeline.py: with --model, a folder that save_pretrained() wrote")
    other.add_argument("--prompts", type=Path, help="a text file, one prompt a line")
    other.add_argument("--encoder", type=Path, help="the folder of a CLIP image model, for generative uncertainty and FID")
    other.add_argument("--reference", type=Path, help="a folder of real images, for FID")
    a = parser.parse_args()
    if a.model is not None and not a.colour and a.prompts is None:
        parser.error("--model needs --prompts, a text file with one prompt a line, or --colour")
    if a.cfg != 1 and not a.colour:
        parser.error("--cfg is for --colour; of the bundled digits, run filtering_cfg.py")
    a.work = a.work or (COLOUR / f"filtering_{a.cfg:g}" if a.colour else Path("out/filtering"))
    return a


def main() -> None:
    a = arguments()
    if a.prompts is not None:
        print(f"Wrote {pipeline.run(a)}")
        return
    subject = open_subject(a)
    lab = Lab.open(a.work, a.size, a.steps, getattr(torch, a.precision), subject, a.cfg)
    chunks = list(lab.chunks(SEEDS, a.images))
    if not a.table:
        measure(lab, chunks, a.only)
    read_pool = a.table and a.pool is not None
    if a.no_table and a.pool is None:
        return
    found = Measured.load(a.pool) if read_pool else together_on(lab, chunks)
    if a.pool is not None and not read_pool:
        found.save(a.pool)
    if a.no_table:
        return
    priced = {} if subject.is_colour else costs(lab, [name for name in METHODS if name in found.scores])
    plain = priced.pop("plain sampling", None)
    rows = table(found, subject.reference, priced)
    figures = {"images": len(found.asked), "seeds": list(SEEDS), "steps": a.steps, "precision": a.precision, "kept_share": round(KEPT, 4)}
    figures |= {"extractor": subject.reference.statistics.extractor} | (
        {"plain_sampling": plain} if plain else {"cfg": a.cfg, "drawn_on": found.drawn_on}
    )
    name = ("filtering_colour" if subject.is_colour else "filtering") + ("_cfg" if a.cfg != 1 else "")
    print(f"Wrote {write(name, figures | subject.options | {'methods': rows})}")


if __name__ == "__main__":
    main()
