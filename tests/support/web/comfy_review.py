"""A page that answers reviews, as far as the server can tell: a WebSocket that hears the question and posts what a person decides."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

from comfy_client import History
from comfy_events import Events
from comfy_graph import Graph, Node
from comfy_server import Server

ASK, END, PATH = "uncertainty.review", "uncertainty.review.end", "/uncertainty/review"
SCORES = "0.4,0.1,0.3,0.2,0.6,0.5"  # of the best 3, images 2 and 0 are next to the line


def post(comfy: Server, body: bytes | dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Status and JSON of the route's reply."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(comfy.url + PATH, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            return reply.status, json.loads(reply.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read() or b"{}")


class Page(Events):
    """``with Page(comfy) as page: page.queue(graph); asked = page.wait_for(ASK)[0]; page.say(asked, "answer", accepted=[0])``."""

    def __init__(self, comfy: Server, client_id: str | None = None) -> None:
        super().__init__(comfy, client_id)
        self.comfy = comfy

    def queue(self, graph: Graph) -> str:
        return self.comfy.queue(graph, client_id=self.client_id)

    def asked(self, count: int = 1) -> dict[str, Any]:
        """The question, seen."""
        question = self.wait_for(ASK, count)[-1]
        assert self.say(question, "seen")[0] == 200
        return question

    def say(self, question: dict[str, Any], action: str, **fields: Any) -> tuple[int, dict[str, Any]]:
        return post(self.comfy, {"id": question["id"], "client_id": self.client_id, "action": action, **fields})


class Reviewed:
    """A filter whose borderline images are reviewed, with a reader on what matters."""

    def __init__(self, scores: str = SCORES, salt: int = 0, images: bool = True, frames: int = 1, **options: Any) -> None:
        self.graph = g = Graph()
        count = len(scores.split(","))
        self.scored = scored = g.node("UQTest_Uncertainty", scores=scores, direction="high_is_bad", frames=0, salt=salt)
        batch = g.node("UQTest_NumberedImages", first=0, count=count * frames, size=16) if images else None
        given = {"rule": "keep_best_count", "value": 3.0, "borderline": "review", "band": 10.0, "review_seconds": 60}
        self.filter: Node = g.node("UQ_SampleFilter", uncertainty=scored, images=batch, **given | options)
        outputs = {"accepted": 6, "rejected": 9, "unsure": 10, "yes": 15, "no": 16}
        self.readers = {name: g.node("UQTest_SaveValue", value=self.filter[i]) for name, i in outputs.items()}

    def read(self, comfy: Server, history: History) -> dict[str, str]:
        """Index lists by name, and the sentence that the node shows last."""
        found = {name: comfy.value(history, node)[0] for name, node in self.readers.items()}
        return found | {"sentence": history.outputs[str(self.filter)]["text"][-1]}

    def finish(self, comfy: Server, prompt_id: str) -> dict[str, str]:
        return self.read(comfy, comfy.wait(prompt_id).raise_for_status())
