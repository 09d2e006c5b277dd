"""The demo: draw digits with the bundled model, score them while they are drawn, filter, guide, and show it all."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from ...core.demo.extractor import DigitClassifier, load_extractor, load_reference
from ...core.files import replacing
from ...core.metrics.features import FeatureStatistics, frechet_distance
from ...core.metrics.scores import Undefined, auroc, bootstrap_interval
from ...core.options import AleatoricOptions, DrawOptions, FilterRule, GuidanceOptions, Quantity
from ...core.result import Uncertainty, concatenate
from ...core.selection.filtering import Decision, decide
from ...hosts.diffusers.demo import CLASSES, attach, load_demo, sample, starting_noise
from ..shared.device import check_device
from ..shared.progress import progress_bar
from .gallery import GuidedImages, write_gallery
from .options import DemoOptions

log = logging.getLogger(__name__)
BATCH = 32
GUIDED_STEPS = 16  # guided at several strengths: fewer steps keep the demo under three minutes on two cores
GUIDED_DRAWS = 2


@dataclass(frozen=True)
class JudgedImages:
    """Images (B, 1, 32, 32), the class asked for and the probability that the bundled classifier gives it."""

    images: Tensor
    labels: Tensor
    asked: Tensor

    @property
    def good(self) -> Tensor:
        return self.asked > 0.5


class Studio:
    """The bundled model, its judge, and one starting noise and class per image."""

    def __init__(self, options: DemoOptions) -> None:
        self.options = options
        self.network, self.scheduler = load_demo(options.device)
        self.judge: DigitClassifier = load_extractor()
        self.noise = starting_noise(options.images, options.seed).to(options.device)
        self.labels = (torch.arange(options.images) % CLASSES).to(options.device)
        self.batches = [slice(i, i + BATCH) for i in range(0, options.images, BATCH)]

    def draw(self, part: slice, steps: int, bar: tqdm) -> Tensor:
        count = len(self.noise[part])
        inputs = self.network, self.scheduler, self.noise[part], self.labels[part]
        return sample(*inputs, steps, progress=lambda _: bar.update(count)).cpu()

    def judge_images(self, images: Tensor) -> JudgedImages:
        labels = self.labels.cpu()
        asked = self.judge(images).softmax(dim=1)[torch.arange(len(images)), labels]
        return JudgedImages(images, labels, asked)

    def statistics(self, images: Tensor) -> FeatureStatistics:
        return FeatureStatistics.of(self.judge.features(images), self.judge.name)


def run(options: DemoOptions) -> dict[str, Any]:
    """Do it all and write index.html, PNGs and results.json to ``options.out``; returns what results.json holds."""
    check_device(options.device)
    studio = Studio(options)
    judged, uncertainty, noise_scores, figures = draw_and_estimate(studio)
    decision = decide(uncertainty.scores, uncertainty.direction, FilterRule.DROP_WORST_PERCENT, options.drop)
    guided, guided_figures = draw_guided(studio)
    results = figures | verdict(judged, uncertainty, noise_scores, decision) | guided_figures
    write_gallery(options.out, judged.images, judged.labels, judged.asked, uncertainty, decision, guided, results)
    with replacing(options.out / "results.json") as path:
        path.write_text(json.dumps(results, indent=1), encoding="utf-8")
    report(results, options.out)
    return results


def draw_and_estimate(studio: Studio) -> tuple[JudgedImages, Uncertainty, Uncertainty, dict[str, Any]]:
    """Every batch twice from the same noise, without and with estimation, so that cost and promise can be seen."""
    options = studio.options
    record = AleatoricOptions(draws=DrawOptions(samples=options.samples, seed=options.seed))
    images, results, noise_results = [], [], []
    identical, rows, seconds = True, 0, {"plain": 0.0, "estimated": 0.0}
    with progress_bar("Draw, draw and estimate", 2 * options.images * options.steps, "step") as bar:
        for part in studio.batches:
            start = time.perf_counter()
            plain = studio.draw(part, options.steps, bar)
            middle = time.perf_counter()
            with attach(studio.network, studio.scheduler, record=record) as run:
                watched = studio.draw(part, options.steps, bar)
            seconds["plain"] += middle - start
            seconds["estimated"] += time.perf_counter() - middle
            identical &= torch.equal(plain, watched)
            rows += run.network_rows
            images.append(watched)
            results.append(run.result().cpu())
            noise_results.append(run.result(Quantity.NOISE).cpu())
    uncertainty = concatenate(results)
    figures = {
        "images": options.images,
        "steps": options.steps,
        "samples": options.samples,
        "seed": options.seed,
        "device": options.device,
        "command": options.command,
        "torch": torch.__version__,
        "identical_with_estimation": identical,
        "nfe_sampling": rows / options.images,
        "nfe_estimation": uncertainty.nfe,
        "seconds_plain": round(seconds["plain"], 2),
        "seconds_estimated": round(seconds["estimated"], 2),
    }
    return studio.judge_images(torch.cat(images)), uncertainty, concatenate(noise_results), figures


def draw_guided(studio: Studio) -> tuple[list[GuidedImages], dict[str, Any]]:
    """The same noises without guidance and at each strength."""
    options = studio.options
    real = load_reference().statistics
    guided, rows, seconds, nfe = [], [], 0.0, 0.0
    strengths = [0.0, *(s for s in options.strengths if s != 0)]
    with progress_bar("Guide at several strengths", len(strengths) * options.images * GUIDED_STEPS, "step") as bar:
        for strength in strengths:
            guide = GuidanceOptions(strength=strength, draws=DrawOptions(samples=GUIDED_DRAWS, seed=options.seed))
            start, parts = time.perf_counter(), []
            for part in studio.batches:
                with attach(studio.network, studio.scheduler, guide=guide) as run:
                    parts.append(studio.draw(part, GUIDED_STEPS, bar))
            if strength != 0:
                seconds, nfe = seconds + time.perf_counter() - start, run.guidance_nfe
            judged = studio.judge_images(torch.cat(parts))
            guided.append(GuidedImages(strength, judged.images, judged.asked))
            fid = frechet_distance(real, studio.statistics(judged.images))
            rows.append({"strength": strength, "agreement": share(judged.good), "fid": round(fid, 3)})
    return guided, {
        "nfe_guidance": nfe,
        "seconds_guided": round(seconds, 2),
        "guided_steps": GUIDED_STEPS,
        "fid_features": real.extractor,
        "guided": rows,
    }


def verdict(judged: JudgedImages, uncertainty: Uncertainty, noise: Uncertainty, decision: Decision) -> dict[str, Any]:
    """What the filter did, and how well each raw score tells bad images (p of the asked class at most 0.5); the ink is a control."""
    bad = ~judged.good
    ink = judged.images.flatten(1).mean(dim=1)
    scores = {"denoised": uncertainty.scores, "noise": noise.scores, "control_brightness": ink}
    figures: dict[str, Any] = {"bad": int(bad.sum())}
    for name, score in scores.items():
        try:
            low, high = bootstrap_interval(auroc, score, bad)[:2]
            figures[f"auroc_bad_{name}"] = round(auroc(score, bad), 4)
            figures[f"auroc_bad_{name}_interval"] = [round(low, 4), round(high, 4)]
        except Undefined:  # all good or all bad: there is nothing to tell apart
            figures[f"auroc_bad_{name}"] = None
    return figures | {
        "quantity": uncertainty.quantity,
        "direction": uncertainty.direction.value,
        "threshold": decision.threshold,
        "accepted": len(decision.accepted),
        "rejected": len(decision.rejected),
        "rejected_indexes": list(decision.rejected),
        "agreement_all": share(judged.good),
        "agreement_accepted": share(judged.good[list(decision.accepted)]),
        "agreement_rejected": share(judged.good[list(decision.rejected)]),
    }


def share(good: Tensor) -> float | None:
    """Share of images that show what was asked for; None for no image."""
    return round(float(good.float().mean()), 4) if len(good) else None


def report(results: dict[str, Any], out: Path) -> None:
    r = results
    log.info("Bit-identical with estimation on: %s", "yes" if r["identical_with_estimation"] else "NO")
    log.info("Kept %d of %d images. Showing what was asked for: %s of all, %s of the kept, %s of the rejected.",
             r["accepted"], r["images"], r["agreement_all"], r["agreement_accepted"], r["agreement_rejected"])  # fmt: skip
    log.info("Cost: %g + %g model calls per image, %.1f s without and %.1f s with estimation.",
             r["nfe_sampling"], r["nfe_estimation"], r["seconds_plain"], r["seconds_estimated"])  # fmt: skip
    log.info("Look at %s", (out / "index.html").resolve().as_uri())
