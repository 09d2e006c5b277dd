"""How well the derivative-free guidance agrees with the exact gradient: python benchmarks/quality/gradient.py

At every step of a plain sampling with the bundled model, both corrections are taken from the same draws and compared.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from uncertainty_nodes.benchmarks.shared.common import write
from uncertainty_nodes.core.options import DrawOptions, GuidanceMode, GuidanceOptions, GuidanceUnits
from uncertainty_nodes.hosts.diffusers.attach import attach
from uncertainty_nodes.hosts.diffusers.demo import CLASSES, load_demo, starting_noise


def correction(network: Any, scheduler: Any, x: Tensor, t: Tensor, labels: Tensor, mode: GuidanceMode, draws: DrawOptions) -> Tensor:
    """The unmasked gradient of sum(U) in eps, as the host would add it."""
    guide = GuidanceOptions(strength=1.0, units=GuidanceUnits.RAW, mode=mode, draws=draws)
    with attach(network, scheduler, guide=guide) as run:
        network(x, t, class_labels=labels)
    return run.correction


@torch.no_grad()
def compare(images: int, steps: int, samples: int, device: str) -> list[dict[str, float]]:
    """One row per DDIM step: cosine and ratio of norms of forward over autograd, mean and worst over the images."""
    network, scheduler = load_demo(device)
    x, labels = starting_noise(images, 0).to(device), (torch.arange(images) % CLASSES).to(device)
    scheduler.set_timesteps(steps, device=device)
    rows = []
    for i, t in enumerate(tqdm(scheduler.timesteps, desc="Steps")):
        modes = (GuidanceMode.FORWARD, GuidanceMode.AUTOGRAD)
        forward, exact = (
            correction(network, scheduler, x, t, labels, mode, DrawOptions(samples=samples, seed=i)).flatten(1) for mode in modes
        )
        cosine = torch.cosine_similarity(forward, exact, dim=1)
        eps = network(x, t, class_labels=labels).sample
        rows.append(
            {
                "timestep": int(t),
                "sigma": float((1 - scheduler.alphas_cumprod[t.cpu()]).sqrt()),
                "cosine": float(cosine.mean()),
                "cosine_worst_image": float(cosine.min()),
                "norm_ratio": float((forward.norm(dim=1) / exact.norm(dim=1)).mean()),
                "gradient_over_eps": float((exact.norm(dim=1) / eps.flatten(1).norm(dim=1)).mean()),
            }
        )
        x = scheduler.step(eps, t, x).prev_sample
    return [{name: round(value, 4) for name, value in row.items()} for row in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--samples", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    a = parser.parse_args()
    rows = compare(a.images, a.steps, a.samples, a.device)
    mean = sum(row["cosine"] for row in rows) / len(rows)
    figures = {
        "images": a.images,
        "samples": a.samples,
        "sampling": f"{a.steps} DDIM steps",
        "step_size": GuidanceOptions().step_size,
        "cosine_mean": round(mean, 4),
        "cosine_worst_step": min(row["cosine"] for row in rows),
        "steps": rows,
    }
    print(f"Cosine of forward with autograd: {mean:.3f} on average over the steps, {figures['cosine_worst_step']:.3f} at the worst.")
    print(f"Wrote {write('gradient', figures)}")


if __name__ == "__main__":
    main()
