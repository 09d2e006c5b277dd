"""Best of N with early pruning, and until good, on the bundled model: python benchmarks/quality/best_of.py

Eight candidates of each prompt (a digit) are sampled to their end once, with and without classifier-free guidance, and scored on
the way; every way to choose is then replayed on those scores by the search itself, which counts its calls. Real searches check
that they count the same. Agreement and FID as in guidance.py; all rows of a setting have as many images. Kept in chunks of 10
prompts under out/best_of, so that a stopped run goes on where it was; --table makes the table of what is there.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from uncertainty_nodes.benchmarks.shared.candidates import (
    CANDIDATES,
    DRAWS,
    END,
    PROMPTS,
    SEED,
    SETTINGS,
    Lab,
    Setting,
    gather,
    score_name,
)
from uncertainty_nodes.benchmarks.shared.common import write
from uncertainty_nodes.benchmarks.shared.guidance.judging import fid
from uncertainty_nodes.benchmarks.shared.steering import steered
from uncertainty_nodes.core.demo.extractor import Reference, load_extractor, load_reference
from uncertainty_nodes.core.metrics.scores import Undefined, bootstrap_interval
from uncertainty_nodes.core.options import BestOfOptions, Scorer, UntilOptions
from uncertainty_nodes.core.result import Uncertainty
from uncertainty_nodes.core.search.best_of import Search
from uncertainty_nodes.core.search.scoring import DIRECTION_OF_SCORER, Scores
from uncertainty_nodes.core.search.until import Until
from uncertainty_nodes.core.selection.calibration import Calibration
from uncertainty_nodes.hosts.diffusers.demo import load_demo
from uncertainty_nodes.hosts.diffusers.search.best_of import DigitCandidates, best_of
from uncertainty_nodes.hosts.diffusers.space import Space

PLAIN, FULL = "one candidate at random", "best of 8"
CUTS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "8 to 1 at 0.25": ((0.25,), (0.0,)),
    "8 to 1 at 0.5": ((0.5,), (0.0,)),
    "8 to 1 at 0.75": ((0.75,), (0.0,)),
    "8 to 2 at 0.25": ((0.25,), (0.25,)),
    "8 to 2 at 0.5": ((0.5,), (0.25,)),
    "8 to 4 at 0.25": ((0.25,), (0.5,)),
    "8 to 4 at 0.5": ((0.5,), (0.5,)),
    "8 to 4 at 0.25, to 2 at 0.5": ((0.25, 0.5), (0.5, 0.5)),
    "8 to 4 at 0.25, to 1 at 0.5": ((0.25, 0.5), (0.5, 0.0)),
    "8 to 4 at 0.25, to 2 at 0.5, to 1 at 0.75": ((0.25, 0.5, 0.75), (0.5, 0.5, 0.0)),
}
FREE: dict[str, dict[str, Any]] = {
    "trajectory": {"scorer": Scorer.TRAJECTORY},
    "condition gap": {"scorer": Scorer.CONDITION_GAP},
    "trajectory and gap": {"scorer": Scorer.TRAJECTORY, "second": Scorer.CONDITION_GAP},
    "information and trajectory": {"second": Scorer.TRAJECTORY},
}
PLANS: dict[str, BestOfOptions] = {
    **{f"best of {n}": BestOfOptions(candidates=n, points=(), fractions=()) for n in (2, 4, 8)},
    **{name: BestOfOptions(points=points, fractions=fractions) for name, (points, fractions) in CUTS.items()},
    "best of 8, denoised": BestOfOptions(points=(), fractions=(), scorer=Scorer.DENOISED),
    "8 to 2 at 0.5, denoised": BestOfOptions(points=(0.5,), fractions=(0.25,), scorer=Scorer.DENOISED),
    "8 to 2 at 0.5, noise": BestOfOptions(points=(0.5,), fractions=(0.25,), scorer=Scorer.NOISE),
    "8 to 2 at 0.5, both": BestOfOptions(points=(0.5,), fractions=(0.25,), second=Scorer.DENOISED),
    **{f"best of {n}, {name}": BestOfOptions(candidates=n, points=(), fractions=(), **by) for name, by in FREE.items() for n in (4, 8)},
    **{
        f"8 to 2 at {point:g}, {name}": BestOfOptions(points=(point,), fractions=(0.25,), **by)
        for name, by in FREE.items()
        for point in (0.25, 0.5)
    },
}
CHECKED = ("best of 4", "8 to 2 at 0.5", "8 to 4 at 0.25, to 2 at 0.5, to 1 at 0.75", "8 to 2 at 0.5, denoised")
LIMITS = (50.0, 75.0, 90.0)  # percentiles of earlier scores that until good accepts up to
RUNS = 1_000


@dataclass(frozen=True, eq=False)
class Replay:
    """One setting's pool, (P, 8, ..) by name, and the noise levels of its steps."""

    setting: Setting
    pool: dict[str, Tensor]
    space: Space
    sigmas: list[float]

    def can(self, options: BestOfOptions) -> bool:
        """Whether the pool holds what this search compares by: without guidance there is no condition gap."""
        return all(score_name(scorer, point) in self.pool for scorer in options.scorers for point in (*options.points, END))

    def choose(self, options: BestOfOptions, prompt: int) -> tuple[int, int]:
        """The candidate that a search keeps, and its network passes."""
        search = Search(options, self.space.percent_to_sigma)
        for sigma in self.sigmas:
            search.network_rows += self.setting.calls_per_step * len(search.rows)
            if search.due(sigma):
                points = [p for p in options.points if sigma <= self.space.percent_to_sigma(p) * (1 + 1e-5)]
                search.select(self.scores(search, prompt, points[-1]), sigma)
        kept = search.finish(self.scores(search, prompt, END) if search.needs_final_scores else None)
        return kept[0], search.network_rows + search.scoring_rows

    def scores(self, search: Search, prompt: int, point: float) -> Scores:
        scorers, rows = search.options.scorers, list(search.rows)
        calls = DRAWS.samples * (2 if Scorer.INFORMATION in scorers else 1) if search.options.drawn_scorers else 0
        return Scores({s: self.pool[score_name(s, point)][prompt, rows] for s in scorers}, calls * len(rows))

    @property
    def good(self) -> Tensor:
        """(P, 8) 1 where a candidate shows the asked digit."""
        return (self.pool["log_p"].exp() > 0.5).double()


