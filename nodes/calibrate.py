"""What scores were like in earlier runs: Calibrate and Load Calibration, for the rule calibrated of Sample Filter."""

from __future__ import annotations

from comfy_api.latest import io

from ..core.result import Uncertainty as Result
from ..core.selection.calibration import Calibration as History
from ..hosts.comfyui.batch import join_scores
from ..hosts.comfyui.files import find, names, stamp, target
from .sockets import Calibration, Uncertainty, checked, schema

KIND = "calibration"


class Calibrate(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "UQ_Calibrate",
            "Calibrate",
            "Collects scores over many runs, so that Sample Filter can judge a single image by what is usual. "
            "Each run adds its scores to the file. Costs nothing.",
            inputs=[
                Uncertainty.Input("uncertainty", tooltip="Results of the kind that shall be judged: same model, same settings."),
                io.String.Input(
                    "name",
                    default="scores",
                    tooltip="The file in output/uncertainty/calibration that collects them; empty = this run alone.",
                ),
            ],
            outputs=[Calibration.Output(display_name="calibration", tooltip="All scores of the file, for Sample Filter.")],
            is_input_list=True,
            is_output_node=True,
            search_aliases=["calibration", "threshold"],
        )

    @classmethod
    def validate_inputs(cls, name: list[str | None]) -> bool | str:
        return checked(lambda: name[0] and target(KIND, name[0]))

    @classmethod
    def execute(cls, uncertainty: list[Result], name: list[str]) -> io.NodeOutput:
        scores, direction, quantity = join_scores(uncertainty)
        history = History.fit([scores], direction, quantity, [uncertainty[0].provenance])
        if name[0]:
            path = target(KIND, name[0])
            if path.is_file():
                history = History.load(path).merge(history)
            history.save(path)
        return io.NodeOutput(history, ui={"text": [f"{len(history)} scores of {quantity}"]})


class LoadCalibration(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "UQ_LoadCalibration",
            "Load Calibration",
            "Reads the scores that Calibrate collected. Costs nothing.",
            inputs=[
                io.Combo.Input("name", names(KIND), tooltip="A file of output/uncertainty/calibration or models/uncertainty/calibration.")
            ],
            outputs=[Calibration.Output(display_name="calibration", tooltip="For Sample Filter, rule calibrated.")],
            search_aliases=["calibration", "threshold"],
        )

    @classmethod
    def validate_inputs(cls, name: str | None) -> bool | str:
        try:
            find(KIND, name or "scores")
        except (FileNotFoundError, ValueError) as error:
            return name is None or str(error)  # None: connected
        return True

    @classmethod
    def fingerprint_inputs(cls, name: str) -> str:
        return stamp(KIND, name)

    @classmethod
    def execute(cls, name: str) -> io.NodeOutput:
        return io.NodeOutput(History.load(find(KIND, name)))


NODES = [Calibrate, LoadCalibration]
