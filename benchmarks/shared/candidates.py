"""Candidates for best_of.py: each is sampled to its end once and scored on the way, so that any choice can be counted from one pool."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from uncertainty_nodes.benchmarks.shared.common import kept
from uncertainty_nodes.core.demo.extractor import DigitClassifier
from uncertainty_nodes.core.denoiser import x0_from_output
from uncertainty_nodes.core.options import DRAWN_SCORERS, DrawOptions, Scorer
from uncertainty_nodes.core.search.free import FreeScores
from uncertainty_nodes.core.search.scoring import comparison_sigma, score_candidates
from uncertainty_nodes.hosts.diffusers.attach import denoiser
from uncertainty_nodes.hosts.diffusers.demo import CLASSES, conditions, predict, starting_noise
from uncertainty_nodes.hosts.diffusers.space import Space

CANDIDATES = 8
PROMPTS = 10  # in a chunk: one of each class
SEED = 21  # of no other benchmark, and not of the images on which the level of comparison was picked
POINTS = (0.25, 0.5, 0.75)
END = 1.0
DRAWS = DrawOptions(samples=2, antithetic=True)
FREE_SCORERS = tuple(scorer for scorer in Scorer if scorer.free is not None)


@dataclass(frozen=True)
class Setting:
    """How candidates are sampled: DDIM steps, scale of classifier-free guidance."""

    steps: int
    cfg: float

    @property
    def name(self) -> str:
        return f"{self.steps} steps, CFG {self.cfg:g}"

    @property
    def calls_per_step(self) -> int:
        return 1 if self.cfg == 1 else 2


SETTINGS = tuple(Setting(steps, cfg) for steps in (20, 6) for cfg in (1.0, 1.5))


@dataclass(frozen=True)
class Lab:
    """The demo model, what judges its images, and where candidates are kept."""

    network: Any
    scheduler: Any
    judge: DigitClassifier
    precision: torch.dtype
    work: Path

    def path(self, setting: Setting, index: int) -> Path:
        return self.work / f"{setting.steps}_{setting.cfg:g}_{index}.safetensors"

    def chunk(self, setting: Setting, index: int) -> dict[str, Tensor]:
        """Of 10 prompts x 8 candidates: features (80, D), log_p (80,), and each score at each point, (80,); drawn or read back.

        A point is left out for a scorer whose steps tell nothing by then, the condition gap without guidance altogether.
        """
        path = self.path(setting, index)
        options = (setting.name, DRAWS.samples, POINTS, SEED, CANDIDATES, PROMPTS, str(self.precision), "with free scores")
        return kept(path, options, lambda: self.draw(setting, index))

    @torch.no_grad()
    def draw(self, setting: Setting, index: int) -> dict[str, Tensor]:
        count = PROMPTS * CANDIDATES
        x, labels = starting_noise(count, SEED, index * count), labels_of(count)
        x, scores = self.sample(setting, x, labels)
        log_p = self.judge(x).log_softmax(dim=1)[torch.arange(count), labels]
        return {"features": self.judge.features(x), "log_p": log_p} | scores

    def sample(self, setting: Setting, x: Tensor, labels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Finished images, and scores by ``score_name``. The scoring leaves the sampling as it is."""
        with torch.autocast(x.device.type, self.precision, enabled=self.precision != torch.float32):
            return self.scored_sample(setting, x, labels)

    def scored_sample(self, setting: Setting, x: Tensor, labels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        space, scores = Space.of(self.scheduler), {}
        free = FreeScores(FREE_SCORERS, space.process, space.percent_to_sigma)
        given, without = (denoiser(self.network, self.scheduler, cond, len(x)) for cond in conditions(labels))

        def compare(x0: Tensor, sigma: float, point: float) -> None:
            level = comparison_sigma(sigma, space.percent_to_sigma)
            found = score_candidates(given, without, x0, level, space.process, DRAWS, DRAWN_SCORERS)
            by = {**found.by, **free.scores(needed=()).by}
            scores.update({score_name(scorer, point): values for scorer, values in by.items()})

        self.scheduler.set_timesteps(setting.steps, device=x.device)
        due = [(point, space.percent_to_sigma(point) * (1 + 1e-5)) for point in POINTS]
        for t in self.scheduler.timesteps:
            sigma, outputs = space.sigma_at(t), self.predict(x, t, labels, setting.cfg)
            level = torch.full((len(x),), sigma, device=x.device)
            x0 = [x0_from_output(output, x, level, space.process, space.prediction) for output in outputs]
            none = x0[1] if len(x0) > 1 else None
            free.observe(x0[0] if none is None else none + setting.cfg * (x0[0] - none), x0[0], none, sigma)
            passed = [point for point, edge in due if sigma <= edge]
            due = due[len(passed) :]
            for point in passed:  # of points that share a step, each has the same scores
                compare(x0[0], sigma, point)
            output = outputs[0] if setting.cfg == 1 else outputs[1] + setting.cfg * (outputs[0] - outputs[1])
            x = self.scheduler.step(output, t, x).prev_sample.float()
        compare(x, 0.0, END)
        return x, scores

    def predict(self, x: Tensor, t: Tensor, labels: Tensor, cfg: float) -> tuple[Tensor, ...]:
        """The network's outputs, float32: conditional, and under guidance unconditional."""
        if cfg == 1:
            return (predict(self.network, x, t, labels, 1.0).float(),)
        both = torch.cat([conditions(labels)[1]["class_labels"], labels])
        none, conditional = self.network(torch.cat([x, x]), t, class_labels=both).sample.float().chunk(2)
        return conditional, none


def labels_of(count: int) -> Tensor:
    """Candidates of a prompt stand together: 8 of class 0, 8 of class 1, .."""
    return torch.arange(count) // CANDIDATES % CLASSES


def score_name(scorer: Scorer, point: float) -> str:
    return f"{scorer.value} at {point:g}"


def gather(chunks: int, chunk: Callable[[int], dict[str, Tensor]]) -> dict[str, Tensor]:
    """Chunks 0, 1, .. as one pool: (P, 8, ...) each, P = 10 x chunks."""
    parts = [chunk(i) for i in range(chunks)]
    return {name: torch.cat([p[name] for p in parts]).unflatten(0, (-1, CANDIDATES)) for name in parts[0]}
