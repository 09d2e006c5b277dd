"""ComfyUI's HTTP API as tests need it: queue a prompt, wait for it, read back what it made."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from safetensors.torch import load as load_safetensors
from torch import Tensor

Prompt = Mapping[str, Mapping[str, Any]]


class ComfyError(RuntimeError):
    """Something the server said; ``details`` is what it said in full."""

    def __init__(self, message: str, details: Any = None) -> None:
        super().__init__(message)
        self.details = details


class PromptRefused(ComfyError):
    """Validation failed and nothing ran; ``details["node_errors"]`` says which inputs."""


class PromptFailed(ComfyError):
    """A node raised; ``details`` has node_id, node_type, exception_type, exception_message and traceback."""


class PromptInterrupted(ComfyError):
    """The prompt was cancelled while it ran."""


@dataclass(frozen=True)
class History:
    """What the server keeps of one prompt that has ended."""

    prompt_id: str
    status: Mapping[str, Any]
    outputs: Mapping[str, Mapping[str, Any]]

    def message(self, kind: str) -> Mapping[str, Any] | None:
        """The last status message of this kind, e.g. ``execution_error``."""
        return next((data for name, data in reversed(self.status["messages"]) if name == kind), None)

    @property
    def cached(self) -> set[str]:
        """Ids of the nodes that did not run again."""
        return set((self.message("execution_cached") or {}).get("nodes", []))

    def raise_for_status(self) -> History:
        if error := self.message("execution_error"):
            raise PromptFailed(f"{error['node_type']} (node {error['node_id']}): {error['exception_message'].strip()}", error)
        if interrupted := self.message("execution_interrupted"):
            raise PromptInterrupted(f"interrupted in {interrupted['node_type']} (node {interrupted['node_id']})", interrupted)
        if self.status["status_str"] != "success":
            raise PromptFailed(f"the prompt ended with {self.status}", self.status)
        return self


class Client:
    """Talks to the ComfyUI at ``url``."""

    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str, **query: str) -> Any:
        with urllib.request.urlopen(f"{self.url}{path}?{urllib.parse.urlencode(query)}", timeout=60) as reply:
            data = reply.read()
            return json.loads(data) if "json" in reply.headers.get_content_type() else data

    def post(self, path: str, body: Any) -> Any:
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as reply:
            data = reply.read()
            return json.loads(data) if data else None

    def object_info(self) -> dict[str, Any]:
        return self.get("/object_info")

    def queue(self, prompt: Prompt, client_id: str | None = None, extra_data: Mapping[str, Any] | None = None) -> str:
        """Puts a prompt (API format) in the queue and returns its id. Raises PromptRefused with the node errors."""
        body = {"prompt": prompt, "prompt_id": str(uuid.uuid4()), "extra_data": extra_data or {}}
        try:
            return self.post("/prompt", {**body, "client_id": client_id} if client_id else body)["prompt_id"]
        except urllib.error.HTTPError as error:
            details = json.loads(error.read())
            raise PromptRefused(refusal(details), details) from None

    def wait(self, prompt_id: str, timeout: float = 120) -> History:
        """The history entry once the prompt has ended, in whatever way. Raises ComfyError after ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if found := self.history(prompt_id):
                return found
            self.check_alive()
            time.sleep(0.03)
        self.cancel()
        raise ComfyError(f"prompt {prompt_id} did not end within {timeout:g} s")

    def check_alive(self) -> None:
        """Raises ComfyError when the server is known to be gone."""

    def run(self, prompt: Prompt, timeout: float = 120, **queue: Any) -> History:
        """Queues, waits, and raises PromptRefused, PromptFailed or PromptInterrupted unless the prompt succeeded."""
        return self.wait(self.queue(prompt, **queue), timeout).raise_for_status()

    def history(self, prompt_id: str) -> History | None:
        """None until the prompt has ended."""
        entry = self.get(f"/history/{prompt_id}").get(prompt_id)
        return entry and History(prompt_id, entry["status"], entry["outputs"])

    def cancel(self) -> None:
        """Interrupts the prompt that is running."""
        self.post("/interrupt", {})

    def fetch_output(self, file: Mapping[str, str]) -> bytes:
        """The bytes of one file entry, e.g. ``history.outputs[node]["images"][0]``."""
        return self.get("/view", **{key: file[key] for key in ("filename", "subfolder", "type")})

    def latent(self, history: History, node: Any) -> dict[str, Tensor]:
        """What a UQTest_SaveLatent stored: samples, and noise_mask and batch_index where given."""
        (file,) = history.outputs[str(node)]["latents"]
        return load_safetensors(self.fetch_output(file))

    def value(self, history: History, node: Any) -> list[Any]:
        """What reached a UQTest node that saves values, as a list: one entry unless the socket was a list."""
        return json.loads(history.outputs[str(node)]["value"][0])


def refusal(details: Mapping[str, Any]) -> str:
    """The server's reasons in one line."""
    said = [details["error"]["message"]]
    for node, errors in (details.get("node_errors") or {}).items():
        said += [f"{errors['class_type']} (node {node}): {e['message']}: {e['details']}" for e in errors["errors"]]
    return "; ".join(said)
