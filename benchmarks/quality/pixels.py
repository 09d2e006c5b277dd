"""Does a map point at the wrong pixels? python benchmarks/quality/pixels.py

The papers' reconstruction protocol: real digits are noised to the middle of the schedule and sampled from there; every
method's map, summed over the steps that it watches, is set beside the error of each pixel. AUSE (area between the map's
sparsification curve and the oracle's: lower is better) and AURG (between random's and the map's: higher is better), in grey
levels of an image in [-1, 1], means over images with 95 % bootstrap intervals. The digits are those that the extractor did
not see; the denoiser has seen the whole MNIST training split, so to it they are not new. Stops and resumes by chunks.

--cfg: without guidance and at this scale of classifier-free guidance instead, maps of the conditional prediction and of the mix that the
sampler follows, and those that cost no call (results/pixels_cfg.json). --colour: of the colour model, on photos that neither it nor its
judge saw, every value of the three channels a pixel (results/pixels_colour.json, pixels_colour_cfg.json).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from uncertainty_nodes.benchmarks.shared.common import kept, write
from uncertainty_nodes.benchmarks.shared.methods import asked
from uncertainty_nodes.benchmarks.shared.pixel_methods import MAPS, RECONSTRUCTION, controls, recorded
from uncertainty_nodes.benchmarks.shared.pool import Chunk, Lab
from uncertainty_nodes.benchmarks.shared.subject import COLOUR, add_subject, open_subject
from uncertainty_nodes.benchmarks.shared.under_cfg.pixels import FREE
from uncertainty_nodes.benchmarks.shared.under_cfg.pixels import maps as maps_at
from uncertainty_nodes.core.metrics.scores import bootstrap_interval, sparsification
from uncertainty_nodes.core.options import Quantity

SEED = 21


def chunks(lab: Lab, count: int) -> list[Chunk]:
    """Real images, each with a noise of its own."""
    images, labels = lab.subject.real(count)
    parts = []
    for index, start in enumerate(range(0, len(images), lab.size)):
        part = slice(start, start + lab.size)
        noise = torch.randn(images[part].shape, generator=torch.Generator().manual_seed(SEED + index))
        parts.append(Chunk(SEED, index, *(t.to(lab.device) for t in (noise, labels[part], images[part]))))
    return parts


def measure(lab: Lab, chunk: Chunk, names: list[str]) -> dict[str, Tensor]:
    """Maps that high means bad, the reconstruction and NFE of each method on a chunk; read back where they were made before."""
    found = kept(lab.path("pixels", chunk), lab.options, lambda: recorded(lab, chunk))
    images = found[RECONSTRUCTION].to(lab.device)
    for name in names:
        found |= kept(lab.path(f"pixels {name}", chunk), asked(lab, name), lambda n=name: MAPS[n](lab, chunk, images))
    return found


def rows(parts: list[dict[str, Tensor]], real: Tensor) -> dict[str, Any]:
    """The table: every map, both ways up for the aleatoric ones, beside controls. A map is judged on the images that it was made of."""
    images = torch.cat([p[RECONSTRUCTION] for p in parts])
    errors = images - real
    table = {}
    for name in sorted(parts[0]):  # whether made or read back
        kind, _, method = name.partition(" ")
        if kind != "map":
            continue
        maps = torch.cat([p[name] for p in parts if name in p])
        nfe = float(parts[0][f"nfe {method}"].mean())
        table[method] = row(maps, errors[: len(maps)], nfe)
        if method.split(",")[0] in {*Quantity, *FREE}:
            table[f"{method}, the other way up"] = row(-maps, errors[: len(maps)], nfe)
    for name, maps in controls(images, errors).items():
        table[name] = row(maps, errors, 0.0)
    return {"rmse": round(float(errors.square().flatten(1).mean(dim=1).sqrt().mean()), 5), "methods": table}


def under_cfg(lab: Lab, drawn: list[Chunk], scale: float) -> dict[str, Any]:
    """Both tables, and the scales that they are of."""
    tables = {}
    for each in (1.0, scale):
        parts = [
            kept(lab.path(f"pixels_cfg_{each:g}", c), lab.options, lambda c=c, s=each: maps_at(lab, c, s))
            for c in tqdm(drawn, desc=f"CFG {each:g}")
        ]
        tables[f"{each:g}"] = rows(parts, torch.cat([c.images.cpu() for c in drawn]))
    return {"scales": tables}


def row(maps: Tensor, errors: Tensor, nfe: float) -> dict[str, Any]:
    curves = sparsification(maps, errors)
    figures: dict[str, Any] = {"images": len(maps), "nfe": round(nfe, 2)}
    for name, values in (("ause", curves.ause), ("aurg", curves.aurg)):
        low, high = bootstrap_interval(lambda v: float(v.mean()), values)
        figures |= {name: round(float(values.mean()), 5), f"{name}_interval": [round(low, 5), round(high, 5)]}
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=128, help="of digits at most the 512 bundled ones")
    parser.add_argument("--only", nargs="*", default=list(MAPS), choices=list(MAPS), help="make only these maps beside the aleatoric ones")
    parser.add_argument("--size", type=int, default=32, help="images a chunk")
    parser.add_argument("--steps", type=int, default=25, help="of sampling, of which the second half is run")
    parser.add_argument("--cfg", type=float, help="the maps under classifier-free guidance of this scale instead")
    parser.add_argument("--work", type=Path, help="(default: out/pixels, or out/colour/pixels)")
    add_subject(parser)
    a = parser.parse_args()
    subject = open_subject(a)
    lab = Lab.open(a.work or (COLOUR / "pixels" if a.colour else Path("out/pixels")), a.size, a.steps, subject=subject)
    drawn, name = chunks(lab, a.images), "pixels_colour" if a.colour else "pixels"
    about = {"images": sum(len(c.images) for c in drawn), "steps": a.steps} | subject.options
    if a.cfg is not None:
        print(f"Wrote {write(f'{name}_cfg', about | under_cfg(lab, drawn, a.cfg))}")
        return
    parts = [measure(lab, chunk, a.only) for chunk in tqdm(drawn, desc="Chunks")]
    table = rows(parts, torch.cat([c.images.cpu() for c in drawn]))
    for method, figures in table["methods"].items():
        print(f"{method:40s} AUSE {figures['ause']:.5f}  AURG {figures['aurg']:+.5f}")
    print(f"Wrote {write(name, about | table)}")


if __name__ == "__main__":
    main()
