"""Looking at a result: Uncertainty Heatmap and Uncertainty Report."""

from __future__ import annotations

from comfy_api.latest import io

from ..core.options import Colormap, Direction, HeatmapOptions
from ..core.result import Uncertainty as Result
from ..core.view.heatmap import heatmap, worst_mask
from ..core.view.summary import summarize
from ..hosts.comfyui.batch import parse_indexes
from ..hosts.comfyui.view.report import show, write_report
from .sockets import Uncertainty, option_input, schema


class Heatmap(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        default = HeatmapOptions()
        return schema(
            "UQ_Heatmap",
            "Uncertainty Heatmap",
            "Shows in colours where the model is unsure, and gives a mask of the worst pixels for inpainting. Bright means unsure.",
            inputs=[
                Uncertainty.Input("uncertainty", tooltip="The result to show."),
                io.Image.Input(
                    "images", optional=True, tooltip="The images that were measured. The colours are laid over them, in their size."
                ),
                option_input("opacity", default, "opacity", "How strong the colours are. 0 shows the image alone, 1 the colours alone."),
                io.Combo.Input(
                    "colormap",
                    [c.value for c in Colormap],
                    default=default.colormap.value,
                    tooltip="The scale of colours, from sure to unsure.",
                ),
                option_input(
                    "percentile",
                    default,
                    "mask_percentile",
                    "The mask holds the pixels that are worse than this percentile of their own image. 90 takes the worst 10 %.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    display_name="heatmap", tooltip="The colours over the images. Without images, the colours alone in the latent's size."
                ),
                io.Mask.Output(display_name="mask", tooltip="The unsure pixels of each image, for inpainting."),
            ],
            search_aliases=["heatmap", "unsure region", "inpaint mask"],
        )

    @classmethod
    def execute(
        cls, uncertainty: Result, opacity: float, colormap: str, percentile: float, images: io.Image.Type | None = None
    ) -> io.NodeOutput:
        options = HeatmapOptions(Colormap(colormap), opacity, mask_percentile=percentile)
        maps = uncertainty.bad_maps.cpu()
        picture = heatmap(maps, options, None if images is None else images[..., :3].cpu())
        height, width = picture.shape[1:3]
        frames = len(picture) // len(maps) if maps.ndim == 5 else None
        return io.NodeOutput(picture, worst_mask(maps, percentile, height, width, frames))


class Report(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "UQ_Report",
            "Uncertainty Report",
            "Shows the score at each step, how the scores are spread, and what the measuring cost. "
            "It writes them as CSV and JSON to the folder uncertainty in ComfyUI's output folder.",
            inputs=[
                Uncertainty.Input("uncertainty", tooltip="The result to report."),
                io.String.Input(
                    "accepted_indexes",
                    optional=True,
                    force_input=True,
                    tooltip="The indexes from Sample Filter. With them the report shows accepted and rejected images, and the "
                    "line between them.",
                ),
            ],
            outputs=[],
            is_output_node=True,
            search_aliases=["report", "plot", "scores", "csv"],
        )

    @classmethod
    def execute(cls, uncertainty: Result, accepted_indexes: str | None = None) -> io.NodeOutput:
        accepted = None if accepted_indexes is None else parse_indexes("accepted_indexes", accepted_indexes, len(uncertainty))
        summary = summarize(uncertainty, accepted)
        files = map(str, write_report(summary))
        return io.NodeOutput(ui=show(summary, title(uncertainty), files, chart=True))


def unsure(u: Result) -> str:
    return f"{u.quantity}, {'high' if u.direction is Direction.HIGH_IS_BAD else 'low'} = unsure"


def title(u: Result) -> str:
    images = "1 image" if len(u) == 1 else f"{len(u)} images"
    return f"{unsure(u)} | {images} | {u.nfe:g} model calls per image | {u.seconds:.3g} s"


NODES = [Heatmap, Report]