def replayed(lab: Lab, setting: Setting, chunks: Sequence[int]) -> Replay:
    space = Space.of(lab.scheduler)
    lab.scheduler.set_timesteps(setting.steps)
    sigmas = [space.sigma_at(t) for t in lab.scheduler.timesteps]
    return Replay(setting, gather(len(chunks), lambda i: lab.chunk(setting, chunks[i])), space, sigmas)


def table(replay: Replay, real: Reference) -> dict[str, Any]:
    """Every plan's figures, and what it keeps of the gain of the best of 8 at what share of its calls."""
    prompts = torch.arange(len(replay.good))
    chance, rows = replay.good.mean(dim=1), {}
    plans = {name: options for name, options in PLANS.items() if replay.can(options)}
    chosen = {name: [replay.choose(options, p) for p in prompts.tolist()] for name, options in plans.items()}
    full = replay.good[prompts, torch.tensor([c for c, _ in chosen[FULL]])]
    full_calls = sum(calls for _, calls in chosen[FULL]) / len(prompts)
    for name, found in chosen.items():
        places, calls = torch.tensor([c for c, _ in found]), sum(c for _, c in found) / len(prompts)
        rows[name] = figures(replay, places, calls, chance, real) | {
            "share_of_calls": round(calls / full_calls, 3),
            **kept_gain(replay.good[prompts, places], full, chance),
        }
    plain_calls = float(replay.setting.calls_per_step * replay.setting.steps)
    plain = figures(replay, torch.zeros_like(prompts), plain_calls, chance, real)
    by_chance = {"agreement": mean(chance), "log_p": mean(replay.pool["log_p"]), "gain": 0.0, "gain_interval": None, "gain_by_third": None}
    return {PLAIN: plain | by_chance} | rows  # its FID is that of the first candidate: of one image a prompt, as in every row


def figures(replay: Replay, places: Tensor, calls: float, chance: Tensor, real: Reference) -> dict[str, Any]:
    prompts = torch.arange(len(places))
    change = replay.good[prompts, places] - chance
    features = replay.pool["features"][prompts, places]
    return {
        "calls": round(calls, 1),
        "agreement": mean(replay.good[prompts, places]),
        "log_p": mean(replay.pool["log_p"][prompts, places]),
        "gain": mean(change),
        "gain_by_third": [mean(change[i::3]) for i in range(3)],  # of the prompts, whose noises have nothing in common
        "gain_interval": rounded(bootstrap_interval(lambda d: float(d.mean()), change)[:2]),
        "fid": round(fid(features, real), 3),
    }


def kept_gain(good: Tensor, full: Tensor, chance: Tensor) -> dict[str, Any]:
    """Share of the full gain that is kept, prompts resampled; None where the best of 8 gains nothing."""

    def share(good: Tensor, full: Tensor, chance: Tensor) -> float:
        gain = float((full - chance).mean())
        if gain <= 0:
            raise Undefined("The best of all gains nothing here.")
        return float((good - chance).mean()) / gain

    try:
        return {
            "kept_gain": round(share(good, full, chance), 3),
            "kept_gain_interval": rounded(bootstrap_interval(share, good, full, chance)[:2]),
        }
    except Undefined:
        return {"kept_gain": None, "kept_gain_interval": None}


