"""Filtering and best of N where the judge counts and is no network: python benchmarks/quality/shapes.py

The model of train_shapes.py draws one to five discs, all red or all blue; a picture is right when a counting rule finds just that
(benchmarks/shared/other_models/shapes.py). Eight candidates of each prompt are sampled to their end once, scored on the way, and every
choice is replayed on those scores, as in best_of.py. Scores: AUROC for wrong pictures, with 95 % bootstrap intervals. Controls:
classifier-free guidance at several scales. With the members of train_shapes_ensemble.py: how much they disagree on the same prompts'
pictures, and whether that tells the wrong ones. Stops and resumes by chunks of 10 prompts under out/shapes_lab.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler, UNet2DModel
from torch import Tensor
from tqdm import tqdm

from uncertainty_nodes.benchmarks.bundle.train_shapes import shapes_config
from uncertainty_nodes.benchmarks.quality.best_of import FULL, PLANS, Replay, kept_gain, mean, rounded
from uncertainty_nodes.benchmarks.quality.direction import with_interval
from uncertainty_nodes.benchmarks.shared import candidates
from uncertainty_nodes.benchmarks.shared.candidates import CANDIDATES, END, PROMPTS, SEED, Setting, gather, labels_of, score_name
from uncertainty_nodes.benchmarks.shared.common import kept, provenance, read, write
from uncertainty_nodes.benchmarks.shared.other_models.shapes import CLASSES, is_right
from uncertainty_nodes.core.ensemble.file import EnsembleParameters
from uncertainty_nodes.core.files import load_tensors
from uncertainty_nodes.core.metrics.scores import bootstrap_interval
from uncertainty_nodes.core.options import DRAWN_SCORERS, Direction, EnsembleOptions
from uncertainty_nodes.core.search.scoring import DIRECTION_OF_SCORER
from uncertainty_nodes.hosts.diffusers.demo import sample, starting_noise
from uncertainty_nodes.hosts.diffusers.ensemble.decu import decu
from uncertainty_nodes.hosts.diffusers.ensemble.members import TableMembers
from uncertainty_nodes.hosts.diffusers.space import Space

SETTINGS = (Setting(20, 1.0), Setting(20, 2.0))
SCALES = (1.0, 1.25, 1.5, 2.0, 3.0)
SHOWN = ("best of 2", "best of 4", FULL, "8 to 2 at 0.25", "8 to 2 at 0.5", "8 to 4 at 0.25, to 2 at 0.5", "best of 8, denoised")
FEWEST_WRONG = 10  # with fewer an interval says nothing


def load_shapes(path: Path) -> tuple[UNet2DModel, DDIMScheduler, dict[str, Any]]:
    """What train_shapes.py wrote, and what it says of its training. Raises SystemExit where there is none."""
    if not path.exists():
        raise SystemExit(f"There is no {path}; run python benchmarks/bundle/train_shapes.py first.")
    weights, about = load_tensors(path, "shapes model")
    config = shapes_config()
    network = UNet2DModel(**config["network"])
    network.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    network = network.eval().requires_grad_(False).to(memory_format=torch.channels_last)
    return network, DDIMScheduler(**config["process"], clip_sample=False), about


def noise_of(count: int, first: int) -> Tensor:
    """(count, 3, 32, 32): each image's from its own seeds."""
    return torch.cat([starting_noise(count, SEED + channel, first) for channel in range(3)], dim=1)


class Lab(candidates.Lab):
    """Candidates of the shapes model: whether each is right, in place of features."""

    @torch.no_grad()
    def draw(self, setting: Setting, index: int) -> dict[str, Tensor]:
        count = PROMPTS * CANDIDATES
        labels = labels_of(count)
        x, scores = self.sample(setting, noise_of(count, index * count), labels)
        return {"right": is_right(x, labels), "label": labels} | scores

    def scale(self, scale: float, index: int) -> dict[str, Tensor]:
        """Of as many images as there are prompts in a chunk, ten times over: whether each is right."""
        count = PROMPTS * 10

        def draw() -> dict[str, Tensor]:
            labels = torch.arange(count) % 10
            with torch.autocast("cpu", self.precision, enabled=self.precision != torch.float32):
                x = sample(self.network, self.scheduler, noise_of(count, index * count), labels, SETTINGS[0].steps, scale)
            return {"right": is_right(x, labels)}

        return kept(self.work / f"scale_{scale:g}_{index}.safetensors", (scale, count, SEED, str(self.precision)), draw)

    def disagreement(self, members: EnsembleParameters, scale: float, index: int) -> dict[str, Tensor]:
        """Of the pictures of ``scale`` (same noises and classes): I and mean distance of the members, (100,), as the node gives them."""
        count = PROMPTS * 10

        def draw() -> dict[str, Tensor]:
            labels = torch.arange(count) % 10
            tables = TableMembers(self.network, members, labels, no_class=CLASSES)
            steps = SETTINGS[0].steps
            found = decu(self.network, self.scheduler, noise_of(count, index * count), tables, steps, EnsembleOptions(), scale)
            return {
                "information": found.information.badness,
                "distance": found.distance.badness,
                "nfe": torch.tensor([found.information.nfe]),
            }

        path = self.work / f"ensemble_{scale:g}_{index}.safetensors"
        return kept(path, (scale, count, SEED, members.provenance), draw)  # float32: members are close together


@dataclass(frozen=True, eq=False)
class Counted(Replay):
    @property
    def good(self) -> Tensor:
        return self.pool["right"].double()


