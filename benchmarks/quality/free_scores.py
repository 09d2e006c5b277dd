"""What a sampling tells of its images at no further model call: python benchmarks/quality/free_scores.py

Draws images without guidance, at this model's best scale of classifier-free guidance and at a strong one, keeping every step's
predictions. From them: AUROC of the free scores for bad images (the bundled classifier gives the asked class p < 0.5) by window,
with 95 % bootstrap intervals; of both joined, by rank and by logistic regression on the other seeds; beside scores that cost calls,
on the same images (all bad ones and every seventh good one). Then the learned early stop, from the steps up to 20, 35 and 50 % of a
run, held out by seed: AUROC, and the calls saved where 1, 5 or 10 % of good images may be lost. Stops and resumes by chunks; --table
makes the table of what is there. About an hour on one core.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from uncertainty_nodes.benchmarks.quality.direction import per_class, with_interval
from uncertainty_nodes.benchmarks.shared.common import write
from uncertainty_nodes.benchmarks.shared.free_methods import DEFAULTS, FREE, Pool, gather
from uncertainty_nodes.benchmarks.shared.pool import Lab
from uncertainty_nodes.benchmarks.shared.trajectories import POINTS, STEPS, drawn, priced, rounds
from uncertainty_nodes.core.options import DIRECTION_OF_FREE, Direction
from uncertainty_nodes.core.selection.early_stop import EarlyStop
from uncertainty_nodes.core.selection.ranks import rank_average

LOST = (0.01, 0.05, 0.10)
FEWEST_BAD = 10  # with fewer an interval says nothing
INFORMATION_NFE, CHEAP_NFE = 32, {"information": 4, "denoised": 2}


def table(pool: Pool) -> dict[str, Any]:
    result: dict[str, Any] = {"images": len(pool.bad), "bad": int(pool.bad.sum()), "steps": STEPS[pool.scale]}
    if result["bad"] < FEWEST_BAD:
        return result
    badness = {name: turned(pool, name) for name in pool.scores}
    joint = joined(pool, badness)
    result["scores"] = {name: with_interval(values, pool.bad) for name, values in (badness | joint).items()}
    result["within_class"] = {
        name: with_interval(per_class(values, pool.label), pool.bad) for name, values in (defaults(badness) | joint).items()
    }
    result["early_stop"] = {f"{point:g}": early(pool, point, False) for point in POINTS}
    if len(pool.places):
        result["costly"] = costly(pool, defaults(badness) | joint)
        result["early_stop_with_calls"] = {f"{point:g}": early(pool, point, True) for point in POINTS}
    return result


def turned(pool: Pool, name: str) -> Tensor:
    high = DIRECTION_OF_FREE[FREE[name].score] is Direction.HIGH_IS_BAD
    return pool.scores[name] if high else -pool.scores[name]


def defaults(badness: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: badness[each] for name, each in DEFAULTS.items() if each in badness}


def joined(pool: Pool, badness: dict[str, Tensor]) -> dict[str, Tensor]:
    """Both defaults by rank; and all windows by a logistic regression on the other seeds."""
    both = list(defaults(badness).values())
    ranked = {"both, by rank": rank_average(both, [1.0] * len(both))} if len(both) > 1 else {}
    features = torch.stack([values.clamp_min(1e-30).log() for values in pool.scores.values()], dim=1)
    learned = held_out(pool.seed, lambda own, other: fit(features[other], pool.bad[other]).log_odds(features[own]))
    return ranked | {"all, learned on other seeds": learned}


def fit(features: Tensor, bad: Tensor) -> EarlyStop:
    return EarlyStop.fit([str(k) for k in range(features.shape[1])], features, bad)


def held_out(seed: Tensor, predict: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """predict: masks of the images to judge and of those to learn from -> (of the former,)."""
    found = torch.empty(len(seed), dtype=torch.float64)
    for each in seed.unique().tolist():
        found[seed == each] = predict(seed == each, seed != each)
    return found


def costly(pool: Pool, free: dict[str, Tensor]) -> dict[str, Any]:
    """Everything on the images that have costly scores."""
    bad = pool.bad[pool.places]
    values = {name: score[pool.places] for name, score in free.items()}
    values |= {"prompt information": -pool.costly["information"]}
    best = [values["prompt information"], values.get("all, learned on other seeds")]
    values |= {"prompt information and all free, by rank": rank_average(best, [1.0, 1.0])}
    nfe = {name: INFORMATION_NFE if "information" in name else 0 for name in values}
    for point in POINTS:
        for kind, sign in (("information", -1), ("denoised", 1)):
            name = f"{kind} of one level, at {point:g}"
            values[name], nfe[name] = sign * pool.costly[f"{kind} at {point:g}"], CHEAP_NFE[kind]
    return {
        "images": len(bad),
        "bad": int(bad.sum()),
        "scores": {n: with_interval(v, bad) | {"nfe": nfe[n]} for n, v in values.items()},
    }


def early(pool: Pool, point: float, with_calls: bool) -> dict[str, Any]:
    """Held out by seed. lost, caught: shares of good and bad images that are stopped; saved: share of all sampling calls."""
    features = torch.stack(list(pool.partial[point].values()), dim=1)
    bad, seed = pool.bad, pool.seed
    if with_calls:
        cheap = [pool.costly[f"{kind} at {point:g}"] for kind in CHEAP_NFE]
        features = torch.cat([features[pool.places], torch.stack(cheap, dim=1)], dim=1)
        bad, seed = bad[pool.places], seed[pool.places]
    fits = {each: fit(features[seed != each], bad[seed != each]) for each in seed.unique().tolist()}
    odds = torch.empty(len(bad), dtype=torch.float64)
    for each, learned in fits.items():
        odds[seed == each] = learned.log_odds(features[seed == each])
    found: dict[str, Any] = with_interval(odds, bad) | {"at": {}}
    for lost in LOST:
        limit = torch.tensor([fits[each].threshold(lost) for each in seed.tolist()], dtype=torch.float64)
        stopped = odds > limit
        shares = {"lost": float(stopped[~bad].double().mean()), "caught": float(stopped[bad].double().mean())}
        rate = float(pool.bad.double().mean())  # of all images: those with costly scores are richer in bad ones
        all_stopped = rate * shares["caught"] + (1 - rate) * shares["lost"]
        found["at"][f"{lost:g}"] = {name: round(v, 4) for name, v in (shares | {"saved": all_stopped * (1 - point)}).items()}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1000, help="of each seed and scale")
    parser.add_argument("--table", action="store_true", help="measure nothing further, make the table of what is there")
    parser.add_argument("--work", type=Path, default=Path("out/free_scores"))
    a = parser.parse_args()
    lab = Lab.open(a.work, precision=torch.bfloat16)
    weak, strong = [scale for scale in STEPS if scale < 2], [scale for scale in STEPS if scale >= 2]
    if not a.table:
        for scale, chunk in tqdm(list(rounds(lab, a.images, weak)), desc="Draw"):
            drawn(lab, scale, chunk)
        for scale, chunk in tqdm(list(rounds(lab, a.images, weak)), desc="Scores that cost calls"):
            priced(lab, scale, chunk)
        for scale, chunk in tqdm(list(rounds(lab, a.images, strong)), desc="Draw at the strong scale"):
            drawn(lab, scale, chunk)
    found = {f"{scale:g}": table(gather(lab, scale, a.images, POINTS)) for scale in STEPS}
    print(f"Wrote {write('free_scores', {'points': list(POINTS), 'lost': list(LOST), 'scales': found})}")


if __name__ == "__main__":
    main()
