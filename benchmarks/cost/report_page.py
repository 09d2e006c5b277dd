"""What a report of 20,000 pictures costs to make and to look at: python benchmarks/cost/report_page.py --browser

A folder as generate leaves it, drawn by this script: small pictures of shapes, a map of each, scores in a ledger. Then the report
command as a process of its own, twice: all thumbnails new, and none new. --browser opens the page in Chromium (needs selenium and
chromedriver): how long until it shows pictures, how long the page is busy with a new limit, a search and a jump to any place, how many
elements it ever holds, and a picture of it, as out/report_page.png.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

from uncertainty_nodes.benchmarks.shared.common import write
from uncertainty_nodes.cli.shared.ledger import Ledger
from uncertainty_nodes.cli.shared.records import DRAWINGS

PROMPTS = tuple(f"a {colour} {shape}" for colour in ("red", "green", "blue", "grey", "pale") for shape in ("disc", "box", "ring", "line"))
MAP = 32
JUMPS = 30
# until the page has drawn what a change asks for: two frames, the second begins when the first is on the screen
BUSY = """const [change, done] = arguments, start = performance.now();
new Function(change)(); requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - start)));"""
LOADED = """const shown = [...document.querySelectorAll('#grid img')];
return shown.length > 0 && shown.every(image => image.complete && image.naturalWidth);"""
CHANGES = {
    "limit": "document.getElementById('keep').value = {}; document.getElementById('keep').oninput();",
    "search": "document.getElementById('find').value = {!r}; document.getElementById('find').oninput();",
    "jump": "scrollTo(0, {} * document.body.scrollHeight);",
}


def write_job(folder: Path, images: int, side: int) -> None:
    rng = np.random.default_rng(0)

    def rows() -> Iterator[dict[str, Any]]:
        for i in range(images):
            score, prompt = float(rng.normal(50 - i % len(PROMPTS), 8)), PROMPTS[i % len(PROMPTS)]
            file = f"{'kept' if score > 40 else 'rejected'}/{i:06d}.png"
            draw_picture(rng, side).save(folder / file)
            np.save(folder / "maps" / f"{i:06d}.npy", (rng.random((MAP, MAP)) * (100 - score)).astype(np.float16))
            told = {"image": i, "shown": prompt, "score": score, "nfe": 32.0, "seconds": 0.25}
            yield told | {"calls": 20.0, "candidate": None, "file": file, "reason": None, "seed": i}

    for name in ("kept", "rejected", "maps"):
        (folder / name).mkdir()
    with Ledger.open(folder / "results.json", DRAWINGS, {"prompts": list(PROMPTS)}) as ledger:
        ledger.update_header({"quantity": "information", "direction": "low_is_bad"})
        ledger.append(rows())


def draw_picture(rng: np.random.Generator, side: int) -> Image.Image:
    """A shape before a soft ground, so that it packs about as a picture does."""
    ground = rng.integers(0, 255, (4, 4, 3), dtype=np.uint8)
    picture = Image.fromarray(ground).resize((side, side), Image.Resampling.BICUBIC)
    left, top, width, height = (float(value) for value in rng.uniform(0.1, 0.5, 4) * side)
    ImageDraw.Draw(picture).ellipse((left, top, left + width, top + height), fill=tuple(rng.integers(0, 255, 3).tolist()))
    return picture


def make_report(folder: Path) -> dict[str, float]:
    """Seconds, and the peak of what the process held in memory."""
    program = "import sys; from uncertainty_nodes.cli import main; sys.exit(main())"
    start = time.perf_counter()
    with (folder / "log.txt").open("w") as log, subprocess.Popen([sys.executable, "-c", program, "report", folder], stderr=log) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError((folder / "log.txt").read_text())
    unit = 1 if sys.platform == "darwin" else 1024
    seconds, busy = time.perf_counter() - start, used.ru_utime + used.ru_stime
    return {"seconds": round(seconds, 2), "processor_seconds": round(busy, 2), "peak_MB": round(used.ru_maxrss * unit / 1e6, 1)}


def look(page: Path, picture: Path) -> dict[str, Any]:
    options = webdriver.ChromeOptions()
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1400,1000"):
        options.add_argument(flag)
    with webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver"))) as driver:
        driver.set_script_timeout(60)
        start = time.perf_counter()
        driver.get(page.resolve().as_uri())
        wait_for_pictures(driver)
        seconds = round(time.perf_counter() - start, 2)
        rng, busy, elements = np.random.default_rng(0), {}, 0
        for name, change in CHANGES.items():
            shares = rng.uniform(0, 100 if name == "limit" else 1, JUMPS).tolist()
            values = ["red", "", "ring", "000123", ""] if name == "search" else shares
            times = []
            for value in values:
                times.append(driver.execute_async_script(BUSY, change.format(value)))
                elements = max(elements, len(driver.find_elements(By.CSS_SELECTOR, "*")))
            busy[name] = {"median_ms": round(statistics.median(times), 1), "worst_ms": round(max(times), 1)}
        driver.execute_script("scrollTo(0, 0); const h = document.getElementById('heat'); h.checked = true; h.onchange({target: h});")
        wait_for_pictures(driver)
        picture.parent.mkdir(exist_ok=True)
        driver.save_screenshot(str(picture))
        heap = driver.execute_script("return performance.memory ? performance.memory.usedJSHeapSize : null")
    return {"seconds_to_pictures": seconds, "busy": busy, "most_elements": elements, "script_MB": heap and round(heap / 1e6, 1)}


def wait_for_pictures(driver: webdriver.Chrome) -> None:
    deadline = time.monotonic() + 60
    while not driver.execute_script(LOADED) and time.monotonic() < deadline:
        time.sleep(0.02)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--browser", action="store_true")
    parser.add_argument("--folder", type=Path, help="of an earlier run of this script, or to be made (default: a temporary one)")
    a = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = a.folder or Path(temporary)
        if not (folder / "results.sqlite").exists():
            folder.mkdir(parents=True, exist_ok=True)
            write_job(folder, a.images, a.side)
        found: dict[str, Any] = {"images": a.images, "side": a.side, "load": round(os.getloadavg()[0], 1), "first": make_report(folder)}
        found["again"] = make_report(folder)
        found["data_MB"] = round((folder / "report" / "data.js").stat().st_size / 1e6, 2)
        found["thumbnails_MB"] = round(sum(p.stat().st_size for p in (folder / "report" / "thumbs").rglob("*.webp")) / 1e6, 1)
        if a.browser:
            found["page"] = look(folder / "report" / "index.html", Path("out/report_page.png"))
    print(json.dumps(found, indent=1))
    print(f"Wrote {write('report_page', found)}")


if __name__ == "__main__":
    main()