def plans(replay: Counted) -> dict[str, Any]:
    """Of each plan the share of right pictures, one a prompt, and its calls."""
    prompts, chance = torch.arange(len(replay.good)), replay.good.mean(dim=1)
    chosen = {name: [replay.choose(PLANS[name], p) for p in prompts.tolist()] for name in SHOWN}
    full = replay.good[prompts, torch.tensor([place for place, _ in chosen[FULL]])]
    full_calls = mean(torch.tensor([float(calls) for _, calls in chosen[FULL]]))
    plain = float(replay.setting.calls_per_step * replay.setting.steps)
    rows = {"one candidate at random": {"calls": plain, "right": mean(chance), "gain": 0.0, "gain_interval": None}}
    for name, found in chosen.items():
        right = replay.good[prompts, torch.tensor([place for place, _ in found])]
        calls, change = mean(torch.tensor([float(c) for _, c in found])), right - chance
        interval = rounded(bootstrap_interval(lambda d: float(d.mean()), change)[:2])
        rows[name] = {"calls": calls, "right": mean(right), "gain": mean(change), "gain_interval": interval}
        rows[name] |= {"share_of_calls": round(calls / full_calls, 3)} | kept_gain(right, full, chance)
    return rows


def scores(replay: Counted) -> dict[str, Any]:
    """AUROC of each score of the finished picture, and of it half way, for wrong pictures."""
    wrong = ~replay.pool["right"].flatten()
    if int(wrong.sum()) < FEWEST_WRONG or int((~wrong).sum()) < FEWEST_WRONG:
        return {}
    rows = {}
    for scorer in DRAWN_SCORERS:
        sign = 1 if DIRECTION_OF_SCORER[scorer] is Direction.HIGH_IS_BAD else -1
        for point in (0.5, END):
            rows[score_name(scorer, point)] = with_interval(sign * replay.pool[score_name(scorer, point)].flatten(), wrong)
    return rows


def ensembles(lab: Lab, members: EnsembleParameters, images: int) -> dict[str, Any]:
    """AUROC for wrong pictures of how much the members disagree, without guidance and at the scale of the candidates."""
    rows: dict[str, Any] = {"members": len(members)}
    for scale in tqdm([setting.cfg for setting in SETTINGS], desc="Ensemble"):
        indexes = range(-(-images // 100))
        parts = [lab.disagreement(members, scale, i) for i in indexes]
        wrong = ~torch.cat([lab.scale(scale, i)["right"] for i in indexes])
        row: dict[str, Any] = {"images": len(wrong), "wrong": int(wrong.sum()), "nfe": float(parts[0]["nfe"])}
        if min(row["wrong"], row["images"] - row["wrong"]) >= FEWEST_WRONG:
            row |= {name: with_interval(torch.cat([p[name] for p in parts]), wrong) for name in ("information", "distance")}
        rows[f"CFG {scale:g}"] = row
    return rows


def measure(lab: Lab, setting: Setting, chunks: int) -> dict[str, Any]:
    space = Space.of(lab.scheduler)
    lab.scheduler.set_timesteps(setting.steps)
    sigmas = [space.sigma_at(t) for t in lab.scheduler.timesteps]
    replay = Counted(setting, gather(chunks, lambda i: lab.chunk(setting, i)), space, sigmas)
    wrong = int((~replay.pool["right"]).sum())
    return {"images": replay.good.numel(), "wrong": wrong, "scores": scores(replay), "plans": plans(replay)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=int, default=50, help="rounded up to tens (default: %(default)s)")
    parser.add_argument("--images", type=int, default=300, help="at each scale, rounded up to hundreds (default: %(default)s)")
    parser.add_argument("--model", type=Path, default=Path("out/shapes/model.safetensors"))
    parser.add_argument("--ensemble", type=Path, default=Path("out/shapes/ensemble.safetensors"), help="left out where there is none")
    parser.add_argument("--only-ensemble", action="store_true", help="measure it alone, and put it into the results that are there")
    parser.add_argument("--precision", choices=["bfloat16", "float32"], default="bfloat16")
    parser.add_argument("--work", type=Path, default=Path("out/shapes_lab"))
    a = parser.parse_args()
    network, scheduler, about = load_shapes(a.model)
    lab = Lab(network, scheduler, None, getattr(torch, a.precision), a.work)
    if a.only_ensemble:
        measured = ensembles(lab, EnsembleParameters.load(a.ensemble), a.images)
        results = read("shapes") | {"ensemble": measured | {"command": provenance()["command"]}}
        tqdm.write(f"Wrote {write('shapes', results)}")  # with the provenance of the rest
        return
    chunks, found = -(-a.prompts // PROMPTS), {}
    for index in tqdm(range(chunks), desc="Candidates"):
        for setting in SETTINGS:  # in turn, so that a stop leaves them alike
            lab.chunk(setting, index)
    for setting in SETTINGS:
        found[setting.name] = measure(lab, setting, chunks)
    scales = {}
    for scale in tqdm(SCALES, desc="Scales"):
        right = torch.cat([lab.scale(scale, i)["right"] for i in range(-(-a.images // 100))]).double()
        interval = rounded(bootstrap_interval(lambda r: float(r.mean()), right)[:2])
        calls = SETTINGS[0].steps * (1 if scale == 1 else 2)
        scales[f"CFG {scale:g}"] = {"images": len(right), "calls": calls, "right": mean(right), "right_interval": interval}
    results = {"training": about, "prompts": chunks * PROMPTS, "seed": SEED, "precision": a.precision, "scales": scales, "settings": found}
    if a.ensemble.exists():
        results["ensemble"] = ensembles(lab, EnsembleParameters.load(a.ensemble), a.images)
    tqdm.write(f"Wrote {write('shapes', results)}")


if __name__ == "__main__":
    main()
