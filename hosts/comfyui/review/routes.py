"""The one route: POST /uncertainty/review."""

from __future__ import annotations

from aiohttp import web
from server import PromptServer

from .answer import MOST_BYTES, Refused, take

PATH = "/uncertainty/review"


def add_routes() -> None:
    """To ComfyUI's own, while it loads the nodes and before it serves; where nodes are used without a server there is nothing to add."""
    if (server := getattr(PromptServer, "instance", None)) is not None:
        server.routes.post(PATH)(receive)


async def receive(request: web.Request) -> web.Response:
    try:
        take(await read_body(request))
    except Refused as refused:
        return web.json_response({"error": str(refused)}, status=refused.status)
    return web.json_response({"ok": True})


async def read_body(request: web.Request) -> bytes:
    """The body, or just enough of it to see that it is too long."""
    body = bytearray()
    async for chunk in request.content.iter_chunked(MOST_BYTES):
        body += chunk
        if len(body) > MOST_BYTES:
            break
    return bytes(body)
