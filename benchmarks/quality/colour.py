"""Does it hold on colour photos? python benchmarks/quality/colour.py

A small class-conditional model of CIFAR-10 (bundle/train_colour.py), judged by a classifier that bundle/train_colour_judge.py trains: a
picture is bad where the asked class gets p < 0.5, and that classifier's features are the yardstick of FID: no Inception FID compares.

Three parts: controls and guidance (--images of three seeds); eight candidates of each prompt, sampled to their end once and scored on the
way, from which every score's AUROC and filtering gain and every way to choose are counted, as in best_of.py (--prompts, --cfg); a sheet of
pictures. Stops and resumes by chunks under --work, which belongs to one model; --table makes the tables of what is there.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from uncertainty_nodes.benchmarks.quality import best_of
from uncertainty_nodes.benchmarks.shared import candidates
from uncertainty_nodes.benchmarks.shared.candidates import CANDIDATES, END, PROMPTS, SEED, Setting, labels_of, score_name
from uncertainty_nodes.benchmarks.shared.common import RESULTS, drawn_on, kept, write
from uncertainty_nodes.benchmarks.shared.guidance.judging import beyond, row
from uncertainty_nodes.benchmarks.shared.guidance.settings import POSTERIOR, STEPS, Cfg, Model, guided
from uncertainty_nodes.benchmarks.shared.judging import Judged, judge_filter
from uncertainty_nodes.benchmarks.shared.other_models.colour import CLASSES, ColourJudge, load_colour, load_judge, noise_of
from uncertainty_nodes.benchmarks.shared.subject import COLOUR_MODEL
from uncertainty_nodes.core.demo.extractor import Reference
from uncertainty_nodes.core.files import replacing
from uncertainty_nodes.core.options import Direction, Scorer
from uncertainty_nodes.core.search.scoring import DIRECTION_OF_SCORER
from uncertainty_nodes.hosts.diffusers.demo import sample

SEEDS, SHEET = (1, 2, 3), 8
CONTROLS = {
    "plain": Cfg(1.0),
    "eps x 1.01": Cfg(1.0, factor=1.01),
    "CFG 1.5": Cfg(1.5),
    "CFG 2": Cfg(2.0),
    "CFG 3": Cfg(3.0),
    "CFG 4": Cfg(4.0),
    "CFG 2 in the middle 60 % of the schedule": Cfg(2.0, 0.2, 0.8),
    "CFG 1.5, eps x 1.01": Cfg(1.5, factor=1.01),
}
GUIDED = {"posterior 0.02": guided(0.02, mode=POSTERIOR)} | {
    f"CFG {cfg:g}, posterior 0.02": guided(0.02, cfg=cfg, mode=POSTERIOR) for cfg in (1.5, 2.0, 3.0)
}
SETTINGS = CONTROLS | GUIDED


@dataclass(frozen=True)
class Lab(candidates.Lab):
    """Candidates of the colour model, and images of one setting of guidance."""

    judge: ColourJudge
    size: int = 50  # images a chunk of guidance

    @property
    def device(self) -> torch.device:
        return self.network.device

    @torch.no_grad()
    def draw(self, setting: Setting, index: int) -> dict[str, Tensor]:
        count = PROMPTS * CANDIDATES
        x, labels = noise_of(count, index * count, SEED).to(self.device), labels_of(count).to(self.device)
        x, scores = self.sample(setting, x, labels)
        return self.judged(x, labels) | {"label": labels} | scores

    def judged(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        features = self.judge.features(images)
        log_p = self.judge.head(features).log_softmax(dim=1).gather(1, labels[:, None])[:, 0]
        return {"features": features, "log_p": log_p}

    def shown(self, setting: Setting) -> Tensor:
        """The pictures of the first chunk of candidates, (80, 3, 32, 32)."""

        def draw() -> dict[str, Tensor]:
            labels = labels_of(PROMPTS * CANDIDATES).to(self.device)
            noise = noise_of(len(labels), 0, SEED).to(self.device)
            with torch.autocast(self.device.type, self.precision, enabled=self.precision != torch.float32):
                return {"images": sample(self.network, self.scheduler, noise, labels, setting.steps, setting.cfg)}

        return kept(self.work / f"shown_{setting.cfg:g}.safetensors", (setting, str(self.precision)), draw)["images"]

    def guided_path(self, name: str, seed: int, first: int) -> Path:
        return self.work / f"{name.replace(' ', '_')}_{seed}_{first}.safetensors"

    def guided(self, name: str, seed: int, first: int) -> dict[str, Tensor]:
        """Of ``size`` images: features, log_p, calls; drawn or read back."""

        def draw() -> dict[str, Tensor]:
            labels = torch.arange(first, first + self.size, device=self.device) % len(CLASSES)
            noise = noise_of(self.size, first, seed).to(self.device)
            with torch.autocast(self.device.type, self.precision, enabled=self.precision != torch.float32):
                images, nfe = SETTINGS[name].draw(Model(self.network, self.scheduler), noise, labels, first, seed)
            return self.judged(images, labels) | {"nfe": torch.tensor(nfe), "seed": torch.full((self.size,), seed)}

        return kept(self.guided_path(name, seed, first), (SETTINGS[name], STEPS, self.size, str(self.precision)), draw)

    def places(self, images: int) -> list[tuple[int, int]]:
        """Seeds and first numbers of the chunks, the seeds taking turns."""
        return [(SEEDS[i % len(SEEDS)], i // len(SEEDS) * self.size) for i in range(-(-images // self.size))]


def guidance(lab: Lab, images: int, real: Reference) -> dict[str, Any]:
    """Every setting's figures on the chunks that it has, and what guidance gains over the controls where it has as many."""
    found = {}
    for name in SETTINGS:
        there = list(itertools.takewhile(lambda p, n=name: lab.guided_path(n, *p).exists(), lab.places(images)))
        if there:
            parts = [lab.guided(name, *place) for place in there]
            found[name] = {k: torch.cat([p[k] for p in parts]) for k in ("features", "log_p", "seed")} | {"nfe": parts[0]["nfe"]}
    if not found:
        return {"settings": {}, "beyond": {}}
    rows = {name: row(drawn, found["plain"], real) for name, drawn in found.items()}
    return {"settings": rows, "beyond": beyond(found, GUIDED, [n for n in CONTROLS if n != "plain"], real)}


