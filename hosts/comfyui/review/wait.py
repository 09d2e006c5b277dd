"""Waiting for a person without ever hanging: an answer, the time, a closed page, an interrupt or a missing page ends it."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from comfy.model_management import throw_exception_if_processing_interrupted

from ..view.page import send
from .question import Ending, Question, posted

ASK, CLOSE = "uncertainty.review", "uncertainty.review.end"  # messages to the page
POLL = 0.1  # seconds between looks
SEEN_WITHIN = 10.0  # a page answers at once that it shows the images; a program that only listens never does
GONE_AFTER = 15.0  # a page that is loaded again is back before
ASK_AGAIN = 1.0


async def wait_for_answer(server: Any, question: Question) -> Ending:
    """Shows the question in the page that queued the run, and nowhere else. Raises what ComfyUI raises when the run is interrupted."""
    if question.client not in server.sockets:
        return Ending.NO_PAGE
    with posted(question):
        try:
            question.ending = await _wait(server, question)
        finally:
            send(server, CLOSE, {"id": question.id}, question.client)
    return question.ending


async def _wait(server: Any, question: Question) -> Ending:
    socket, asked, connected = None, -ASK_AGAIN, time.monotonic()
    while question.ending is None:
        throw_exception_if_processing_interrupted()
        now, here = time.monotonic(), server.sockets.get(question.client)
        if here is not None:
            if here is not socket:  # a page that was loaded again knows of nothing
                socket, asked, question.seen, question.last_sign = here, -ASK_AGAIN, False, now
            connected = now
        if now - connected > GONE_AFTER:
            return Ending.CLOSED
        if not question.seen:
            if now - question.last_sign > SEEN_WITHIN + (now - connected):
                return Ending.NO_PAGE
            if here is not None and now - asked >= ASK_AGAIN:
                send(server, ASK, {"id": question.id, **question.shown}, question.client)
                asked = now
        elif question.patience and now - question.last_sign > question.patience:
            return Ending.TIMED_OUT
        await asyncio.sleep(POLL)
    return question.ending
