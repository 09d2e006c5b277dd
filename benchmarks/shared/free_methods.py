"""The free scores of kept samplings, as the package records them, and what of them is there early in a run."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from uncertainty_nodes.benchmarks.shared.pool import Lab
from uncertainty_nodes.benchmarks.shared.trajectories import STEPS, Drawn, drawn, picked, priced, rounds, step_at
from uncertainty_nodes.core.options import FreeOptions, FreeScore, GapWeight, StepWindow
from uncertainty_nodes.core.pixelwise.free import FreeRecorder
from uncertainty_nodes.core.schedule import SigmaWindow
from uncertainty_nodes.hosts.diffusers.space import Space

T, G = FreeScore.TRAJECTORY, FreeScore.CONDITION_GAP
WINDOWS = {
    "0 to 1": StepWindow(),
    "0 to 0.35": StepWindow(0, 0.35),
    "0.2 to 0.35": StepWindow(0.2, 0.35),
    "0 to 0.5": StepWindow(0, 0.5),
    "0.5 to 1": StepWindow(0.5, 1),
    "0.5 to 0.75": StepWindow(0.5, 0.75),
    "0.6 to 0.75": StepWindow(0.6, 0.75),
}
FREE = {
    **{f"trajectory, {name}": FreeOptions(T, window) for name, window in WINDOWS.items()},
    **{f"condition gap, {name}": FreeOptions(G, window) for name, window in WINDOWS.items()},
    **{f"condition gap of images, {name}": FreeOptions(G, window, GapWeight.IMAGE) for name, window in WINDOWS.items()},
}
DEFAULTS = {"trajectory": "trajectory, 0.5 to 1", "condition gap": "condition gap, 0 to 0.35"}


@dataclass(frozen=True, eq=False)
class Pool:
    """Of one scale: scores (N,) by name as they are recorded, partial (N,) by point and name, bad (N,) bool, seed and label (N,).

    places: (P,) which images have costly scores too, costly: those, (P,) by name.
    """

    scale: float
    scores: dict[str, Tensor]
    partial: dict[float, dict[str, Tensor]]
    bad: Tensor
    seed: Tensor
    label: Tensor
    places: Tensor
    costly: dict[str, Tensor]


def gather(lab: Lab, scale: float, images: int, points: tuple[float, ...]) -> Pool:
    """What is there of a scale, whole rounds of seeds only."""
    space, parts, costly, places, first = Space.of(lab.scheduler), [], [], [], 0
    chunks = [chunk for _, chunk in rounds(lab, images, [scale])]
    there = [lab.path(f"draw_{scale:g}", chunk).exists() for chunk in chunks]
    chunks = [c for i, c in enumerate(chunks) if all(there[i // 3 * 3 : i // 3 * 3 + 3])]
    for chunk in chunks:
        sampled = drawn(lab, scale, chunk)
        recorded = {name: record(sampled, options, space) for name, options in FREE.items() if scale != 1 or options.score is T}
        early = {point: partial(sampled, point, space) for point in points}
        parts.append((recorded, early, sampled.log_p.exp() < 0.5, torch.full((len(sampled.log_p),), chunk.seed), chunk.labels))
        if lab.path(f"priced_{scale:g}", chunk).exists():
            costly.append(priced(lab, scale, chunk))
            places.append(picked(sampled, chunk.index) + first)
        first += len(sampled.log_p)
    names = parts[0][0]
    return Pool(
        scale,
        {name: torch.cat([p[0][name] for p in parts]) for name in names},
        {point: {name: torch.cat([p[1][point][name] for p in parts]) for name in parts[0][1][point]} for point in points},
        *(torch.cat([p[i] for p in parts]) for i in (2, 3, 4)),
        torch.cat(places) if places else torch.zeros(0, dtype=torch.long),
        {name: torch.cat([c[name] for c in costly]) for name in (costly[0] if costly else {})},
    )


def record(sampled: Drawn, options: FreeOptions, space: Space) -> Tensor:
    """(B,) as FreeRecorder has it."""
    recorder, followed = FreeRecorder(options, space.process), sampled.followed
    window = SigmaWindow.resolve(options.steps, space.percent_to_sigma)
    for step, sigma in enumerate(sampled.sigmas.tolist()):
        if window.is_active(sigma):
            without = None if sampled.scale == 1 else sampled.without[step]
            recorder.observe(followed[step], sampled.x0[step], without, torch.full((len(sampled.log_p),), sigma))
    return recorder.result().scores


def partial(sampled: Drawn, point: float, space: Space) -> dict[str, Tensor]:
    """log of what the steps up to a point tell: the spread of the predictions so far, the last move, and the gap so far and now."""
    last = step_at(point, STEPS[sampled.scale])
    steps, half = sampled.followed[: last + 1], (last + 1) // 2
    found = {
        "trajectory": steps.var(dim=0, correction=0).mean(dim=1),
        "trajectory, second half": steps[half:].var(dim=0, correction=0).mean(dim=1),
        "last move": (steps[last] - steps[last - 1]).square().mean(dim=1),
    }
    if sampled.scale != 1:
        gap = (sampled.x0[: last + 1] - sampled.without[: last + 1]).square().mean(dim=2)
        snr = torch.tensor([space.noisiness(sigma) ** -2 for sigma in sampled.sigmas[: last + 1].tolist()])
        found |= {"condition gap": (gap * snr[:, None]).mean(dim=0), "condition gap now": gap[last]}
    return {name: values.clamp_min(1e-30).log() for name, values in found.items()}
