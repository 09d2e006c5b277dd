"""ComfyUI host: how the images of an attempt are scored: when they are finished, or by what their own sampling tells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from comfy.model_patcher import ModelPatcher

from ....core.options import AleatoricOptions, DrawOptions, FreeOptions, InformationOptions, Quantity, Scorer
from ....core.pixelwise.free import check_steps
from ....core.result import Uncertainty, concatenate
from ....core.schedule import SigmaWindow
from ..estimate import estimate_latent
from ..information import prompt_information
from ..model import percent_to_sigma
from ..patch import attach, describe_sampling
from ..sampling.fingerprint import describe_model
from ..sampling.ksampler import Conditioning, KSample, Latent
from ..sampling.record import Record
from .best_of import check_scale
from .outcome import SearchOutcome


@dataclass(frozen=True)
class MeasuredLatent:
    """of: measures a finished latent."""

    of: Callable[[Latent], Uncertainty]

    def watch(self, run: KSample) -> ModelPatcher:
        """The model to sample with."""
        return run.model


@dataclass(frozen=True)
class Recorded:
    """A score that costs no call, over its own window, as Record Uncertainty records it."""

    free: Scorer
    record: Record = field(default_factory=Record)

    @property
    def options(self) -> FreeOptions:
        return FreeOptions(self.free.free)

    def watch(self, run: KSample) -> ModelPatcher:
        """The model to sample with. Raises ValueError where the run can't tell the score."""
        if self.free is Scorer.CONDITION_GAP:
            check_scale(run.cfg, run.model.model_options)
        window = SigmaWindow.resolve(self.options.steps, percent_to_sigma(run.model.get_model_object("model_sampling")))
        check_steps(
            self.options,
            sum(window.is_active(sigma) for sigma in run.sigmas().tolist()[:-1]),
            "Raise steps or denoise, or choose another scorer.",
        )
        return attach(run.model, self.record, self.options)

    def of(self, latent: Latent) -> Uncertainty:
        """Of what that model has sampled."""
        return self.record.of(latent["samples"])

    def of_search(self, run: KSample, found: SearchOutcome) -> Uncertainty:
        """The same of the images that a search has finished, in their order."""
        lane = found.chosen[0][0].lane
        told = [search.candidates[row].free.result(self.free) for search, row in found.chosen]
        info = {"host": "comfyui", **describe_model(run.model), **describe_sampling(lane.guider, lane.sampler, lane.sigmas)}
        joined = concatenate(told)
        return replace(joined, provenance=joined.provenance | info).cpu()


def measure_by(
    model: ModelPatcher, positive: Conditioning, negative: Conditioning, scorer: Scorer, samples: int, levels: int
) -> MeasuredLatent | Recorded:
    """As Prompt Information, Uncertainty Estimator and Record Uncertainty measure, so that their calibrations hold here too.

    Raises ValueError for an odd number of samples with the scorer information.
    """
    if scorer.free is not None:
        return Recorded(scorer)
    if scorer is Scorer.INFORMATION:
        options = InformationOptions(DrawOptions(samples, antithetic=True), levels=levels)
        return MeasuredLatent(lambda latent: prompt_information(model, positive, negative, latent, options).result)
    aleatoric = AleatoricOptions(DrawOptions(samples), quantity=Quantity(scorer.value))
    return MeasuredLatent(lambda latent: estimate_latent(model, positive, latent, aleatoric, levels))
