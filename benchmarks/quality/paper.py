"""The aleatoric paper's own protocol, as far as one core carries it: python benchmarks/quality/paper.py

De Vita & Belagiannis 2024, section 4: 50 DDIM steps, M = 5, U summed over pixels and over steps 45 to 48 of 50 (20 calls); of 60,000 images
the 50,000 of highest U are kept, and their FID is set beside that of as many at random. Here the same share of --images, in the bundled
classifier's features. Then test images noised to T/2 and denoised: AUSE and AURG of the map of U, the sum over the same steps, against
each pixel's error, RMSE of what is left, the area between the curve and the oracle's (AUSE) and between chance and the curve (AURG).
Stops and resumes by chunks.
"""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from uncertainty_nodes.benchmarks.quality.pixels import chunks as digits_of
from uncertainty_nodes.benchmarks.quality.pixels import row
from uncertainty_nodes.benchmarks.shared.common import kept, write
from uncertainty_nodes.benchmarks.shared.judging import Judged, judge_filter
from uncertainty_nodes.benchmarks.shared.methods import dropout
from uncertainty_nodes.benchmarks.shared.pixel_methods import of_reconstruction, reconstruct
from uncertainty_nodes.benchmarks.shared.pool import SEEDS, Chunk, Lab
from uncertainty_nodes.core.options import AleatoricOptions, DrawOptions, Pooling, Quantity, StepWindow
from uncertainty_nodes.hosts.diffusers.demo import attach, sample

STEPS = 50
WINDOW = StepWindow(0.91, 0.98)  # steps 45 to 48 of DDIM's, counted from 0
OPTIONS = AleatoricOptions(DrawOptions(samples=5), window=WINDOW, pooling=Pooling.SUM)


def selected(lab: Lab, chunk: Chunk) -> dict[str, Tensor]:
    """Images, their U and its calls."""

    def draw() -> dict[str, Tensor]:
        with lab.casting(), attach(lab.network, lab.scheduler, record=OPTIONS) as run:
            images = sample(lab.network, lab.scheduler, chunk.noise, chunk.labels, STEPS)
        result = run.result(Quantity.NOISE)
        return {"images": images, "u": result.scores, "nfe": torch.tensor([result.nfe], dtype=torch.float64)}

    return kept(lab.path("paper", chunk), lab.options, draw)


def selection(lab: Lab, images: int) -> dict[str, Any]:
    chunks = [c for c in lab.chunks(SEEDS, images) if lab.path("paper", c).exists()]
    whole = [c for c in chunks if all(lab.path("paper", Chunk.blank(s, c.index, lab.size)).exists() for s in SEEDS)]
    parts = [selected(lab, c) for c in whole]
    seed = torch.tensor([c.seed for c in whole]).repeat_interleave(lab.size)
    pool = Judged.of(torch.cat([p["images"] for p in parts]), torch.cat([c.labels for c in whole]), seed)
    return judge_filter(pool, -torch.cat([p["u"] for p in parts])) | {"nfe": float(parts[0]["nfe"])}


def maps(lab: Lab, chunk: Chunk) -> dict[str, Tensor]:
    """Of one chunk of real digits: errors, and the maps of U, of V and of MC dropout, all high = bad but U."""

    def make() -> dict[str, Tensor]:
        with ExitStack() as blocks:
            run = blocks.enter_context(attach(lab.network, lab.scheduler, record=OPTIONS))
            images = reconstruct(lab, chunk)
        found = {"errors": images - chunk.images, "U": run.result(Quantity.NOISE).maps, "V": run.result(Quantity.DENOISED).maps}
        return found | {"MC dropout": of_reconstruction("d", dropout)(lab, chunk, images)["map d"]}

    return kept(lab.path("paper pixels", chunk), lab.options, make)


def pixels(lab: Lab, count: int) -> dict[str, Any]:
    parts = [maps(lab, c) for c in tqdm(digits_of(lab, count), desc="Pixels")]
    errors = torch.cat([p["errors"] for p in parts])
    calls = {"U": 20.0, "V": 20.0, "MC dropout": 20.0}
    rows = {name: row(torch.cat([p[name] for p in parts]), errors, nfe) for name, nfe in calls.items()}
    rows["U, low = unsure"] = row(-torch.cat([p["U"] for p in parts]), errors, calls["U"])
    return {"images": len(errors), "methods": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=100, help="of each of three seeds (default: %(default)s)")
    parser.add_argument("--digits", type=int, default=64, help="for the pixels, at most the 512 bundled ones (default: %(default)s)")
    parser.add_argument("--table", action="store_true", help="draw nothing further, make the table of what is there")
    parser.add_argument("--work", type=Path, default=Path("out/paper"))
    a = parser.parse_args()
    lab = Lab.open(a.work, steps=STEPS, precision=torch.bfloat16)
    for chunk in () if a.table else tqdm(list(lab.chunks(SEEDS, a.images)), desc="Images"):
        selected(lab, chunk)
    figures = {"steps": STEPS, "seeds": list(SEEDS), "selection": selection(lab, a.images), "pixels": pixels(lab, a.digits)}
    print(f"Wrote {write('paper', figures)}")


if __name__ == "__main__":
    main()
