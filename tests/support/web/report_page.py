"""Folders of results for the report, and its page in a real browser."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from uncertainty_nodes.cli.shared.export import write_exports
from uncertainty_nodes.cli.shared.ledger import Ledger
from uncertainty_nodes.cli.shared.records import DRAWINGS
from uncertainty_nodes.core.options import Direction
from uncertainty_nodes.core.view.notes import Note, write_note

READY = "return document.querySelectorAll('#grid .cell').length > 0"


def write_results(folder: Path, count: int, prompts: list[str], side: int = 24, maps: bool = False) -> Path:
    """As generate leaves it: an image of each colour, the surest dark; every seventh prompt less sure."""
    rng = np.random.default_rng(0)
    (folder / "kept").mkdir(parents=True)
    (folder / "maps").mkdir()
    with Ledger.open(folder / "results.json", DRAWINGS, {"prompts": prompts}) as ledger:
        ledger.update_header({"quantity": "information", "direction": "low_is_bad"})
        rows = []
        for i in range(count):
            file, score = f"kept/{i:06d}.png", float(rng.normal(50 - 8 * (i % len(prompts)), 6))
            hue = int(max(0, min(255, 3 * score)))
            pixels = np.full((side, side, 3), (hue, (i * 37) % 256, 255 - hue), np.uint8)
            pixels[side // 4 : side // 2, side // 4 : 3 * side // 4] = rng.integers(0, 256, 3)
            Image.fromarray(pixels).save(folder / file)
            if maps:
                np.save(folder / "maps" / f"{i:06d}.npy", rng.random((8, 8)).astype(np.float16) * (60 - score))
            told = {"image": i, "shown": prompts[i % len(prompts)], "score": score, "nfe": 8, "seconds": 0.1}
            rows.append(told | {"file": file, "seed": 2**63 + i})
        ledger.append(rows)
        write_exports(ledger)
    return folder


def write_notes_into(folder: Path, rows: list[dict]) -> None:
    for row in rows:
        write_note(folder / row["file"], Note("information", Direction.LOW_IS_BAD, row["score"]))
