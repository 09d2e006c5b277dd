"""Real searches of best_of.py that no pool can stand for: copies have a future of their own, on a sampler that adds noise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import EulerAncestralDiscreteScheduler
from torch import Tensor
from tqdm import tqdm

from uncertainty_nodes.benchmarks.shared.candidates import PROMPTS, SEED, Lab
from uncertainty_nodes.benchmarks.shared.common import kept
from uncertainty_nodes.benchmarks.shared.guidance.judging import fid
from uncertainty_nodes.core.demo.extractor import Reference
from uncertainty_nodes.core.metrics.scores import bootstrap_interval
from uncertainty_nodes.core.options import BestOfOptions, SearchMode
from uncertainty_nodes.hosts.diffusers.demo import CLASSES
from uncertainty_nodes.hosts.diffusers.search.best_of import DigitCandidates, best_of

STEPS = 20
POINTS, FRACTIONS = (0.25, 0.5), (0.5, 0.5)
NOTHING: dict[str, Any] = {"points": (), "fractions": ()}
PLANS: dict[str, dict[str, Any]] = {
    "one candidate": {"candidates": 1, **NOTHING},
    "best of 8": NOTHING,
    "pruned, 8 to 4 at 0.25, to 2 at 0.5": {"points": POINTS, "fractions": FRACTIONS},
    "resampled, 8 to 4 at 0.25, to 2 at 0.5": {"points": POINTS, "fractions": FRACTIONS, "mode": SearchMode.RESAMPLE},
    "resampled, sharpness 3": {"points": POINTS, "fractions": FRACTIONS, "mode": SearchMode.RESAMPLE, "sharpness": 3.0},
}


def chunk(lab: Lab, name: str, index: int) -> dict[str, Tensor]:
    """log_p (10,), calls (10,) and features (10, D) of prompts 10 x index to 10 x index + 9; drawn or read back."""
    return kept(path(lab.work, name, index), (name, STEPS, SEED, PROMPTS, str(lab.precision)), lambda: draw(lab, name, index))


def path(work: Path, name: str, index: int) -> Path:
    return work / f"steered_{list(PLANS).index(name)}_{index}.safetensors"


def chunks_there(work: Path) -> int:
    """How many chunks every plan has."""
    return next(i for i in range(10**6) if not all(path(work, name, i).exists() for name in PLANS))


def draw(lab: Lab, name: str, index: int) -> dict[str, Tensor]:
    scheduler = EulerAncestralDiscreteScheduler.from_config(lab.scheduler.config)
    log_p, calls, features = [], [], []
    for prompt in range(index * PROMPTS, (index + 1) * PROMPTS):
        options = BestOfOptions(**PLANS[name], seed=(SEED << 20) + prompt)
        with torch.autocast("cpu", lab.precision, enabled=lab.precision != torch.float32):
            found = best_of(DigitCandidates(lab.network, scheduler, prompt % CLASSES, STEPS), options=options)
        features.append(lab.judge.features(found.images)[0])
        log_p.append(lab.judge.head(features[-1]).log_softmax(dim=0)[prompt % CLASSES])
        calls.append(float(found.network_rows + found.scoring_rows))
    return {"log_p": torch.stack(log_p), "calls": torch.tensor(calls), "features": torch.stack(features)}


def steered(lab: Lab, chunks: int, real: Reference) -> dict[str, Any]:
    """Figures of every plan, on the same prompts and candidates. No FID where a chunk is of a version that kept no features."""
    rows: dict[str, Any] = {}
    for index in tqdm(range(chunks), desc="Steered"):
        for name in PLANS:
            chunk(lab, name, index)
    for name in PLANS if chunks else ():
        parts = [chunk(lab, name, i) for i in range(chunks)]
        log_p = torch.cat([p["log_p"] for p in parts])
        good = (log_p.exp() > 0.5).double()
        rows[name] = {
            "prompts": len(good),
            "calls": round(float(torch.cat([p["calls"] for p in parts]).mean()), 1),
            "agreement": round(float(good.mean()), 4),
            "agreement_interval": [round(v, 4) for v in bootstrap_interval(lambda g: float(g.mean()), good)[:2]],
            "log_p": round(float(log_p.mean()), 4),
            "fid": fid_of(parts, real),
        }
    return rows


def fid_of(parts: list[dict[str, Tensor]], real: Reference) -> float | None:
    if any("features" not in part for part in parts):
        return None
    return round(fid(torch.cat([part["features"] for part in parts]), real), 3)
