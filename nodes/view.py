"""Looking at a result: Uncertainty Heatmap and Uncertainty Report."""

from __future__ import annotations

from comfy_api.latest import io

from ..core.options import Colormap, Direction, HeatmapOptions
from ..core.result import Uncertainty as Result
from ..core.view.heatmap import check_images, heatmap, reduce_channels, worst_mask
from ..core.view.summary import summarize
from ..hosts.comfyui.batch import parse_indexes
from ..hosts.comfyui.view.chart_words import ENGLISH
from ..hosts.comfyui.view.page import origin
from ..hosts.comfyui.view.report import show, thumbnails, write_report
from ..hosts.comfyui.view.viewer import viewer_ui
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
                io.String.Input(
                    "accepted_indexes",
                    optional=True,
                    force_input=True,
                    tooltip="The indexes from Sample Filter. With them the viewer can show accepted beside rejected images.",
                ),
                Uncertainty.Input(
                    "compare_uncertainty",
                    optional=True,
                    tooltip="Another result, such as one without guidance. The viewer shows it beside the first, image by image.",
                ),
                io.Image.Input(
                    "compare_images",
                    optional=True,
                    tooltip="The images of the other result, or any images that each image is shown beside.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    display_name="heatmap", tooltip="The colours over the images. Without images, the colours alone in the latent's size."
                ),
                io.Mask.Output(display_name="mask", tooltip="The unsure pixels of each image, for inpainting."),
            ],
            has_intermediate_output=True,
            search_aliases=["heatmap", "unsure region", "inpaint mask", "compare"],
        )

    @classmethod
    def execute(
        cls,
        uncertainty: Result,
        opacity: float,
        colormap: str,
        percentile: float,
        images: io.Image.Type | None = None,
        accepted_indexes: str | None = None,
        compare_uncertainty: Result | None = None,
        compare_images: io.Image.Type | None = None,
    ) -> io.NodeOutput:
        options = HeatmapOptions(Colormap(colormap), opacity, mask_percentile=percentile)
        accepted = None if accepted_indexes is None else parse_indexes("accepted_indexes", accepted_indexes, len(uncertainty))
        check_compared(compare_uncertainty, compare_images)
        maps = uncertainty.bad_maps.cpu()
        picture = heatmap(maps, options, None if images is None else images[..., :3].cpu())
        height, width = picture.shape[1:3]
        frames = len(picture) // len(maps) if maps.ndim == 5 else None
        mask = worst_mask(maps, percentile, height, width, frames)
        shown = viewer_ui(uncertainty, images, options, picture, accepted, compare_uncertainty, compare_images)
        return io.NodeOutput(picture, mask, ui=shown | origin(cls.SCHEMA.node_id))


def check_compared(uncertainty: Result | None, images: io.Image.Type | None) -> None:
    """Raises ValueError when both are there and don't belong to each other."""
    if uncertainty is None or images is None:
        return
    try:
        check_images(images[..., :3], reduce_channels(uncertainty.bad_maps))
    except ValueError as error:
        raise ValueError(f"compare_images and compare_uncertainty don't fit: {error}") from error


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
                io.Image.Input(
                    "images", optional=True, tooltip="The images that were scored. The table then shows a small picture of each."
                ),
            ],
            outputs=[],
            is_output_node=True,
            search_aliases=["report", "plot", "scores", "csv"],
        )

    @classmethod
    def execute(cls, uncertainty: Result, accepted_indexes: str | None = None, images: io.Image.Type | None = None) -> io.NodeOutput:
        accepted = None if accepted_indexes is None else parse_indexes("accepted_indexes", accepted_indexes, len(uncertainty))
        summary = summarize(uncertainty, accepted)
        pictures = {} if images is None else {"pictures": thumbnails(images, len(uncertainty))}
        files = map(str, write_report(summary))
        return io.NodeOutput(ui=show(summary | pictures, ENGLISH.title(summary), files, chart=True, kind=cls.SCHEMA.node_id))


def unsure(u: Result) -> str:
    return f"{u.quantity}, {'high' if u.direction is Direction.HIGH_IS_BAD else 'low'} = unsure"


NODES = [Heatmap, Report]
