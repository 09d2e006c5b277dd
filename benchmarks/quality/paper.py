"""The aleatoric paper's own protocol, at its own size where a GPU is lent: python benchmarks/quality/paper.py

De Vita & Belagiannis 2024, section 4: 50 DDIM steps, M = 5, U summed over pixels and over steps 45 to 48 of 50 (20 calls); of 60,000 images
the 50,000 of highest U are kept, and their FID is set beside that of as many at random. Here the same share of --images, in the judge's
features; precision and recall are those of 5,000 of the kept. Then real images noised to T/2 and denoised: AUSE and AURG of the map of U,
the sum over the same steps, against each pixel's error, RMSE of what is left, the area between the curve and the oracle's (AUSE) and
between chance and the curve (AURG).
--images 20000 of each of three seeds is the paper's size: 4.2 million network calls. No pictures are kept, only features and scores; stops
and resumes by chunks, and --pool gathers them in one file, from which --table makes the table elsewhere. --colour: of the colour model.
"""

from __future__ import annotations

import argparse
import math
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from uncertainty_nodes.benchmarks.quality.pixels import chunks as real_chunks
from uncertainty_nodes.benchmarks.quality.pixels import row
from uncertainty_nodes.benchmarks.shared.common import kept, provenance, write
from uncertainty_nodes.benchmarks.shared.judging import PAIRED, Judged, judge_filter
from uncertainty_nodes.benchmarks.shared.methods import dropout
from uncertainty_nodes.benchmarks.shared.pixel_methods import of_reconstruction, reconstruct
from uncertainty_nodes.benchmarks.shared.pool import CHUNK, SEEDS, Chunk, Lab
from uncertainty_nodes.benchmarks.shared.subject import COLOUR, Subject, add_subject, open_subject
from uncertainty_nodes.core.files import load_tensors, save_tensors
from uncertainty_nodes.core.options import AleatoricOptions, DrawOptions, Pooling, Quantity, StepWindow
from uncertainty_nodes.hosts.diffusers.demo import attach

STEPS = 50
WINDOW = StepWindow(0.91, 0.98)  # steps 45 to 48 of DDIM's, counted from 0
OPTIONS = AleatoricOptions(DrawOptions(samples=5), window=WINDOW, pooling=Pooling.SUM)
POOL = "pool of the paper's protocol"


def selected(lab: Lab, chunk: Chunk) -> dict[str, Tensor]:
    """Of images drawn by chance: features, p of the asked class, U and V, (B,) each, and the calls of either."""

    def draw() -> dict[str, Tensor]:
        with lab.casting(), attach(lab.network, lab.scheduler, record=OPTIONS) as run:
            images = lab.sample(chunk.noise, chunk.labels)
        u, v = run.result(Quantity.NOISE), run.result(Quantity.DENOISED)
        seen = lab.subject.judged(images, chunk.labels)
        seen["features"] = seen["features"].half()  # 60,000 images' take 8 MB
        about = {"seed": torch.full((len(images),), chunk.seed, dtype=torch.int32), "label": chunk.labels.byte()}
        return seen | about | {"u": u.scores, "v": v.scores, "nfe": torch.tensor([u.nfe], dtype=torch.float64)}

    return kept(lab.path("paper drawn", chunk), lab.options, draw)


def gather(lab: Lab, images: int, seconds: float) -> dict[str, Tensor]:
    """All chunks as one, drawn or read back; once the time is over only those that are there. Whole rounds of seeds."""
    start, parts = time.monotonic(), []
    for chunk in tqdm(lab.chunks(SEEDS, images), total=len(SEEDS) * -(-images // lab.size), desc="Images"):
        if time.monotonic() - start < seconds or lab.path("paper drawn", chunk).exists():
            parts.append(selected(lab, chunk))
    parts = parts[: len(parts) // len(SEEDS) * len(SEEDS)]
    return {name: torch.cat([p[name] for p in parts]) for name in parts[0]}


def selection(pool: dict[str, Tensor], subject: Subject) -> dict[str, Any]:
    """What keeping the 5/6 of highest U does, and for comparison of lowest V."""
    judged = Judged(pool["features"].float(), pool["asked"] < 0.5, pool["seed"].long(), pool["label"].long(), subject.reference)
    calls = {"nfe": float(pool["nfe"][0]), "precision_and_recall_of": min(PAIRED, round(len(pool["u"]) * 5 / 6))}
    return {"selection": judge_filter(judged, -pool["u"]) | calls, "by_low_v": judge_filter(judged, pool["v"]) | calls}


def maps(lab: Lab, chunk: Chunk) -> dict[str, Tensor]:
    """Of one chunk of real images: errors, and the maps of U, of V and of MC dropout, all high = bad but U."""

    def make() -> dict[str, Tensor]:
        with ExitStack() as blocks:
            run = blocks.enter_context(attach(lab.network, lab.scheduler, record=OPTIONS))
            images = reconstruct(lab, chunk)
        found = {"errors": images - chunk.images, "U": run.result(Quantity.NOISE).maps, "V": run.result(Quantity.DENOISED).maps}
        return found | {"MC dropout": of_reconstruction("d", dropout)(lab, chunk, images)["map d"]}

    return kept(lab.path("paper pixels", chunk), lab.options, make)


def pixels(lab: Lab, count: int) -> dict[str, Any]:
    parts = [maps(lab, c) for c in tqdm(real_chunks(lab, count), desc="Pixels")]
    errors = torch.cat([p["errors"] for p in parts])
    calls = {"U": 20.0, "V": 20.0, "MC dropout": 20.0}
    rows = {name: row(torch.cat([p[name] for p in parts]), errors, nfe) for name, nfe in calls.items()}
    rows["U, low = unsure"] = row(-torch.cat([p["U"] for p in parts]), errors, calls["U"])
    return {"images": len(errors), "methods": rows}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=100, help="of each of three seeds (default: %(default)s)")
    parser.add_argument("--real", type=int, default=64, help="images for the pixels; of digits at most 512 (default: %(default)s)")
    parser.add_argument("--size", type=int, default=CHUNK, help="images a chunk (default: %(default)s)")
    parser.add_argument("--pool", type=Path, help="a file for what was measured: written, or with --table read in place of the chunks")
    parser.add_argument("--table", action="store_true", help="draw nothing further, make the table of what is there")
    parser.add_argument("--seconds", type=float, default=math.inf, help="after which no further images are drawn (default: never)")
    parser.add_argument("--no-table", action="store_true", help="measure only")
    parser.add_argument("--work", type=Path, help="(default: out/paper, or out/colour/paper)")
    add_subject(parser)
    a = parser.parse_args()
    a.work = a.work or (COLOUR / "paper" if a.colour else Path("out/paper"))
    return a


def main() -> None:
    a = arguments()
    subject = open_subject(a)
    lab = Lab.open(a.work, a.size, STEPS, torch.bfloat16, subject)
    if a.table and a.pool is not None:
        pool, facts = load_tensors(a.pool, POOL)
    else:
        pool, facts = (
            gather(lab, a.images, 0 if a.table else a.seconds),
            {"pixels": pixels(lab, a.real), "drawn_on": provenance()["device"]},
        )
        if a.pool is not None:
            save_tensors(a.pool, pool, POOL, 1, facts)
    if a.no_table:
        return
    figures = {"steps": STEPS, "seeds": list(SEEDS), "extractor": subject.reference.statistics.extractor} | subject.options
    print(f"Wrote {write('paper_colour' if a.colour else 'paper', figures | selection(pool, subject) | facts)}")


if __name__ == "__main__":
    main()
