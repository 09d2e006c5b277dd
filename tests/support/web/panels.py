"""A panel of ours as tests know it: its node and a graph around it, what it shows, what a user does to it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any
from uuid import uuid4

from browser import READY, Browser
from comfy_graph import Graph
from renderers import look_at, open_graph

NUMBERS = count()
SEEDS = count(1000)  # no two graphs are in ComfyUI's cache
FIX_SEEDS = (
    "for (const node of app.graph.nodes) for (const w of node.widgets ?? []) if (w.name === 'control_after_generate') w.value = 'fixed';"
)
# The n-th node of a kind in a graph and its subgraphs, the oldest first, and its panel.
FIND = """
const within = graph => graph.nodes.flatMap(node => node.subgraph ? [node, ...within(node.subgraph)] : [node]);
const node = within(app.rootGraph ?? app.graph).filter(node => node.comfyClass === KIND).sort((a, b) => a.id - b.id)[INDEX];
const element = node?.widgets?.find(widget => widget.name === NAME)?.element;
"""
SEEN = """
const frame = element?.getBoundingClientRect();
return Boolean(element?.isConnected && element.checkVisibility() && frame.width > 20 && frame.height > 10);
"""
# The whole graph once more, as Ctrl+A, Ctrl+C and Ctrl+V do.
COPY = """
app.canvas.selectNodes([...app.graph.nodes]);
app.canvas.copyToClipboard();
app.canvas.pasteFromClipboard();
await new Promise(done => setTimeout(done, 300));
"""


@dataclass(frozen=True)
class Panel:
    """One panel in one kind of node.

    name: of its widget.   graph(seed): a prompt that has the node and runs quickly; another seed runs anew.
    shown: JavaScript that reads ``node`` and ``element`` and returns what the panel shows, null before it shows a run.
    act: JavaScript that does what a user does.   acted: JavaScript that returns true once the panel has followed.
    """

    name: str
    kind: str
    graph: Callable[[int], Graph]
    shown: str
    act: str
    acted: str

    def __str__(self) -> str:
        return f"{self.name} in {self.kind}"

    def script(self, body: str, index: int = 0) -> str:
        words = {"KIND": self.kind, "NAME": self.name, "INDEX": index}
        found = FIND
        for word, value in words.items():
            found = found.replace(word, json.dumps(value))
        return f"{found}\n{body}"

    def open(self, page: Browser) -> dict[str, Any]:
        """Its graph as a workflow of its own, with an id and fixed seeds, seen."""
        open_graph(page, self.graph(next(SEEDS)), f"panel {next(NUMBERS)}")
        page.run(FIX_SEEDS)
        workflow = page.serialized() | {"id": str(uuid4())}  # what came from a prompt has none
        self.reopen(page, workflow)
        return workflow

    def reopen(self, page: Browser, workflow: dict[str, Any]) -> None:
        page.load(workflow)
        look_at(page, self.kind)

    def wait(self, page: Browser, index: int = 0, timeout: float = 30) -> Any:
        """What it shows, once it shows a run and is seen."""
        page.wait_for(f"return (() => {{ {self.script(SEEN, index)} }})();", timeout)
        return page.wait_for(f"return (() => {{ {self.script(self.shown, index)} }})();", timeout)

    def read(self, page: Browser, index: int = 0) -> Any:
        return page.run(self.script(self.shown, index))

    def use(self, page: Browser, index: int = 0) -> None:
        page.run(self.script(self.act, index))
        page.wait_for(f"return (() => {{ {self.script(self.acted, index)} }})();")


def reload(page: Browser) -> None:
    """As F5 does, once the front-end has kept its draft of the workflow."""
    page.run("await new Promise(done => setTimeout(done, 1500));")
    page.driver.refresh()
    page.wait_for(READY, 90)
    page.wait_for("return app.graph.nodes.length > 0;", 30)
