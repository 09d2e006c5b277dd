"""Several results as one: Combine Uncertainty."""

from __future__ import annotations

from comfy_api.latest import io

from ..core.options.limits import COMBINE_WEIGHT
from ..core.result import Uncertainty as Result
from ..core.selection.combine import combine
from .sockets import Uncertainty, number_input, schema


class CombineUncertainty(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "UQ_CombineUncertainty",
            "Combine Uncertainty",
            "Joins up to four results for the same images into one: scores by rank, 0 = best and 1 = worst of the batch, so that "
            "units and directions don't matter. Costs nothing: changing a weight doesn't sample again.",
            inputs=inputs(),
            outputs=[Uncertainty.Output(display_name="uncertainty", tooltip="High = bad. Compares images of this batch only.")],
            search_aliases=["combine", "merge", "join", "weights"],
        )

    @classmethod
    def execute(
        cls,
        uncertainty_1: Result,
        uncertainty_2: Result,
        uncertainty_3: Result | None = None,
        uncertainty_4: Result | None = None,
        weight_1: float = 1.0,
        weight_2: float = 1.0,
        weight_3: float = 1.0,
        weight_4: float = 1.0,
    ) -> io.NodeOutput:
        given = [uncertainty_1, uncertainty_2, uncertainty_3, uncertainty_4]
        used = [(u, w) for u, w in zip(given, [weight_1, weight_2, weight_3, weight_4], strict=True) if u is not None]
        return io.NodeOutput(combine([u for u, _ in used], [w for _, w in used]))


def inputs() -> list[io.Input]:
    return [
        Uncertainty.Input("uncertainty_1", tooltip="A result for the batch, of any quantity and direction."),
        Uncertainty.Input("uncertainty_2", tooltip="Another result for the same images."),
        Uncertainty.Input("uncertainty_3", optional=True, tooltip="A third, if any."),
        Uncertainty.Input("uncertainty_4", optional=True, tooltip="A fourth, if any."),
        *(weight_input(i) for i in range(1, 5)),
    ]


def weight_input(number: int) -> io.Input:
    tooltip = f"How much uncertainty_{number} counts beside the others; 0 = not at all."
    return number_input(f"weight_{number}", COMBINE_WEIGHT, tooltip, optional=True)


NODES = [CombineUncertainty]
