"""The filtering benchmark on any saved diffusers pipeline: python benchmarks/quality/filtering.py --model FOLDER --prompts FILE

Every prompt is drawn from the seeds 0, 1, .., and watched by every method that the pipeline allows, all at once; those left out, and
why, stand in the results. Nobody judges such images, so there is no AUROC; FID, precision and recall of the best 5/6 of each prompt's
images are given where an encoder and a folder of real images are. Stops and resumes by batches.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DiffusionPipeline
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from uncertainty_nodes.benchmarks.shared.common import kept, write
from uncertainty_nodes.benchmarks.shared.judging import Judged, judge_filter
from uncertainty_nodes.benchmarks.shared.methods import BAYESDIFF, GENERATIVE
from uncertainty_nodes.benchmarks.shared.pool import DEFAULT, LAST, scored
from uncertainty_nodes.core.demo.extractor import Reference
from uncertainty_nodes.core.last_layer.generative import ImageEncoder
from uncertainty_nodes.core.last_layer.laplace import Laplace
from uncertainty_nodes.core.metrics.features import FeatureStatistics
from uncertainty_nodes.core.options import AleatoricOptions, InformationOptions, Quantity
from uncertainty_nodes.core.result import Uncertainty
from uncertainty_nodes.hosts.diffusers.attach import attach
from uncertainty_nodes.hosts.diffusers.dropout import mc_dropout
from uncertainty_nodes.hosts.diffusers.images import measure, prepare
from uncertainty_nodes.hosts.diffusers.last_layer.bayesdiff import bayesdiff
from uncertainty_nodes.hosts.diffusers.last_layer.generative import generative, pipeline_draw
from uncertainty_nodes.hosts.diffusers.last_layer.image_encoders import clip_encoder
from uncertainty_nodes.hosts.diffusers.load import SD, SD3, SDXL

Watch = Callable[[], AbstractContextManager[Any]]
Batch = tuple[str, list[int]]  # prompt and seeds


@dataclass(frozen=True)
class Bench:
    """A loaded pipeline. laplace, encode: for the methods that need them."""

    pipe: DiffusionPipeline
    steps: int
    work: Path
    laplace: Laplace | None = None
    encode: ImageEncoder | None = None

    def watches(self) -> tuple[dict[str, Watch], dict[str, str]]:
        """What can watch a sampling, by name, and why the others can't."""
        wanted: dict[str, Watch] = {
            "BayesDiff": lambda: bayesdiff(self.pipe, self.laplace, options=BAYESDIFF),  # first: it looks at the last layer's last pass
            "": lambda: attach(self.pipe, record=AleatoricOptions(window=DEFAULT)),
            ", last steps": lambda: attach(self.pipe, record=AleatoricOptions(window=LAST)),
            "MC dropout": lambda: mc_dropout(self.pipe),
        }
        left_out = {}
        if self.laplace is None:
            left_out = dict.fromkeys(["BayesDiff", "generative uncertainty"], "no Laplace fit was given")
            del wanted["BayesDiff"]
        if self.laplace and self.encode is None:
            left_out["generative uncertainty"] = "no encoder was given"
        if type(self.pipe).__name__ not in (SD, SDXL, SD3):
            left_out["prompt information"] = f"a {type(self.pipe).__name__} has conditions that are not known"
        for name in list(wanted):
            try:
                with wanted[name]():
                    pass
            except ValueError as error:
                left_out[name] = str(error)
                del wanted[name]
        return wanted, left_out

    def draw(self, prompt: str, seeds: list[int], steps: int) -> Tensor:
        """(B, 3, H, W) in [0, 1]"""
        return pipeline_draw(self.pipe, {"prompt": [prompt] * len(seeds)}, seeds)(steps).float().cpu()

    def watched(self, watches: dict[str, Watch], prompt: str, seeds: list[int]) -> dict[str, Tensor]:
        """The images, and what every watcher made of their one sampling; the watchers don't see each other's passes."""
        with ExitStack() as blocks:
            runs = {name: blocks.enter_context(watch()) for name, watch in watches.items()}
            images = self.draw(prompt, seeds, self.steps)
        results: dict[str, Uncertainty] = {}
        for name, run in runs.items():
            results |= {f"{q.value}{name}": run.result(q) for q in Quantity} if name in ("", ", last steps") else {name: run.result()}
        if self.laplace and self.encode:
            drawn = [images]  # what is asked for first

            def draw(steps: int) -> Tensor:
                return drawn.pop() if drawn else self.draw(prompt, seeds, steps)

            found = generative(draw, self.steps, self.pipe, self.laplace, self.encode, GENERATIVE)
            results["generative uncertainty"] = found[1].result
        return {"images": images} | timed(results)

    def information(self, images: Tensor, prompt: str) -> dict[str, Tensor]:
        """After all drawing, since this turns the pipeline's VAE to float32."""
        model = prepare(self.pipe, prompt)
        pictures = [Image.fromarray((255 * image.permute(1, 2, 0)).round().byte().numpy()) for image in images]
        found, _ = measure(model, [model.fitted(p) for p in pictures], [None] * len(pictures), InformationOptions(), 0)
        return timed({"prompt information": found})


