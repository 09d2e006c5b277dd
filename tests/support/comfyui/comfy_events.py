"""The messages a front-end gets while a prompt runs: progress, previews, texts. A WebSocket reader in the standard library."""

from __future__ import annotations

import base64
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from comfy_client import Client, ComfyError

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class Events:
    """``with Events(comfy) as events: comfy.run(graph, client_id=events.client_id)``; then read ``events.of("progress")``."""

    def __init__(self, comfy: Client, client_id: str | None = None) -> None:
        self.client_id = client_id or uuid.uuid4().hex
        self.messages: list[dict[str, Any]] = []
        self.previews: list[bytes] = []
        place = urlsplit(comfy.url)
        self.socket = socket.create_connection((place.hostname, place.port), timeout=60)
        key = base64.b64encode(os.urandom(16)).decode()
        ask = [f"GET /ws?clientId={self.client_id} HTTP/1.1", f"Host: {place.netloc}", "Upgrade: websocket", "Connection: Upgrade"]
        self.socket.sendall("\r\n".join([*ask, f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", "", ""]).encode())
        self.stream = self.socket.makefile("rb")
        if b" 101 " not in self.stream.readline():
            raise ComfyError("the server refused the WebSocket")
        while self.stream.readline().strip():
            pass
        self.socket.settimeout(None)
        self.reader = threading.Thread(target=self.read, daemon=True)

    def __enter__(self) -> Events:
        self.reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.shutdown(socket.SHUT_RDWR)
        self.reader.join(10)
        self.socket.close()

    def read(self) -> None:
        while (frame := self.frame()) is not None:
            kind, data = frame
            if kind == TEXT:
                self.messages.append(json.loads(data))
            elif kind == BINARY:
                self.previews.append(data)
            elif kind == PING:
                self.pong(data)
            elif kind == CLOSE:
                return

    def frame(self) -> tuple[int, bytes] | None:
        """The next frame of the server, which sends whole messages, unmasked; None at the end of the stream."""
        head = self.stream.read(2)
        if len(head) < 2:
            return None
        length = head[1] & 127
        if length > 125:
            length = int.from_bytes(self.stream.read(2 if length == 126 else 8), "big")
        return head[0] & 15, self.stream.read(length)

    def pong(self, data: bytes) -> None:
        self.socket.sendall(bytes([0x80 | PONG, 0x80 | len(data)]) + bytes(4) + data)  # a mask of zeros changes nothing

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The data of every message of this kind so far, in order."""
        return [m["data"] for m in list(self.messages) if m["type"] == kind]

    def all_of(self, kind: str) -> list[dict[str, Any]]:
        """The same of a prompt that has ended: the history knows of the end before its last messages have come."""
        self.wait_until(lambda: any(m["data"]["node"] is None for m in list(self.messages) if m["type"] == "executing"), "end of a prompt")
        return self.of(kind)

    def wait_until(self, test: Callable[[], bool], what: str, timeout: float = 60) -> None:
        deadline = time.monotonic() + timeout
        while not test():
            if time.monotonic() > deadline:
                raise ComfyError(f"no {what} within {timeout:g} s")
            time.sleep(0.01)

    def wait_for(self, kind: str, count: int = 1, timeout: float = 60) -> list[dict[str, Any]]:
        """Blocks until ``count`` messages of this kind have come. Raises ComfyError after ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if len(found := self.of(kind)) >= count:
                return found
            time.sleep(0.01)
        raise ComfyError(f"{len(self.of(kind))} of {count} {kind!r} messages came within {timeout:g} s")
