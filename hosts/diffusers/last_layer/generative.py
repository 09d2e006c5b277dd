"""diffusers host: generative uncertainty of a pipeline's call, or of any sampling function.

draw = pipeline_draw(pipe, {"prompt": "a cat"}, seeds=[0, 1])
images, generated = generative(draw, 30, pipe, laplace, clip_encoder("clip-vit-base-patch32"))
generated.result.scores
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from diffusers import DiffusionPipeline
from torch import Tensor, nn

from ....core.last_layer.generative import Generated, ImageEncoder, check_images, estimate_generative
from ....core.last_layer.laplace import Laplace
from ....core.options import GenerativeOptions
from ..repeatable import check_repeatable
from ..watch import network_of

Draw = Callable[[int], Tensor]


@torch.no_grad()
def generative(
    draw: Draw,
    steps: int,
    pipe: DiffusionPipeline | nn.Module,
    laplace: Laplace,
    encode: ImageEncoder,
    options: GenerativeOptions | None = None,
) -> tuple[Tensor, Generated]:
    """The images (B, ...) of the trained weights in ``steps`` steps, and their uncertainty.

    draw: steps -> images (B, ...), from the same noise and condition whenever it is called, by the network of ``pipe``.
    NFE beyond plain sampling: members x steps; where options.member_steps differs from steps, (members + 1) x member_steps.
    Raises what ``core.last_layer.generative.estimate_generative`` raises, and ValueError for a network that is not understood.
    """
    options, network = options or GenerativeOptions(), network_of(pipe)
    check_repeatable(network)
    images = check_images(draw(steps))
    member_steps = options.member_steps or steps
    baseline = images if member_steps == steps else None
    generated = estimate_generative(lambda: draw(member_steps), encode, network, laplace, options, baseline)
    provenance = {"host": "diffusers", "steps": str(steps)}
    return images, replace(generated, result=replace(generated.result, provenance=generated.result.provenance | provenance))


def pipeline_draw(pipe: DiffusionPipeline, inputs: Mapping[str, Any], seeds: Sequence[int]) -> Draw:
    """A pipeline's call as such a function: images (B, 3, H, W) in [0, 1], or what ``inputs["output_type"]`` asks for.

    inputs: what the call is given beside steps and generators.  seeds: one for each image, so that no image depends on its neighbours.
    """

    def draw(steps: int) -> Tensor:
        generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
        call = {"output_type": "pt", **inputs, "num_inference_steps": steps, "generator": generators}
        return torch.as_tensor(pipe(**call)[0])

    return draw