def until_good(replay: Replay) -> dict[str, Any]:
    """At each limit: prompts of one half of the pool, calibrated on the other; candidates in random order are the attempts."""
    generator = torch.Generator().manual_seed(0)
    name, direction = score_name(Scorer.INFORMATION, END), DIRECTION_OF_SCORER[Scorer.INFORMATION]
    scores, good, half = replay.pool[name], replay.good, torch.arange(len(replay.good)) % 2 == 0
    histories = [Calibration.fit([scores[half == other].flatten()], direction, name) for other in (False, True)]
    sampling = float(replay.setting.calls_per_step * replay.setting.steps)
    rows = {}
    for limit in LIMITS:
        runs, returned = [], []
        for _ in range(RUNS):
            prompt = int(torch.randint(len(good), (), generator=generator))
            order = torch.randperm(CANDIDATES, generator=generator).tolist()
            run = Until(UntilOptions(value=limit, max_attempts=CANDIDATES), histories[int(half[prompt])])
            while not run.done:
                run.offer(one(scores[prompt, order[run.attempts]], direction, name), sampling)
            runs.append(run)
            returned.append(good[prompt, order[run.best()[0].attempt]])
        attempts = torch.tensor([float(r.attempts) for r in runs])
        shown = torch.stack(returned)
        rows[f"{limit:g}"] = {
            "runs": RUNS,
            "acceptance_rate": round(sum(r.accepted for r in runs) / float(attempts.sum()), 4),
            "accepted": mean(torch.tensor([float(r.succeeded) for r in runs])),
            "attempts": round(float(attempts.mean()), 3),
            "calls": round(sum(r.nfe for r in runs) / RUNS, 1),
            "agreement": mean(shown),
            "agreement_interval": rounded(bootstrap_interval(lambda s: float(s.mean()), shown)[:2]),
            "agreement_plain": mean(good),
        }
    return rows


def one(score: Tensor, direction: Any, name: str) -> Uncertainty:
    scores = score.view(1)
    calls = 2.0 * DRAWS.samples
    return Uncertainty(torch.zeros(1, 1, 1, 1), scores, scores[None], torch.zeros(1), direction, name, calls, 0.0)


def check(lab: Lab, replay: Replay) -> dict[str, Any]:
    """Calls of real searches beside those that the pool gives. Raises RuntimeError where they differ."""
    counts = {}
    for name in CHECKED:
        candidates = DigitCandidates(lab.network, lab.scheduler, 3, replay.setting.steps, replay.setting.cfg)
        found = best_of(candidates, options=PLANS[name])
        counts[name] = found.network_rows + found.scoring_rows
        if counts[name] != replay.choose(PLANS[name], 0)[1]:
            raise RuntimeError(f"{name}: a real search made {counts[name]} calls, the pool says {replay.choose(PLANS[name], 0)[1]}.")
    return counts


def mean(values: Tensor) -> float:
    return round(float(values.double().mean()), 4)


def rounded(values: Any) -> list[float]:
    return [round(v, 4) for v in values]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=int, default=20, help="rounded up to tens (default: %(default)s)")
    parser.add_argument("--steered", type=int, default=10, help="prompts of the searches that are run one by one (default: %(default)s)")
    parser.add_argument("--free", action="store_true", help="every scorer at 20 steps, and nothing else: results/best_of_free.json")
    parser.add_argument("--table", action="store_true", help="draw nothing further, make the table of what is there")
    parser.add_argument("--precision", choices=["bfloat16", "float32"], default="bfloat16")
    parser.add_argument("--work", type=Path, default=Path("out/best_of"))
    a = parser.parse_args()
    network, scheduler = load_demo()
    network = network.to(memory_format=torch.channels_last)  # a seventh faster on processors
    lab = Lab(network, scheduler, load_extractor(), getattr(torch, a.precision), a.work)
    chunks, one_by_one = -(-a.prompts // PROMPTS), -(-a.steered // PROMPTS)
    settings = [s for s in SETTINGS if s.steps == 20 or not a.free]
    if a.table:
        chunks = next(i for i in range(10**6) if not all(lab.path(s, i).exists() for s in settings))
        one_by_one = 0
    for index in tqdm(range(chunks), desc="Candidates"):
        for setting in settings:  # in turn, so that a stop leaves them alike
            lab.chunk(setting, index)
    found, real = {}, load_reference()
    for setting in settings:
        replay = replayed(lab, setting, range(chunks))
        found[setting.name] = {"plans": table(replay, real)}
        if not a.free:
            found[setting.name] |= {"until good": until_good(replay), "calls of real searches": check(lab, replay)}
    results = {"prompts": chunks * PROMPTS, "candidates": CANDIDATES, "draws": DRAWS.samples, "seed": SEED, "precision": a.precision}
    results |= {"extractor": lab.judge.name, "settings": found}
    results |= {} if a.free else {"steered": steered(lab, SETTINGS, one_by_one, real)}
    tqdm.write(f"Wrote {write('best_of_free' if a.free else 'best_of', results)}")


if __name__ == "__main__":
    main()
