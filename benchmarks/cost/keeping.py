"""What keeping results costs an image as they grow to 100,000, and what stands round the network of a long job:
python benchmarks/cost/keeping.py

Synthetic records, as generate keeps them: appended eight at a time, each batch a transaction that reaches the disk, then sorted and
exported as JSON and table. Processor time, so that other work on the machine does not count; bytes are the peak that Python held.
The older way, which wrote the whole JSON anew, is the control. `--images` tiny pictures are then scored by a model that takes no time:
what is left is finding, reading and keeping them. A map of each image, for the report, is a file of its own.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from uncertainty_nodes.benchmarks.shared.common import write
from uncertainty_nodes.cli.score.options import ScoreOptions
from uncertainty_nodes.cli.score.rows import Row
from uncertainty_nodes.cli.score.run import run
from uncertainty_nodes.cli.score.worker import Scored
from uncertainty_nodes.cli.shared.export import write_exports
from uncertainty_nodes.cli.shared.ledger import Ledger
from uncertainty_nodes.cli.shared.maps import SIDE, map_path, write_map
from uncertainty_nodes.cli.shared.records import DRAWINGS
from uncertainty_nodes.core.files import replacing

BATCH = 8
SIZES = (100, 1_000, 10_000, 100_000)


def record(i: int) -> dict[str, Any]:
    score = (i * 7919 % 100_003) / 100_003
    more = {"nfe": 32.0, "seconds": 0.25, "calls": 20.0, "candidate": None, "file": f"new/{i:06d}.png", "reason": None}
    return {"image": i, "shown": "a photograph of a street after the rain", "score": score, **more}


def keep(folder: Path, size: int) -> dict[str, float]:
    """Seconds an image of appending the last tenth, and of exporting all."""
    with Ledger.open(folder / "results.json", DRAWINGS, {}) as ledger:
        ledger.append(record(i) for i in range(size - size // 10))
        start = time.process_time()
        for first in range(size - size // 10, size, BATCH):
            ledger.append(record(i) for i in range(first, min(first + BATCH, size)))
        append = (time.process_time() - start) / (size // 10)
        start = time.process_time()
        write_exports(ledger)
        return {"append": append, "export": (time.process_time() - start) / size}


def rewrite(folder: Path, size: int) -> float:
    """Seconds an image of the older way, when as many are there."""
    rows, start = [record(i) for i in range(size)], time.process_time()
    with replacing(folder / "older.json") as path:
        path.write_text(json.dumps({"images": rows}, indent=1))
    return (time.process_time() - start) / BATCH


def keep_maps(folder: Path, count: int = 2000) -> dict[str, float]:
    """Seconds and bytes of one of the largest: half precision, SIDE by SIDE."""
    values, start = np.random.default_rng(0).random((SIDE, SIDE)).astype(np.float16), time.process_time()
    for i in range(count):
        write_map(folder / "results.json", f"{i:06d}", values)
    return {"seconds": (time.process_time() - start) / count, "bytes": map_path(folder / "results.json", "000000").stat().st_size}


def peak(work: Callable[[], object]) -> int:
    tracemalloc.start()
    work()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most


class NoNetwork:
    """An engine whose batches cost nothing."""

    started: float | None = None

    def run(self, load: Any, tasks: Iterator[Any]) -> Iterator[Any]:
        for batch in tasks:
            self.started = self.started or time.perf_counter()
            yield Scored([Row(image.name, image.size, image.mtime_ns, image.label, 0.5, None, 32.0, 0.0) for image, _ in batch])


def score_folder(folder: Path, images: int) -> dict[str, float]:
    pixels = np.random.default_rng(0).integers(0, 255, (16, 16), dtype=np.uint8)
    for i in range(images):
        Image.fromarray(pixels).save(folder / f"{i:06d}.png")
    engine, options = NoNetwork(), ScoreOptions(folder, label=1)
    wall, start = time.perf_counter(), time.process_time()
    run(options, engine)
    cost = (time.process_time() - start) / images
    again = time.process_time()
    run(options, engine)
    first = (engine.started or wall) - wall
    return {"images": images, "seconds_to_first_batch": first, "overhead": cost, "to_go_on": (time.process_time() - again) / images}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--largest", type=int, default=SIZES[-1])
    a = parser.parse_args()
    sizes = [size for size in SIZES if size <= a.largest]
    with tempfile.TemporaryDirectory() as root:
        folder = {name: Path(root, name) for name in [*map(str, sizes), "memory", "pictures"]}
        for path in folder.values():
            path.mkdir()
        kept = {size: keep(folder[str(size)], size) for size in sizes}
        memory = {size: peak(lambda size=size: keep(folder["memory"] / str(size), size)) for size in sizes}
        older = {size: rewrite(folder["memory"], size) for size in sizes}
        maps = keep_maps(folder["memory"])
        folder_cost = score_folder(folder["pictures"], a.images)
    base = kept[1000]
    found = {
        "batch": BATCH,
        "seconds_an_image": {size: {name: round(value, 7) for name, value in row.items()} for size, row in kept.items()},
        "times_that_of_1000": {size: {name: round(value / base[name], 3) for name, value in row.items()} for size, row in kept.items()},
        "peak_bytes": memory,
        "whole_json_each_batch": {size: round(value, 7) for size, value in older.items()},
        "a_map": {name: round(value, 7) for name, value in maps.items()},
        "folder": {name: round(value, 6) for name, value in folder_cost.items()},
    }
    print(json.dumps(found, indent=1))
    print(f"Wrote {write('keeping', found)}")


if __name__ == "__main__":
    main()
