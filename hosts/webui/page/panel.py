"""WebUI host: the accordion, a component for each setting in their order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any, get_args, get_type_hints

import gradio as gr
from modules.ui_components import InputAccordion

from ....core.options import Bounds, PipelineScore
from .. import files
from ..bounds import BOUNDS
from ..settings import KEEP_ALL, Settings, names, suited_to
from .infotext import pasted
from .layout import FOLDED, SHOWN
from .texts import HELP, LABELS, TITLE, price, tell_price

SUITED = ("samples", "start_percent", "end_percent")


def build(elem_id: Callable[[str], str], problem: str) -> tuple[list[Any], list[tuple[Any, Callable[..., Any]]]]:
    """The components, and for each what pasting an infotext sets it to. problem: why this web UI can't measure; shown in place of help."""
    values, made = Settings().effective, {}
    with InputAccordion(False, label=TITLE, elem_id=elem_id("enabled")) as made["enabled"]:
        gr.HTML(f"<p>{problem or HELP}</p>")
        made |= rows(SHOWN, values, elem_id)
        for title, part in FOLDED.items():
            with gr.Accordion(title, open=False):
                made |= rows(part, values, elem_id)
        told = gr.HTML(f"<p>{price(Settings())}</p>")
    ordered = [made[name] for name in names()]
    suited = [made[name] for name in SUITED]
    made["score"].select(suit, [made["score"], *suited], suited, show_progress=False)
    retell_price(ordered, told)
    return ordered, [(made[name], pasted(name)) for name in names()]


def retell_price(components: list[Any], told: Any) -> None:
    """At every change. Where gradio can, by one listener for all: a page with many takes longer to build."""
    changes = [each.change for each in components[1:]]
    if hasattr(gr, "on"):
        gr.on(changes, tell_price, components, told, show_progress="hidden", trigger_mode="always_last")
        return
    for change in changes:
        change(tell_price, components, told, show_progress=False)


def rows(parts: Sequence[Sequence[str]], values: Mapping[str, Any], elem_id: Callable[[str], str]) -> dict[str, Any]:
    made = {}
    for part in parts:
        with gr.Row():
            made |= {name: component(name, values[name], elem_id(name)) for name in part}
    return made


def component(name: str, value: Any, elem_id: str) -> Any:
    label, info = LABELS[name]
    shared = {"value": value, "label": label, "info": info, "elem_id": elem_id}
    kind = get_type_hints(Settings)[name]
    kind = (get_args(kind) or (kind,))[0]
    if kind is bool:
        return gr.Checkbox(**shared)
    if name == "members":
        return gr.Textbox(**shared)
    if kind is str:
        return gr.Dropdown(choices=["", *files.names()], allow_custom_value=True, **shared)
    if issubclass(kind, Enum) and name == "rule":
        return gr.Dropdown(choices=[KEEP_ALL, *(rule.value for rule in kind)], **shared)
    if issubclass(kind, Enum):
        return gr.Radio(choices=[member.value for member in kind], **shared)
    allowed: Bounds = BOUNDS[name]
    if (allowed.low, allowed.high) in ((0.0, 1.0), (0.0, 100.0)) and not allowed.whole:
        return gr.Slider(minimum=allowed.low, maximum=allowed.high, step=allowed.step, **shared)
    high = min(allowed.high, 2**53 - 1)  # what a browser's numbers hold exactly
    return gr.Number(minimum=allowed.low, maximum=high, step=allowed.step or 1, precision=0 if allowed.whole else None, **shared)


def suit(score: str, *shown: Any) -> list[Any]:
    """What suits a score that has just been chosen; what a person has set, or pasted, stays."""
    untouched = [[suited_to(each)[name] for name in SUITED] for each in PipelineScore]
    return [suited_to(PipelineScore(score))[name] for name in SUITED] if list(shown) in untouched else list(shown)
