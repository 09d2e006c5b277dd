"""What the fit-laplace command is asked for, checked before anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...core.options import Covariance, LaplaceOptions, bounds, check_fields
from ...core.options.limits import BATCH, SEED
from ..shared.checks import DEMO, check_condition, check_new_file
from ..shared.inputs.loading import LoadingOptions

SUGGESTED_SAMPLES = 1000  # noisy copies that tell the shape of the posterior
WIDTH_SAMPLES = 10_000  # the default width is that of so many, however many there are: what was measured to find bad images


@dataclass(frozen=True)
class FitOptions:
    """draws, noise_variance None: chosen by how many images there are."""

    folder: Path | None
    out: Path
    model: str = DEMO
    label: int | None = None
    prompt: str = ""
    draws: int | None = None
    covariance: Covariance = LaplaceOptions.covariance
    prior_precision: float = bounds(LaplaceOptions, "prior_precision").field()
    noise_variance: float | None = None
    layer: str = ""
    seed: int = SEED.field()
    batch: int = BATCH.field()
    device: str = "cpu"
    loading: LoadingOptions = LoadingOptions()

    def __post_init__(self) -> None:
        check_fields(self)
        self.laplace(SUGGESTED_SAMPLES)  # bad numbers are refused now, not after the model was loaded
        check_new_file(self.out)
        check_condition(self.model, self.label, bool(self.prompt))
        self.loading.check(self.model)
        if self.model != DEMO and self.folder is None:
            raise ValueError("The folder of images is missing: give one with images like those that the model was trained on.")

    def laplace(self, images: int) -> LaplaceOptions:
        """For a fit on so many images."""
        draws = self.draws or max(1, -(-SUGGESTED_SAMPLES // max(images, 1)))
        variance = images * draws / WIDTH_SAMPLES if self.noise_variance is None else self.noise_variance
        return LaplaceOptions(self.covariance, self.prior_precision, variance, draws, self.seed)
