"""Real searches of best_of.py that no pool can stand for: copies have a future of their own, on a sampler that adds noise."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import EulerAncestralDiscreteScheduler
from torch import Tensor
from tqdm import tqdm

from uncertainty_nodes.benchmarks.shared.candidates import CANDIDATES, PROMPTS, SEED, Lab, Setting
from uncertainty_nodes.benchmarks.shared.common import kept
from uncertainty_nodes.benchmarks.shared.guidance.judging import fid, gains, shows
from uncertainty_nodes.core.demo.extractor import Reference
from uncertainty_nodes.core.metrics.scores import bootstrap_interval
from uncertainty_nodes.core.options import BestOfOptions, SearchMode
from uncertainty_nodes.hosts.diffusers.demo import CLASSES
from uncertainty_nodes.hosts.diffusers.search.best_of import DigitCandidates, best_of

POINTS, FRACTIONS = (0.25, 0.5), (0.5, 0.5)
NOTHING: dict[str, Any] = {"points": (), "fractions": ()}
ONE, PRUNED = "one candidate", "pruned, 8 to 4 at 0.25, to 2 at 0.5"
PLANS: dict[str, dict[str, Any]] = {
    ONE: {"candidates": 1, **NOTHING},
    "best of 8": NOTHING,
    PRUNED: {"points": POINTS, "fractions": FRACTIONS},
    "resampled, 8 to 4 at 0.25, to 2 at 0.5": {"points": POINTS, "fractions": FRACTIONS, "mode": SearchMode.RESAMPLE},
    "resampled, sharpness 3": {"points": POINTS, "fractions": FRACTIONS, "mode": SearchMode.RESAMPLE, "sharpness": 3.0},
}


@dataclass(frozen=True)
class Searches:
    """Every plan at one setting, in chunks of 10 prompts: one of each class."""

    lab: Lab
    setting: Setting

    def path(self, name: str, index: int) -> Path:
        return self.lab.work / f"steered_{self.setting.steps}_{self.setting.cfg:g}_{list(PLANS).index(name)}_{index}.safetensors"

    def chunk(self, name: str, index: int) -> dict[str, Tensor]:
        """log_p (10,), calls (10,) and features (10, D) of prompts 10 x index to 10 x index + 9; drawn or read back."""
        options = (name, self.setting.name, SEED, PROMPTS, str(self.lab.precision))
        return kept(self.path(name, index), options, lambda: self.draw(name, index))

    def chunks(self, name: str) -> int:
        """How many there are, without a gap."""
        return next(i for i in range(10**6) if not self.path(name, i).exists())

    def draw(self, name: str, index: int) -> dict[str, Tensor]:
        lab, scheduler = self.lab, EulerAncestralDiscreteScheduler.from_config(self.lab.scheduler.config)
        log_p, calls, features = [], [], []
        for prompt in range(index * PROMPTS, (index + 1) * PROMPTS):
            options = BestOfOptions(**PLANS[name], seed=(SEED << 20) + prompt, micro_batch=CANDIDATES)
            with torch.autocast("cpu", lab.precision, enabled=lab.precision != torch.float32):
                digit = DigitCandidates(lab.network, scheduler, prompt % CLASSES, self.setting.steps, self.setting.cfg)
                found = best_of(digit, options=options)
            features.append(lab.judge.features(found.images)[0])
            log_p.append(lab.judge.head(features[-1]).log_softmax(dim=0)[prompt % CLASSES])
            calls.append(float(found.network_rows + found.scoring_rows))
        return {"log_p": torch.stack(log_p), "calls": torch.tensor(calls), "features": torch.stack(features)}

    def table(self, real: Reference) -> dict[str, Any]:
        """Figures of every plan that was drawn, on the same prompts and candidates."""
        counts = {name: count for name in PLANS if (count := self.chunks(name))}
        drawn = {name: self.gather(name, min(counts.values())) for name in counts}
        return {name: row(found, drawn, real) for name, found in drawn.items()}

    def gather(self, name: str, chunks: int) -> dict[str, Tensor]:
        parts = [self.chunk(name, i) for i in range(chunks)]
        return {key: torch.cat([part[key] for part in parts]) for key in parts[0]}


def row(found: dict[str, Tensor], drawn: dict[str, dict[str, Tensor]], real: Reference) -> dict[str, Any]:
    good = shows(found).double()
    return {
        "prompts": len(good),
        "calls": round(float(found["calls"].mean()), 1),
        "agreement": round(float(good.mean()), 4),
        "agreement_interval": [round(v, 4) for v in bootstrap_interval(lambda g: float(g.mean()), good)[:2]],
        "log_p": round(float(found["log_p"].mean()), 4),
        "fid": round(fid(found["features"], real), 3),
        "beyond": {name: gains(found, drawn[name], real) for name in (ONE, PRUNED) if name in drawn and found is not drawn[name]},
    }


def steered(lab: Lab, settings: tuple[Setting, ...], chunks: int, real: Reference) -> dict[str, Any]:
    """Setting -> plan -> its figures; further chunks are drawn first where there are fewer."""
    searches = [Searches(lab, setting) for setting in settings]
    for index in tqdm(range(chunks), desc="Steered"):
        for search in searches:  # in turn, so that a stop leaves them alike
            for name in PLANS:
                search.chunk(name, index)
    return {search.setting.name: search.table(real) for search in searches if search.chunks(ONE)}
