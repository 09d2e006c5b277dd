"""The route that answers come by: every field is checked, and nothing that is no answer changes anything."""

from __future__ import annotations

import json
import random
from itertools import count
from typing import Any

import pytest

from comfy_review import ASK, PATH, Page, Reviewed, post
from comfy_server import Server

HOSTILE = [
    None,
    True,
    -1,
    1e308,
    2**70,
    "",
    "../../etc/passwd",
    "<img src=x onerror=alert(1)>",
    "\u0000",
    [],
    {},
    [[0]],
    [None],
    [0.5],
    "0,2",
]
HOSTILE += ["a" * 5000, float("nan"), [True], [0, 0], ["0"], {"$gt": ""}, "..\\..\\x", "%2e%2e%2f", "\ud800"]


SALTS = count(200)  # else a run would be cached


def asked(comfy: Server, page: Page) -> tuple[Reviewed, str, dict[str, Any], dict[str, Any]]:
    r = Reviewed(salt=next(SALTS))
    prompt = page.queue(r.graph)
    question = page.asked()
    return r, prompt, question, {"id": question["id"], "client_id": page.client_id, "action": "answer", "accepted": [0], "rejected": [2]}


def test_300_hostile_answers_are_refused_in_sentences_and_change_nothing(comfy: Server) -> None:
    draw = random.Random(5)
    with Page(comfy) as page:
        r, prompt, question, good = asked(comfy, page)
        for _ in range(300):
            name = draw.choice([*good, "seconds", "path", "__proto__"])
            value = draw.choice(HOSTILE)
            body = {**good, **({"action": "seen"} if name == "seconds" else {}), name: value}
            if name in ("accepted", "rejected") and value == []:
                continue
            status, reply = post(comfy, json.dumps(body).encode("utf-8", "surrogatepass"))
            assert status in (400, 404) and reply["error"].endswith("."), body
            assert "Traceback" not in reply["error"] and "<" not in reply["error"]
        page.say(question, "answer", accepted=[0, 2])
        assert r.finish(comfy, prompt)["accepted"] == "0,1,2,3"
    assert "Error handling request" not in comfy.log()


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"", 400, "must be JSON"),
        (b"[" * 30_000, 400, "must be JSON"),
        (b"\xff\xfe", 400, "must be JSON"),
        (b"[1]", 400, "JSON object"),
        (b'{"action": "answer", "filename": "x"}', 400, "and no others"),
        (b'{"action": "open"}', 400, "action must be seen, touch, leave or answer"),
        (b'{"action": "leave", "id": "../../x", "client_id": "a"}', 400, "id must be the 32 hexadecimal digits"),
        (json.dumps({"action": "leave", "id": "0" * 32, "client_id": "a" * 129}).encode(), 400, "client_id must be a text"),
        (json.dumps({"action": "leave", "id": "0" * 32, "client_id": "a"}).encode(), 404, "No run waits for this answer"),
        (b" " * 70_000, 413, "65536 bytes at most"),
    ],
)
def test_what_is_no_answer_is_refused(comfy: Server, body: bytes, status: int, words: str) -> None:
    got, reply = post(comfy, body)
    assert got == status and words in reply["error"]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"accepted": [1], "rejected": []}, "accepted must be a list of images that were asked about"),
        ({"accepted": [0, 0], "rejected": []}, "each once"),
        ({"accepted": [0], "rejected": [0]}, "both name image 0"),
        ({"action": "seen", "seconds": -1}, "seconds must be a number from 0 to 86400"),
        ({"action": "seen", "seconds": True}, "seconds must be a number"),
    ],
)
def test_an_answer_must_fit_the_question(comfy: Server, fields: dict[str, Any], words: str) -> None:
    with Page(comfy) as page:
        r, prompt, question, good = asked(comfy, page)
        status, reply = post(comfy, good | fields)
        assert status == 400 and words in reply["error"]
        page.say(question, "leave")
        assert r.finish(comfy, prompt)["accepted"] == "1,2,3"
        assert len(page.of(ASK)) >= 1


def test_the_route_can_only_be_posted_to(comfy: Server) -> None:
    with pytest.raises(Exception, match="40[45]"):
        comfy.get(PATH)
