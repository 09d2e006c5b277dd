"""Does the promise of the rule at_most_bad hold? python benchmarks/quality/risk.py

From n labelled images a limit is read off, 1,000 times with new images; the promise is kept where no limit was found, or where of all
images that pass it at most the share alpha is bad. It should be kept in 95 % of the times, less two standard errors. The images: scores
drawn from two normal distributions, and the bundled model's own, by prompt information, as far as free_scores.py has measured them
(drawn with replacement, so its whole pool is the truth); with --pools the colour model's too. No network runs.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from uncertainty_nodes.benchmarks.quality.filtering import Measured
from uncertainty_nodes.benchmarks.shared.common import MEASURED, write
from uncertainty_nodes.core.files import load_tensors
from uncertainty_nodes.core.selection.risk import risk_limit

ALPHAS, LABELS, CONFIDENCE = (0.02, 0.05, 0.1), (50, 200, 1000), 0.95
POPULATION = 200_000
SEED = 51
Images = tuple[np.ndarray, np.ndarray]  # badness, best first, and which of them are bad


def simulated(share: float, apart: float) -> Images:
    """Good images score N(0, 1), bad ones N(apart, 1)."""
    rng = np.random.default_rng(SEED)
    bad = rng.random(POPULATION) < share
    return ordered(rng.normal(size=POPULATION) + apart * bad, bad)


def real(work: Path, scale: float) -> Images | None:
    """Prompt information of the bundled model's images at one scale of classifier-free guidance, and the judge's verdicts."""
    scores, bad = [], []
    for path in sorted((work / f"priced_{scale:g}").glob("*.safetensors")):
        scores.append(-load_tensors(path, MEASURED)[0]["information"].double())
        bad.append(load_tensors(work / f"draw_{scale:g}" / path.name, MEASURED)[0]["log_p"].exp() < 0.5)
    return ordered(torch.cat(scores).numpy(), torch.cat(bad).numpy()) if scores else None


def of_photos(pool: Path) -> Images:
    """Prompt information of the colour model's images, from a pool that filtering.py --colour has written."""
    found = Measured.load(pool)
    badness = found.scores["prompt information"]
    return ordered(badness.double().numpy(), (found.asked[: len(badness)] < 0.5).numpy())


def ordered(badness: np.ndarray, bad: np.ndarray) -> Images:
    order = badness.argsort(kind="stable")
    return badness[order], bad[order]


def cell(images: Images, alpha: float, labels: int, splits: int) -> dict[str, Any]:
    """How often the promise is kept, how often there is a limit, and what share of all images passes it then."""
    badness, bad = images
    share_bad = bad.cumsum() / np.arange(1, len(bad) + 1)
    rng, kept, passing = np.random.default_rng(SEED), 0, []
    for _ in range(splits):
        index = rng.integers(len(badness), size=labels)
        limit = risk_limit(torch.tensor(badness[index]), torch.tensor(bad[index]), alpha, CONFIDENCE).limit
        if limit is None:
            kept += 1
            continue
        count = int(np.searchsorted(badness, limit, side="right"))
        kept += bool(share_bad[count - 1] <= alpha)
        passing.append(count / len(badness))
    error = math.sqrt(CONFIDENCE * (1 - CONFIDENCE) / splits)
    return {
        "alpha": alpha,
        "labels": labels,
        "kept": round(kept / splits, 4),
        "as_promised": kept / splits >= CONFIDENCE - 2 * error,
        "with_limit": round(len(passing) / splits, 4),
        "passing": round(float(np.mean(passing)), 4) if passing else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--splits", type=int, default=1000)
    parser.add_argument("--work", type=Path, default=Path("out/free_scores"), help="where free_scores.py keeps what it measured")
    parser.add_argument(
        "--pools", nargs="*", default=[], metavar="CFG=FILE", help="of filtering.py --colour --pool FILE; one that is not there is left out"
    )
    a = parser.parse_args()
    populations = {
        "simulated, 10 % bad, AUROC 0.89": simulated(0.1, 1.72),
        "simulated, 3 % bad, AUROC 0.89": simulated(0.03, 1.72),
        "simulated, 10 % bad, a score that knows nothing": simulated(0.1, 0.0),
    }
    populations |= {f"bundled model, CFG {scale:g}": found for scale in (1.0, 1.5) if (found := real(a.work, scale)) is not None}
    pools = dict(pool.split("=", 1) for pool in a.pools)
    populations |= {f"colour model, CFG {scale}": of_photos(Path(path)) for scale, path in pools.items() if Path(path).exists()}
    rows = {}
    for name, images in populations.items():
        cells = [cell(images, alpha, labels, a.splits) for alpha in ALPHAS for labels in tqdm(LABELS, desc=f"{name}, alpha {alpha:g}")]
        rows[name] = {"images": len(images[0]), "share_bad": round(float(images[1].mean()), 4), "cells": cells}
    print(f"Wrote {write('risk', {'confidence': CONFIDENCE, 'splits': a.splits, 'populations': rows})}")


if __name__ == "__main__":
    main()
