"""Do the draws of Alg. 1 give calibrated error bars? python benchmarks/quality/posterior.py

Real digits are noised to each of several levels and predicted once; the squared error of the prediction is regressed on the posterior
variance C, per pixel and per image. Slope 1 and ratio 1 = C is the variance of the error, in grey levels of an image in [-1, 1].
C of few draws is noisy, and an ordinary slope leans to 0 for it: C of one half of the draws therefore stands as the instrument for that
of the other (slope = Cov(e^2, C_a) / Cov(C_b, C_a), both ways round). Draws around the prediction, as Alg. 1 makes them, are
set beside draws around the sample itself (a tenth as wide), where C is the posterior variance at x. 95 % bootstrap intervals
over images. The digits are those that the extractor did not see; the denoiser was trained on them. Stops and resumes by chunks.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from uncertainty_nodes.benchmarks.quality.pixels import chunks
from uncertainty_nodes.benchmarks.shared.common import kept, write
from uncertainty_nodes.benchmarks.shared.pool import Chunk, Lab
from uncertainty_nodes.core.denoiser import Denoiser, add_noise
from uncertainty_nodes.core.draws import noise
from uncertainty_nodes.core.metrics.scores import Undefined, bootstrap_interval
from uncertainty_nodes.core.options import DrawOptions
from uncertainty_nodes.core.pixelwise.aleatoric import redraw
from uncertainty_nodes.core.pixelwise.posterior import posterior_variance
from uncertainty_nodes.hosts.diffusers.attach import denoiser
from uncertainty_nodes.hosts.diffusers.space import Space

TIMESTEPS = (50, 100, 200, 300, 400, 500, 600)
HALF = DrawOptions(samples=4)  # of each half; a half has a seed of its own
WIDTH = 0.1  # of the draws around the sample, in sigma
SUMS = ("e", "a", "b", "ab", "ea", "eb", "cc", "ec")


@torch.no_grad()
def measure(lab: Lab, chunk: Chunk, t: int) -> dict[str, Tensor]:
    """Means over each image's pixels, (B,) float64, of what the slopes are made of: e the squared error, a and b the two halves' C."""
    space = Space.of(lab.scheduler)
    sigma = torch.full((len(chunk.images),), space.sigma_at(t))
    denoise = denoiser(lab.network, lab.scheduler, {"class_labels": chunk.labels}, len(sigma))
    x = add_noise(chunk.images, chunk.noise, sigma, space.process)
    x0 = denoise(x, sigma)
    error = (x0 - chunk.images).square().double()
    found = {}
    for name, draw in (("prediction", around_prediction), ("sample", around_sample)):
        a, b = (draw(denoise, x, x0, sigma, space, half).double() for half in (1, 2))
        found |= {f"{name} {key}": value for key, value in products(error, a, b).items()}
    return found


def around_prediction(denoise: Denoiser, x: Tensor, x0: Tensor, sigma: Tensor, space: Space, half: int) -> Tensor:
    """As Alg. 1 draws."""
    z = noise(DrawOptions(HALF.samples, seed=half), 0, x)
    return posterior_variance(z, redraw(denoise, x0, sigma, space.process, z).x0, sigma, space.process)


def around_sample(denoise: Denoiser, x: Tensor, x0: Tensor, sigma: Tensor, space: Space, half: int) -> Tensor:
    """x_i = x + w sigma z_i: Cov(z, D(x_i)) = w sigma dD/dx, so that C / w is the posterior variance at x."""
    z = noise(DrawOptions(HALF.samples, seed=half), 0, x)
    x0_i = torch.stack([denoise(x + WIDTH * sigma.view(-1, 1, 1, 1) * each, sigma) for each in z])
    return posterior_variance(z, x0_i, sigma, space.process) / WIDTH


def products(e: Tensor, a: Tensor, b: Tensor) -> dict[str, Tensor]:
    c = (a + b) / 2
    values = {"e": e, "a": a, "b": b, "ab": a * b, "ea": e * a, "eb": e * b, "cc": c * c, "ec": e * c}
    return {name: value.flatten(1).mean(dim=1) for name, value in values.items()}


def figures(parts: dict[str, Tensor]) -> dict[str, Any]:
    """From (N,) means over each image."""
    columns = [parts[name] for name in SUMS]

    def mean(values: Tensor) -> float:
        return float(values.mean())

    def slope(e: Tensor, a: Tensor, b: Tensor, ab: Tensor, ea: Tensor, eb: Tensor, *_: Tensor) -> float:
        joint = mean(ea) + mean(eb) - mean(e) * (mean(a) + mean(b))
        return quotient(joint / 2, mean(ab) - mean(a) * mean(b))

    def ordinary(e: Tensor, a: Tensor, b: Tensor, ab: Tensor, ea: Tensor, eb: Tensor, cc: Tensor, ec: Tensor) -> float:
        c = (mean(a) + mean(b)) / 2
        return quotient(mean(ec) - mean(e) * c, mean(cc) - c * c)

    def ratio(e: Tensor, a: Tensor, b: Tensor, *_: Tensor) -> float:
        return quotient(mean(e), (mean(a) + mean(b)) / 2)

    def of_images(e: Tensor, a: Tensor, b: Tensor, *_: Tensor) -> float:
        return slope(e, a, b, a * b, e * a, e * b)

    kinds = {"slope": slope, "ordinary_slope": ordinary, "ratio": ratio, "slope_of_images": of_images}
    table: dict[str, Any] = {"error": round(mean(parts["e"]), 6), "c": round(mean(parts["a"] + parts["b"]) / 2, 6)}
    for name, kind in kinds.items():
        low, high = bootstrap_interval(kind, *columns)[:2]
        table[name] = round(kind(*columns), 3)
        table[f"{name}_interval"] = [round(low, 3), round(high, 3)]
    return table


def quotient(above: float, below: float) -> float:
    """Undefined, as for a resample of one image over and over, where there is nothing to divide by."""
    if below == 0:
        raise Undefined("There is no spread to regress on.")
    return above / below


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=256, help="at most the 512 bundled ones")
    parser.add_argument("--size", type=int, default=32, help="images a chunk")
    parser.add_argument("--work", type=Path, default=Path("out/posterior"))
    a = parser.parse_args()
    lab = Lab.open(a.work, a.size)
    drawn, space, table = chunks(lab, a.images), Space.of(lab.scheduler), {}
    for t in tqdm(TIMESTEPS, desc="Levels"):
        options = lab.options | {"t": t, "samples": HALF.samples, "width": WIDTH}
        parts = [kept(lab.path(f"t_{t}", c), options, lambda c=c, t=t: measure(lab, c, t)) for c in drawn]
        joined = {name: torch.cat([p[name] for p in parts]) for name in parts[0]}
        table[str(t)] = {"sigma_over_alpha": round(space.noisiness(space.sigma_at(t)), 4)} | {
            where: figures({name: joined[f"{where} {name}"] for name in SUMS}) for where in ("prediction", "sample")
        }
    result = {"images": sum(len(c.images) for c in drawn), "draws": 2 * HALF.samples, "width": WIDTH, "levels": table}
    print(f"Wrote {write('posterior', result)}")


if __name__ == "__main__":
    main()