def timed(results: dict[str, Uncertainty]) -> dict[str, Tensor]:
    seconds = {f"seconds {name}": torch.tensor([r.seconds / len(r)], dtype=torch.float64) for name, r in results.items()}
    return scored(results) | seconds


def features_of(folder: Path, encode: ImageEncoder, name: str) -> Reference:
    """Statistics of the real images in a folder, one by one, since they may differ in size."""
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in (".png", ".jpg", ".jpeg", ".webp"))
    pictures = (np.asarray(Image.open(p).convert("RGB")) for p in paths)
    features = torch.cat(
        [encode(torch.from_numpy(p.copy()).permute(2, 0, 1)[None] / 255).cpu() for p in tqdm(pictures, desc="Real images")]
    )
    nothing = torch.empty(0)
    return Reference(FeatureStatistics.of(features, name), features, nothing, nothing, nothing)


def table(parts: list[dict[str, Tensor]], pool: Judged | None) -> dict[str, Any]:
    """By score: its values, what they cost, and what filtering by it does where features are given."""
    rows = {}
    for key in (k for k in parts[0] if k.startswith("badness ")):
        name = key.removeprefix("badness ")
        badness = torch.cat([p[key] for p in parts])
        costs = {kind: round(float(torch.cat([p[f"{kind} {name}"] for p in parts]).mean()), 4) for kind in ("nfe", "seconds")}
        rows[name] = costs | {"badness": [float(f"{b:.6g}") for b in badness]} | (judge_filter(pool, badness) if pool else {})
    return rows


@torch.no_grad()
def run(a: Any) -> Path:
    """Draw, score, and write results/filtering_model.json. a: the command's arguments."""
    dtype = torch.float16 if torch.device(a.device).type == "cuda" else torch.float32
    pipe = DiffusionPipeline.from_pretrained(a.model, local_files_only=True, use_safetensors=True, torch_dtype=dtype).to(a.device)
    pipe.set_progress_bar_config(disable=True)
    encode = clip_encoder(a.encoder, a.device) if a.encoder else None
    bench = Bench(pipe, a.steps, a.work, Laplace.load(a.laplace) if a.laplace else None, encode)
    watches, left_out = bench.watches()
    prompts = [line.strip() for line in a.prompts.read_text(encoding="utf-8").splitlines() if line.strip()]
    batches: list[Batch] = [(p, list(range(s, min(s + a.size, a.images)))) for p in prompts for s in range(0, a.images, a.size)]

    def each(job: str, make: Callable[[Batch, int], dict[str, Tensor]]) -> list[dict[str, Tensor]]:
        options = (a.model.name, a.steps, sorted(watches), str(a.laplace), str(a.encoder))
        return [
            kept(a.work / job / f"{place}.safetensors", (*options, *batch), lambda b=batch, p=place: make(b, p))
            for place, batch in enumerate(tqdm(batches, desc=job))
        ]

    parts = each("drawn", lambda batch, place: bench.watched(watches, *batch))
    if "prompt information" not in left_out:
        informed = each("information", lambda batch, place: bench.information(parts[place]["images"], batch[0]))
        parts = [drawn | found for drawn, found in zip(parts, informed, strict=True)]
    pool = None
    if encode is not None and a.reference is not None:
        features = torch.cat([encode(p["images"]).cpu() for p in parts])
        prompt = torch.tensor([prompts.index(p) for p, seeds in batches for _ in seeds])
        nothing = torch.zeros(len(features), dtype=torch.bool)
        pool = Judged(features, nothing, prompt, nothing.long(), features_of(a.reference, encode, a.encoder.name))
    asked = {"model": type(pipe).__name__, "prompts": prompts, "images": sum(len(s) for _, s in batches), "steps": a.steps}
    return write("filtering_model", asked | {"methods": table(parts, pool), "left_out": left_out})
