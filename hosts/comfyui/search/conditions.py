"""ComfyUI host: what the conditions of a run say to one image of its batch."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import comfy.samplers
import torch
from comfy.conds import CONDList, CONDRegular
from comfy.controlnet import ControlBase
from torch import Tensor

from ..model import Cond


def for_image(guider: comfy.samplers.CFGGuider, image: int) -> comfy.samplers.CFGGuider:
    """A copy of a guider within its run, whose conditions are those of one image: what holds several rows is cut, as ComfyUI repeats it."""
    cut = copy.copy(guider)
    cut.conds = {name: [cut_part(part, image) for part in cond] for name, cond in guider.conds.items()}
    return cut


def cut_part(part: Mapping[str, Any], image: int) -> dict[str, Any]:
    cut = {**part, "model_conds": {name: cut_value(value, image) for name, value in part.get("model_conds", {}).items()}}
    if isinstance(part.get("mask"), Tensor):
        cut["mask"] = cut_rows(part["mask"], image)
    if part.get("control") is not None:
        cut["control"] = cut_control(part["control"], image)
    return cut


def cut_rows(value: Tensor, image: int) -> Tensor:
    return value if len(value) == 1 else value[image % len(value)][None]


def cut_value(value: Any, image: int) -> Any:
    if isinstance(value, CONDList):
        return value._copy_with([cut_rows(each, image) for each in value.cond])
    if isinstance(value, CONDRegular) and isinstance(value.cond, Tensor) and value.cond.ndim:
        return value._copy_with(cut_rows(value.cond, image))
    return value


def cut_control(control: ControlBase, image: int) -> ControlBase:
    """The control itself where it and those before it show one hint to all images."""
    before = control.previous_controlnet
    cut_before = None if before is None else cut_control(before, image)
    hint = control.cond_hint_original
    several = torch.is_tensor(hint) and len(hint) > 1
    if cut_before is before and not several:
        return control
    cut = copy.copy(control)
    cut.previous_controlnet = cut_before
    if several:
        cut.cond_hint_original, cut.cond_hint = cut_rows(hint, image), None
    return cut


def conditions_of(guider: comfy.samplers.CFGGuider) -> tuple[Cond, Cond | None]:
    """positive and negative. Raises ValueError for a guider that does not name its conditions so."""
    positive = guider.conds.get("positive")
    if not positive:
        raise ValueError("The guider of this sampler has no conditioning named positive, without which candidates can't be compared.")
    return positive, guider.conds.get("negative") or None
