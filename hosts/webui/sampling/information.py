"""WebUI host: prompt information of finished latents, under the conditions of the sampler's last step."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from ....core.options import InformationOptions
from ....core.pixelwise.information import compare
from ....core.pixelwise.quadrature import window_quadrature
from ....core.result import Uncertainty
from .run import SamplingRun, fitting


def measure_information(run: SamplingRun, latents: Tensor, options: InformationOptions) -> Uncertainty:
    """i(x; prompt) of finished latents, beside the negative prompt; low = bad. NFE: 2 x samples x levels.

    Raises ValueError where the sampler has told no condition, RuntimeError for what fails in the model.
    """
    if run.step is None:
        raise ValueError("The sampler took no step, so there is no condition to measure by; use more steps.")
    conditional, reference = run.step.conditional, run.step.reference()
    quadrature = window_quadrature(options, run.resolve, run.process)
    fits = replace(options, draws=fitting(options.draws, conditional, latents))
    (information,) = compare(reference, [conditional], latents, quadrature, run.process, fits)
    nfe = options.draws.samples * sum(each.passes(sigma) for each in (conditional, reference) for sigma in quadrature.sigmas)
    return replace(information.result, nfe=float(nfe), provenance=information.result.provenance | {"host": "webui"}).cpu()
