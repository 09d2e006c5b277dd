"""The figures of benchmarks/quality/guidance.py: agreement, FID, precision, recall of a setting, and what it gains over others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor
from tqdm import tqdm

from uncertainty_nodes.core.demo.extractor import Reference
from uncertainty_nodes.core.metrics.features import FeatureStatistics, frechet_distance, precision_recall
from uncertainty_nodes.core.metrics.scores import bootstrap_interval

Drawn = dict[str, dict[str, Tensor]]


def row(drawn: dict[str, Tensor], plain: dict[str, Tensor], real: Reference) -> dict[str, Any]:
    """The figures of one setting, and what it gains over plain sampling of the same images."""
    near = precision_recall(real.features, drawn["features"])
    return (
        {
            "images": len(drawn["log_p"]),
            "nfe": round(float(drawn["nfe"]), 1),
            "agreement": round(float(shows(drawn).mean()), 4),
            "log_p": round(float(drawn["log_p"].mean()), 4),
            "fid": round(fid(drawn["features"], real), 3),
            "precision": round(near.precision, 4),
            "recall": round(near.recall, 4),
        }
        | gains(drawn, plain, real)
        | per_seed(drawn, plain, real)
    )


def per_seed(drawn: dict[str, Tensor], plain: dict[str, Tensor], real: Reference) -> dict[str, Any]:
    """Agreement and FID gain of each seed alone, where there are several: whether a figure hangs on one of them."""
    seeds = drawn["seed"].unique().tolist()
    if len(seeds) == 1:
        return {}
    agreement, gain = [], []
    for seed in seeds:
        ours, theirs = (found["features"][found["seed"] == seed] for found in (drawn, plain))
        agreement.append(round(float(shows(drawn)[drawn["seed"] == seed].mean()), 4))
        gain.append(round(fid(theirs[: len(ours)], real) - fid(ours[: len(theirs)], real), 3))
    return {"agreement_per_seed": agreement, "fid_gain_per_seed": gain}


def gains(drawn: dict[str, Tensor], other: dict[str, Tensor], real: Reference) -> dict[str, Any]:
    """What one setting gains over another on the images that both were run on, with 95 % intervals: image pairs are resampled."""

    def fid_gain(ours: Tensor, theirs: Tensor) -> float:
        return fid(theirs, real) - fid(ours, real)

    count = min(len(drawn["log_p"]), len(other["log_p"]))
    change = (shows(drawn)[:count] - shows(other)[:count]).double()
    pair = (drawn["features"][:count], other["features"][:count])
    return {
        "agreement_gain": round(float(change.mean()), 4),
        "agreement_gain_interval": rounded(bootstrap_interval(lambda d: float(d.mean()), change)[:2]),
        "fid_gain": round(fid_gain(*pair), 3),
        "fid_gain_interval": rounded(bootstrap_interval(fid_gain, *pair, resamples=200)[:2]),
    }


def beyond(drawn: Drawn, guided: Iterable[str], controls: Iterable[str], real: Reference) -> dict[str, dict[str, Any]]:
    """Guided setting -> control -> what guidance gains over it; of the settings that were run on most images."""
    most = max(len(found["log_p"]) for found in drawn.values())
    full = {name for name, found in drawn.items() if len(found["log_p"]) == most}
    pairs = {g: [c for c in controls if c in full and c != g] for g in guided if g in full}
    return {g: {c: gains(drawn[g], drawn[c], real) for c in others} for g, others in tqdm(pairs.items(), desc="Controls")}


def shows(drawn: dict[str, Tensor]) -> Tensor:
    """(n,) 1 where the image shows the asked digit."""
    return (drawn["log_p"].exp() > 0.5).float()


def fid(features: Tensor, real: Reference) -> float:
    return frechet_distance(real.statistics, FeatureStatistics.of(features, real.statistics.extractor))


def rounded(values: Any) -> list[float]:
    return [round(v, 4) for v in values]