def filtering(replay: best_of.Replay, real: Reference) -> dict[str, Any]:
    """AUROC and filtering gain of every score, of finished pictures and on the way, over all candidates."""
    flat = {name: values.flatten(0, 1) for name, values in replay.pool.items()}
    bad, label = flat["log_p"].exp() < 0.5, flat["label"]
    judged = Judged(flat["features"], bad, torch.arange(len(bad)) % 2, label, real)
    rows = {}
    for scorer in Scorer:
        sign = 1 if DIRECTION_OF_SCORER[scorer] is Direction.HIGH_IS_BAD else -1
        for point in (0.25, 0.5, END):
            if (name := score_name(scorer, point)) in flat:
                rows[name] = judge_filter(judged, sign * flat[name])
    return {"images": len(bad), "bad": int(bad.sum()), "scores": rows}


def sheet(lab: Lab, settings: Sequence[Setting], path: Path) -> None:
    """The first candidates of each class, a row each; one block a setting, beside each other. Nothing is picked."""
    blocks = []
    for setting in settings:
        images = lab.shown(setting).unflatten(0, (-1, CANDIDATES))[:, :SHEET]
        pixels = ((images.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 3, 1, 4, 2)  # classes, H, columns, W, 3
        blocks.append(pixels.reshape(pixels.shape[0] * 32, SHEET * 32, 3).numpy())
        blocks.append(np.full((len(blocks[-1]), 16, 3), 255, np.uint8))
    picture = Image.fromarray(np.concatenate(blocks[:-1], axis=1))
    with replacing(path) as temporary:
        picture.resize((picture.width * 2, picture.height * 2), Image.Resampling.NEAREST).save(temporary, format="JPEG", quality=88)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=150, help="of each setting of guidance (default: %(default)s)")
    parser.add_argument("--size", type=int, default=50, help="images a chunk of guidance (default: %(default)s)")
    parser.add_argument("--prompts", type=int, default=20, help="with 8 candidates each, rounded up to tens (default: %(default)s)")
    parser.add_argument("--cfg", type=float, nargs="+", default=[1.0, 2.0], help="of the candidates (default: 1 and 2)")
    parser.add_argument("--model", type=Path, default=COLOUR_MODEL / "model.safetensors", help="or the checkpoint of a training")
    parser.add_argument("--judge", type=Path, default=COLOUR_MODEL / "judge.safetensors")
    parser.add_argument("--precision", choices=["bfloat16", "float32"], default="bfloat16")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--work", type=Path, default=Path("out/colour/lab"))
    parser.add_argument("--only", choices=["guidance", "candidates"], help="draw this part alone")
    parser.add_argument("--table", action="store_true", help="draw nothing further, make the table of what is there")
    a = parser.parse_args()
    network, scheduler, about = load_colour(a.model, a.device)
    judge, real, judge_about = load_judge(a.judge, a.device)
    lab = Lab(network, scheduler, judge, getattr(torch, a.precision), a.work, a.size)
    settings, chunks = [Setting(STEPS, cfg) for cfg in a.cfg], list(range(-(-a.prompts // PROMPTS)))
    if not a.table and a.only != "guidance":
        for index, setting in tqdm([(i, s) for i in chunks for s in settings], desc="Candidates"):
            lab.chunk(setting, index)
    if not a.table and a.only != "candidates":
        for place, name in tqdm([(p, n) for p in lab.places(a.images) for n in SETTINGS], desc="Guidance"):
            lab.guided(name, *place)
    chunks = list(itertools.takewhile(lambda i: all(lab.path(s, i).exists() for s in settings), chunks))
    found: dict[str, Any] = {}
    for setting in settings if chunks else ():
        replay = best_of.replayed(lab, setting, chunks)
        found[setting.name] = filtering(replay, real) | {"plans": best_of.table(replay, real), "until good": best_of.until_good(replay)}
    figures = {"model": about, "judge": judge_about, "seeds": SEEDS, "prompts": len(chunks) * PROMPTS, "precision": a.precision}
    figures |= guidance(lab, a.images, real) | {"candidates": found, "drawn_on": drawn_on(a.work.glob("*.safetensors"))}
    if chunks:
        sheet(lab, settings, RESULTS / "colour.jpg")
    tqdm.write(f"Wrote {write('colour', figures)}")


if __name__ == "__main__":
    main()
