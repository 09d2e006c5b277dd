"""The fit-laplace command: a folder of images becomes a model's last-layer posterior, in a run that can be stopped and gone on with."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...core.files import remove_leftovers
from ...core.last_layer.fit import SampleNotFinite
from ...core.last_layer.laplace import Laplace
from ...hosts.diffusers.last_layer.laplace import fit_laplace
from ...hosts.diffusers.load import pipeline_kind
from ..shared.checks import DEMO
from ..shared.device import check_device
from ..shared.pictures import leave_out
from ..shared.progress import progress_bar
from .options import FitOptions
from .samples import ModelOf, Sample, collect_samples, encode_batches, load_captioned_model, partial_path

log = logging.getLogger(__name__)
SAVE_EVERY = 10.0  # seconds


def run(options: FitOptions) -> Laplace:
    """Fit, and write to ``out``; returns the fit."""
    check_device(options.device)
    if options.model != DEMO:
        pipeline_kind(options.model, options.loading.setup())
    samples, attempts = collect_samples(options), [UnfinishedFit()]
    model_of = load_captioned_model(options)
    while True:
        attempts.append(start_attempt(options, samples, attempts[-1]))
        try:
            fitted = fit_samples(options, samples, model_of, attempts[-1])
            break
        except SampleNotFinite as error:
            leave_out(samples.pop(error.index).name, "gives values that are not finite")
    fitted.save(options.out)
    remove_leftovers(options.out)
    for attempt in attempts:
        if attempt.path is not None:
            attempt.path.unlink(missing_ok=True)
            remove_leftovers(attempt.path)
    log.info("Fitted the last layer %s on %d images: %s", fitted.identity.name, fitted.samples, options.out)
    return fitted


@dataclass
class UnfinishedFit:
    """What is done so far, written now and then, and when the run ends in any way.

    whole_batches: the same after the last whole batch: so far a fit without one of the later images is this one too.
    """

    path: Path | None = None
    latest: Laplace | None = None
    whole_batches: Laplace | None = None
    saved_at: float = field(default_factory=time.monotonic)
    is_saved: bool = True

    @property
    def samples(self) -> int:
        return self.latest.samples if self.latest else 0

    def update(self, now: Laplace, batch: int) -> None:
        self.latest, self.is_saved = now, False
        if now.samples % batch == 0:
            self.whole_batches = now
        if time.monotonic() - self.saved_at > SAVE_EVERY:
            self.save()

    def save(self) -> None:
        if self.path is not None and self.latest is not None and not self.is_saved:
            self.latest.save(self.path)
            self.is_saved, self.saved_at = True, time.monotonic()


def start_attempt(options: FitOptions, samples: Sequence[Sample], before: UnfinishedFit) -> UnfinishedFit:
    """A fit of these samples: gone on with where an earlier run left it, or an attempt with one image more."""
    wanted = options.laplace(len(samples))
    path = partial_path(options, samples, wanted)
    earlier = Laplace.load(path) if path.exists() else before.whole_batches
    if earlier is not None and earlier.options.draws != wanted.draws:
        earlier = None
    if path.exists():
        log.info("Going on after %d of %d images.", earlier.samples if earlier else 0, len(samples))
    return UnfinishedFit(path, earlier, earlier)


def fit_samples(options: FitOptions, samples: Sequence[Sample], model_of: ModelOf, unfinished: UnfinishedFit) -> Laplace:
    """Raises SampleNotFinite for a sample that can't be learned from."""
    wanted, model = options.laplace(len(samples)), model_of("")
    log.info("To fit: %d images, %d model calls each.", len(samples), wanted.draws)
    with progress_bar("Fit", len(samples), "image", done=unfinished.samples) as bar:
        data = encode_batches(samples, model_of, options.batch, unfinished.samples)

        def progress(now: Laplace) -> None:
            unfinished.update(now, options.batch)
            bar.update(now.samples - bar.n)

        try:
            return fit_laplace(model.network, model.scheduler, data, wanted, options.layer, unfinished.latest, progress)
        finally:
            unfinished.save()
