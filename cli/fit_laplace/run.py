"""The fit-laplace command: a folder of images becomes a model's last-layer posterior, in a run that can be stopped and gone on with."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from pathlib import Path

from ...core.last_layer.laplace import Laplace
from ...hosts.diffusers.last_layer.laplace import fit
from ...hosts.diffusers.load import pipeline_kind
from ..shared.checks import DEMO
from ..shared.device import check_device
from ..shared.progress import progress_bar
from .options import FitOptions
from .samples import collect_samples, encode_batches, load_captioned_model, partial_path

log = logging.getLogger(__name__)
SAVE_EVERY = 10.0  # seconds


def run(options: FitOptions) -> Laplace:
    """Fit, and write to ``out``; returns the fit."""
    check_device(options.device)
    if options.model != DEMO:
        pipeline_kind(options.model)
    samples = collect_samples(options)
    laplace = options.laplace(len(samples))
    partial = partial_path(options, samples, laplace)
    earlier = Laplace.load(partial) if partial.exists() else None
    if earlier is not None:
        log.info("Going on after %d of %d images.", earlier.samples, len(samples))
    log.info("To fit: %d images, %d model calls each.", len(samples), laplace.draws)
    model_of = load_captioned_model(options)
    model, unfinished = model_of(""), UnfinishedFit(partial, earlier)
    with progress_bar("Fit", len(samples), "image", done=unfinished.seen) as bar:
        data = encode_batches(samples, model_of, options.batch, unfinished.seen)

        def progress(now: Laplace) -> None:
            unfinished.update(now)
            bar.update(now.samples - bar.n)

        try:
            fitted = fit(model.network, model.scheduler, data, laplace, options.layer, earlier, progress)
        finally:
            unfinished.save()
    fitted.save(options.out)
    partial.unlink(missing_ok=True)
    log.info("Fitted the last layer %s on %d images: %s", fitted.identity.name, fitted.samples, options.out)
    return fitted


@dataclass
class UnfinishedFit:
    """What is done so far, written now and then, and when the run ends in any way."""

    path: Path
    latest: Laplace | None
    saved_at: float = field(default_factory=time.monotonic)
    is_saved: bool = True

    @property
    def seen(self) -> int:
        return self.latest.samples if self.latest else 0

    def update(self, now: Laplace) -> None:
        self.latest, self.is_saved = now, False
        if time.monotonic() - self.saved_at > SAVE_EVERY:
            self.save()

    def save(self) -> None:
        if self.latest is not None and not self.is_saved:
            self.latest.save(self.path)
            self.is_saved, self.saved_at = True, time.monotonic()
