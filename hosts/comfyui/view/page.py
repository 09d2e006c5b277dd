"""The page that queued the run: what messages to it begin with, and how they get there. Nothing of it may end a run."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from comfy_execution.progress import get_progress_state
from comfy_execution.utils import get_executing_context
from server import PromptServer

log = logging.getLogger(__name__)
KIND, WORKFLOW = "uq_kind", "uq_workflow"  # in what a node shows: its class, and the id of the workflow that the run was queued from


@dataclass(frozen=True)
class Page:
    """place: the node, its class, its prompt and its workflow, which every message has."""

    place: dict[str, Any]
    server: Any
    client: str

    def send(self, event: str, message: dict[str, Any]) -> bool:
        """Whether it went out."""
        return send(self.server, event, {**self.place, **message}, self.client)


def send(server: Any, event: str, message: dict[str, Any], client: str) -> bool:
    """To one page. Whether it went out; a socket that fails is told in the log and ends no run."""
    try:
        server.send_sync(event, message, client)
    except Exception:
        log.warning("The page could not be told of the run, which goes on without it.", exc_info=True)
        return False
    return True


def find_page(node: str | None, kind: str) -> Page | None:
    """None when the prompt came over the API or no server runs."""
    server = getattr(PromptServer, "instance", None)
    client, context = getattr(server, "client_id", None), get_executing_context()
    if client is None or node is None:
        return None
    shown = get_progress_state().dynprompt.get_display_node_id(node)
    return Page({"node": shown, "kind": kind, "prompt": context and context.prompt_id, "workflow": workflow_id()}, server, client)


def told_by_panel(name: str) -> Any:
    """What the panel of that name in the page told beside the inputs of the node that runs; None for runs that no page queued."""
    context = get_executing_context()
    if context is None:
        return None
    return get_progress_state().dynprompt.get_node(context.node_id)["inputs"].get(name)


def origin(kind: str) -> dict[str, list[str]]:
    """In the ``ui`` of a node of this class: a page hands what comes late to whichever node has that id in the workflow open by then."""
    workflow = workflow_id()
    return {KIND: [kind], WORKFLOW: [] if workflow is None else [workflow]}


def workflow_id() -> str | None:
    """Of the workflow that the run was queued from; None when the prompt came without one."""
    queue = getattr(getattr(PromptServer, "instance", None), "prompt_queue", None)
    context = get_executing_context()
    if queue is None or context is None:
        return None
    for _, prompt, _, extra, *_ in queue.get_current_queue_volatile()[0]:
        if prompt == context.prompt_id:
            return id_in(extra)
    return None


def id_in(extra: Any) -> str | None:
    """What a client of the API sends beside a prompt may be anything."""
    for name in ("extra_pnginfo", "workflow", "id"):
        extra = extra.get(name) if isinstance(extra, dict) else None
    return extra if isinstance(extra, str) and extra else None
