"""What a page may say about a question, checked field by field."""

from __future__ import annotations

import json
import math
import re
from typing import Any

from ....core.options.limits import REVIEW_SECONDS
from .question import DEFAULT_SECONDS, OPEN, Question

MOST_BYTES = 64 * 1024
FIELDS = {"id", "client_id", "action", "seconds", "accepted", "rejected"}
ID = re.compile(r"[0-9a-f]{32}")
MOST_CLIENT = 128


class Refused(ValueError):
    """With the HTTP status that goes with it."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def take(body: bytes) -> None:
    """Does what a page asks for. Raises Refused, with a sentence, for what is no answer to an open question of that page."""
    fields = read(body)
    question = find(fields)
    action = fields["action"]
    if action == "seen":
        question.see(seconds(fields))
    elif action == "touch":
        question.touch()
    elif action == "leave":
        question.leave()
    else:
        accepted, rejected = (indexes(fields, name, question) for name in ("accepted", "rejected"))
        if both := sorted(set(accepted) & set(rejected)):
            raise Refused(400, f"accepted and rejected both name image {both[0]}; take it out of one of them.")
        question.answer(accepted, rejected)


def read(body: bytes) -> dict[str, Any]:
    if len(body) > MOST_BYTES:
        raise Refused(413, f"An answer must have {MOST_BYTES} bytes at most.")
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        raise Refused(400, "An answer must be JSON.") from None
    if not isinstance(fields, dict) or not set(fields) <= FIELDS:
        raise Refused(400, f"An answer must be a JSON object with some of the fields {', '.join(sorted(FIELDS))}, and no others.")
    if fields.get("action") not in ("seen", "touch", "leave", "answer"):
        raise Refused(400, "action must be seen, touch, leave or answer.")
    return fields


def find(fields: dict[str, Any]) -> Question:
    id, client = fields.get("id"), fields.get("client_id")
    if not isinstance(id, str) or not ID.fullmatch(id):
        raise Refused(400, "id must be the 32 hexadecimal digits that came with the question.")
    if not isinstance(client, str) or not 0 < len(client) <= MOST_CLIENT:
        raise Refused(400, f"client_id must be a text of 1 to {MOST_CLIENT} characters.")
    question = OPEN.get(id)
    if question is None or question.client != client:  # one sentence for both: other pages learn nothing
        raise Refused(404, "No run waits for this answer: it has ended, or another page queued it.")
    return question


def seconds(fields: dict[str, Any]) -> float:
    value = fields.get("seconds", DEFAULT_SECONDS)
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not number or not REVIEW_SECONDS.low <= value <= REVIEW_SECONDS.high:
        raise Refused(400, f"seconds must be a number from {REVIEW_SECONDS.low} to {REVIEW_SECONDS.high}.")
    return float(value)


def indexes(fields: dict[str, Any], name: str, question: Question) -> tuple[int, ...]:
    value = fields.get(name, [])
    if not isinstance(value, list) or any(type(i) is not int or i not in question.asked for i in value) or len(set(value)) < len(value):
        raise Refused(400, f"{name} must be a list of images that were asked about, each once.")
    return tuple(value)
