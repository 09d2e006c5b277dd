"""Rank Folder in a real ComfyUI: the best of many files, by the scores in them or by a model, and nothing outside of ComfyUI's folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from comfy_client import PromptFailed, PromptInterrupted, PromptRefused
from comfy_graph import Graph, Node
from comfy_server import Server
from uncertainty_nodes.core.options import Direction
from uncertainty_nodes.core.view.notes import Note, write_note

RANK = {"place": "output", "folder": "ranked", "keep": 2, "scorer": "note", "samples": 2, "levels": 2}


def rank(g: Graph, **options: Any) -> tuple[Node, dict[str, Node]]:
    """The node, and what its outputs gave, saved."""
    node = g.node("UQ_RankFolder", **RANK | options)
    return node, {
        name: g.node("UQTest_SaveValue", value=node[i]) for i, name in enumerate(("files", "scores", "count", "verdict"), start=1)
    }


def told(comfy: Server, g: Graph, saved: dict[str, Node]) -> dict[str, Any]:
    history = comfy.run(g)
    return {name: comfy.value(history, node) for name, node in saved.items()}


def folder(comfy: Server, name: str, place: str = "output") -> Path:
    path = comfy.base / place / name
    path.mkdir(parents=True, exist_ok=True)
    return path


def picture(path: Path, value: int, size: int = 16, score: float | None = None, quantity: str = "denoised") -> None:
    Image.new("RGB", (size, size), (value, value, value)).save(path)
    if score is not None:
        write_note(path, Note(quantity, Direction.HIGH_IS_BAD, score))


def test_thousands_without_a_score_are_counted_not_listed(comfy: Server) -> None:
    path = folder(comfy, "mostly unscored")
    picture(path / "scored.png", 9, score=0.5)
    for i in range(23):
        picture(path / f"{i}.png", 9)
    g = Graph()
    node, _ = rank(g, folder="mostly unscored")
    report = g.node("UQTest_SaveValue", value=node[5])
    lines = comfy.value(comfy.run(g), report)[0].splitlines()
    assert sum("no score is written into it" in line for line in lines) == 20 and lines[-1] == "3 further images are left out."


def test_the_best_by_the_scores_in_the_files_come_out_in_their_own_sizes(comfy: Server) -> None:
    path = folder(comfy, "ranked")
    for i, score in enumerate((0.5, 0.1, 0.9, 0.1, 0.3)):
        picture(path / f"{i}.png", 40 * i, 16 + 16 * i, score)
    picture(path / "other.png", 9, score=0.0, quantity="noise")
    picture(path / "plain.png", 9)
    (path / "broken.png").write_bytes(b"no picture")
    (path / "text.txt").write_text("no image")
    g = Graph()
    node, saved = rank(g)
    report = g.node("UQTest_SaveValue", value=node[5])
    g.node("SaveImage", images=node, filename_prefix="best")
    history = comfy.run(g)
    found = {name: comfy.value(history, each) for name, each in saved.items()}
    assert found["files"] == ["1.png", "3.png"] and found["scores"] == [0.1, 0.1] and found["count"] == [5]
    verdict = json.loads(found["verdict"][0])
    assert verdict[1] | {"why": ""} == {
        "image": 1, "path": "3.png", "score": 0.1, "quantity": "denoised", "direction": "high_is_bad", "accepted": True, "seed": None,
        "why": "",
    }  # fmt: skip
    text = comfy.value(history, report)[0]
    assert "other.png is left out: its score is of noise" in text and "plain.png is left out: no score" in text and "broken.png" in text
    assert str(comfy.base) not in text, "no text tells where on the disk the files lie"
    sizes = sorted(Image.open(file).size for file in (comfy.base / "output").glob("best*.png"))
    assert sizes == [(32, 32), (64, 64)]
    picture(path / "new.png", 3, score=0.01)
    assert told(comfy, g, saved)["files"] == ["new.png", "1.png"], "a folder that has changed is looked through again"


def test_a_model_judges_what_nobody_has_judged(comfy: Server) -> None:
    """By prompt information real threes are threes, and noise and other digits are not."""
    path, g = folder(comfy, "digits"), Graph()
    for name, digit, index in (("three", 3, 0), ("other", 3, 1), ("eight", 8, 0), ("one", 1, 0)):
        demo = g.node("UQ_LoadDemoModel", digit=digit, batch_size=1)
        latent = g.node("LatentFromBatch", samples=demo[5], batch_index=index, length=1)
        decoded = g.node("VAEDecode", samples=latent, vae=demo[3])
        g.node("SaveImage", images=decoded, filename_prefix=f"digits/{name}")
    comfy.run(g)
    noise = np.random.default_rng(0).integers(0, 255, (256, 256), dtype=np.uint8)
    Image.fromarray(noise).save(path / "noise.webp", lossless=True)
    g = Graph()
    demo = g.node("UQ_LoadDemoModel", digit=3, batch_size=1)
    wires = {"model": demo[0], "positive": demo[1], "negative": demo[2], "vae": demo[3]}
    _, saved = rank(g, folder="digits", scorer="information", samples=4, levels=4, **wires)
    found = told(comfy, g, saved)
    assert sorted(name.split("_")[0] for name in found["files"]) == ["other", "three"] and found["count"] == [5]
    assert found["scores"] == sorted(found["scores"], reverse=True)


@pytest.mark.parametrize("name", ["../outside", "/etc", "ranked/../../input", "link"])
def test_nothing_outside_of_comfyuis_folder_is_read(comfy: Server, name: str) -> None:
    outside = comfy.base / "outside"
    outside.mkdir(exist_ok=True)
    picture(outside / "secret.png", 1, score=0.0)
    (link := comfy.base / "output" / "link").unlink(missing_ok=True)
    link.symlink_to(outside)
    g = Graph()
    g.node("SaveImage", images=rank(g, folder=name)[0], filename_prefix="never")
    with pytest.raises(PromptRefused, match="folder must lie inside ComfyUI's output folder"):
        comfy.run(g)
    inside = folder(comfy, "links")
    picture(inside / "own.png", 1, score=0.5)
    (inside / "linked.png").unlink(missing_ok=True)
    (inside / "linked.png").symlink_to(outside / "secret.png")
    g = Graph()
    _, saved = rank(g, folder="links")
    assert told(comfy, g, saved)["files"] == ["own.png"]


def test_what_is_missing_is_one_sentence(comfy: Server) -> None:
    cases = [({"folder": "nowhere"}, PromptRefused, "There is no folder 'nowhere' in ComfyUI's output folder")]
    folder(comfy, "empty")
    cases += [({"folder": "empty"}, PromptFailed, "There is no image in 'empty'. Sub-folders are not looked into")]
    cases += [({"folder": "a\0b"}, PromptRefused, "folder must be a name without a zero byte")]
    picture(folder(comfy, "unscored") / "a.png", 1)
    cases += [({"folder": "unscored"}, PromptFailed, "a.png is left out: no score is written into it")]
    cases += [({"folder": "unscored", "scorer": "denoised"}, PromptFailed, "The scorer 'denoised' needs model: connect it")]
    for options, error, sentence in cases:
        g = Graph()
        rank(g, **options)
        with pytest.raises(error, match=sentence):
            comfy.run(g)


def test_a_cancel_ends_it_between_two_images(comfy: Server) -> None:
    path = folder(comfy, "many", "input")
    for i in range(6):
        picture(path / f"{i}.png", 40 * i, 256)
    g = Graph()
    demo = g.node("UQ_LoadDemoModel", digit=3, batch_size=1)
    broken = g.node("UQTest_CancelAtCall", model=demo, call=1)
    rank(g, place="input", folder="many", scorer="denoised", model=broken, positive=demo[1], vae=demo[3])
    with pytest.raises(PromptInterrupted):
        comfy.run(g)
