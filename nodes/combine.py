"""Several results as one: Combine Uncertainty."""

from __future__ import annotations

from dataclasses import replace

from comfy_api.latest import io

from ..core.options.limits import COMBINE_WEIGHT
from ..core.result import Uncertainty as Result
from ..core.selection.combine import combine
from ..core.selection.learning import learn_weights
from ..hosts.comfyui.batch import parse_indexes
from .sockets import Uncertainty, number_input, schema


class CombineUncertainty(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "UQ_CombineUncertainty",
            "Combine Uncertainty",
            "Joins up to four results for the same images into one: scores by rank, 0 = best and 1 = worst of the batch, so that "
            "units and directions don't matter. Learns the weights from a few images that you accept and reject. "
            "Costs nothing: changing a weight doesn't sample again.",
            inputs=inputs(),
            outputs=[
                Uncertainty.Output(display_name="uncertainty", tooltip="High = bad. Compares images of this batch only."),
                io.String.Output(display_name="report", tooltip="The weights, and how well what was learned tells images apart."),
            ],
            search_aliases=["combine", "merge", "join", "weights", "learn", "labels"],
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
        accepted_indexes: str = "",
        rejected_indexes: str = "",
    ) -> io.NodeOutput:
        given = [uncertainty_1, uncertainty_2, uncertainty_3, uncertainty_4]
        used = [(u, w) for u, w in zip(given, [weight_1, weight_2, weight_3, weight_4], strict=True) if u is not None]
        results, weights = [u for u, _ in used], [w for _, w in used]
        report = f"Weights {', '.join(f'{w:g}' for w in weights)}, as set."
        if accepted_indexes.strip() or rejected_indexes.strip():
            labels = {"accepted_indexes": accepted_indexes, "rejected_indexes": rejected_indexes}
            learned = learn_weights(results, *(parse_indexes(name, text, len(uncertainty_1)) for name, text in labels.items()))
            weights, report = list(learned.weights), str(learned)
        joined = combine(results, weights)
        joined = replace(joined, provenance=joined.provenance | {"weights": report})
        return io.NodeOutput(joined, report, ui={"text": [report]})


def inputs() -> list[io.Input]:
    return [
        Uncertainty.Input("uncertainty_1", tooltip="A result for the batch, of any quantity and direction."),
        Uncertainty.Input("uncertainty_2", tooltip="Another result for the same images."),
        Uncertainty.Input("uncertainty_3", optional=True, tooltip="A third, if any."),
        Uncertainty.Input("uncertainty_4", optional=True, tooltip="A fourth, if any."),
        *(weight_input(i) for i in range(1, 5)),
        label_input("accepted_indexes", "good"),
        label_input("rejected_indexes", "bad"),
    ]


def weight_input(number: int) -> io.Input:
    tooltip = f"How much uncertainty_{number} counts beside the others; 0 = not at all."
    return number_input(f"weight_{number}", COMBINE_WEIGHT, tooltip, optional=True)


def label_input(name: str, kind: str) -> io.Input:
    tooltip = (
        f'Images of this batch that you find {kind}, counted from 0, such as "0,2,5". With three or more of each kind the weights are '
        "learned, and those above are not used. Leave both empty to set the weights by hand."
    )
    return io.String.Input(name, default="", optional=True, tooltip=tooltip)


NODES = [CombineUncertainty]
