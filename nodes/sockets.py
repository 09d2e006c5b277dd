"""What the families of nodes share: our socket types, inputs that occur in several nodes, schemas that load on every ComfyUI."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from comfy_api.latest import io

from ..core.options import Bounds, StepWindow, bounds
from ..core.options.limits import SEED

Uncertainty = io.Custom("UNCERTAINTY")  # core.result.Uncertainty
Record = io.Custom("UQ_RECORD")  # hosts.comfyui.patch.Record: what the latest run of a patched model left
Ensemble = io.Custom("UQ_ENSEMBLE")  # hosts.comfyui.ensemble.members.Ensemble
Attempts = io.Custom("UQ_ATTEMPTS")  # hosts.comfyui.search.until.UntilOutcome: a run that a loop goes on with
Drafts = io.Custom("UQ_DRAFTS")  # hosts.comfyui.search.drafts.Drafts: candidates that stopped at a step
LaplaceFit = io.Custom("UQ_LAPLACE")  # core.last_layer.laplace.Laplace
Calibration = io.Custom("UQ_CALIBRATION")  # core.selection.calibration.Calibration, or core.guidance.step_thresholds.StepThresholds


def known(kind: Callable[..., Any], **fields: Any) -> dict[str, Any]:
    """Those of ``fields`` that ``kind`` of this ComfyUI takes: ``io.Int.Input("x", **known(io.Int.Input, advanced=True))``."""
    return {name: value for name, value in fields.items() if name in inspect.signature(kind).parameters}


def schema(
    node_id: str,
    display_name: str,
    description: str,
    inputs: Sequence[io.Input],
    outputs: Sequence[io.Output],
    *,
    hidden: Sequence[io.Hidden] = (),
    is_input_list: bool = False,
    is_output_node: bool = False,
    has_intermediate_output: bool = False,
    live: bool = False,
    search_aliases: Sequence[str] = (),
) -> io.Schema:
    """An io.Schema of this pack; what an older ComfyUI doesn't know is left out.

    has_intermediate_output: what the node shows is still there after the page was loaded again, as it is of output nodes.
    live: the node shows its scores while they are measured (hosts.comfyui.view.live), for which it must know its own id.
    """
    if live:
        hidden, has_intermediate_output = [*hidden, io.Hidden.unique_id], True
    aliases = ["uncertainty", *search_aliases]
    return io.Schema(
        node_id=node_id,
        display_name=display_name,
        category="uncertainty",
        description=description,
        inputs=list(inputs),
        outputs=list(outputs),
        hidden=list(hidden),
        is_input_list=is_input_list,
        is_output_node=is_output_node,
        **known(io.Schema, search_aliases=aliases, has_intermediate_output=has_intermediate_output),
    )


def seed_input(tooltip: str) -> io.Input:
    """The widget that the front-end re-rolls after each run."""
    return number_input("seed", SEED, tooltip, control_after_generate=True)


def option_input(name: str, options: Any, field: str, tooltip: str, *, advanced: bool = False) -> io.Input:
    """The number that sets ``field`` of an options instance: its value there is the default, its bounds are those of the class."""
    return number_input(name, replace(bounds(options, field), default=getattr(options, field)), tooltip, advanced=advanced)


def percent_input(name: str, default: float, tooltip: str) -> io.Input:
    """A part of the noise schedule, as ComfyUI's own nodes count it: 0 = pure noise, 1 = clean."""
    return number_input(name, replace(bounds(StepWindow, "start"), default=default), tooltip)


def number_input(name: str, limits: Bounds, tooltip: str, *, advanced: bool = False, **fields: Any) -> io.Input:
    """A number with the default and the range of an option. advanced: shown only where a user asks for it, if ComfyUI can hide it."""
    kind = io.Int.Input if limits.whole else io.Float.Input
    if limits.step is not None:
        fields["step"] = limits.step
        if limits.step < 0.01:
            fields["round"] = False  # else the front-end rounds to the two digits that it shows
    if advanced:
        fields |= known(kind, advanced=True)
    return kind(name, default=limits.default, min=limits.low, max=limits.high, tooltip=tooltip, **fields)


def checked(make: Callable[[], object], *values: object) -> bool | str:
    """What ``validate_inputs`` returns: True, or the sentence of the ValueError that ``make`` raises.

    values: what ``make`` is made of. Where one is None it comes over a link, and the node itself checks it when it runs.
    """
    if any(value is None for value in values):
        return True
    try:
        make()
    except ValueError as error:
        return str(error)
    return True
