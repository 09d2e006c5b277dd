"""Runs every benchmark, then draws the figures and writes the report: python benchmarks/all.py [--full]

About 30 minutes on two cores, or the better part of a day with --full, at the sizes of the committed results or more; of the paper's
60,000 images, 6,000. Each stops and resumes by chunks. A benchmark that fails does not stop the others; the report leaves out what is
not there. ComfyUI's is left to cost/comfyui.py, and a web UI's to cost/webui_start.py, since they need one. Colour photos are drawn on
--device, and on a processor few of them with --full too; what compares with real ones needs --photos, CIFAR-10's training split.
Results go to benchmarks/results, or to the folder in BENCHMARK_RESULTS.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

FEW, MANY = "--images 10 --size 10 --steps 20", "--images 750 --size 250 --steps 20"  # photos
POOL = "out/colour/pool"
POOLS = f"--pools 1={POOL}_1.safetensors 2={POOL}_2.safetensors"
# script: arguments of the short run, and of the full one. information and bayesian look at direction's images, so it comes first; risk
# at free_scores' and at the photos'.
BENCHMARKS: dict[str, tuple[str, str]] = {
    "quality/direction": ("--images 120", "--images 600"),
    "quality/information": ("--images 120 --digits 32", "--images 600"),
    "quality/filtering": ("--images 40", "--images 1000"),
    "quality/free_scores": ("--images 50", "--images 1000"),
    "quality/filtering_cfg": ("--images 50", "--images 1000"),
    "quality/posterior": ("--images 32", "--images 256"),
    "quality/pixels": ("--images 64", "--images 512"),
    "quality/pixels --cfg 1.5": ("--images 32", "--images 512"),
    "quality/paper": ("--images 50", "--images 2000 --real 512"),
    "quality/guidance": ("--images 100 --screen 25", "--images 2000 --screen 2000"),
    "quality/guidance --cfg": ("--images 90", "--images 2000"),
    "quality/guidance --search": ("--images 30", "--images 500"),
    "quality/best_of": ("--prompts 20", "--prompts 2000 --steered 2000"),
    "quality/best_of --free": ("--prompts 20", "--prompts 2000"),
    "bundle/train_shapes": ("--steps 300", ""),
    "bundle/train_shapes_ensemble": ("--steps 50", ""),
    "quality/shapes": ("--prompts 10 --images 100", "--prompts 400 --images 2000"),
    "quality/bayesian": ("--images 120 --sweep 60 --settings 3", "--images 600"),
    "quality/ensemble": ("--images 8", "--images 32"),
    "quality/ensemble --cfg 1.5": ("--images 8", "--images 32"),
    "quality/gradient": ("", ""),
    "quality/colour": ("--images 6 --size 2 --prompts 10", "--images 2250 --size 250 --prompts 2000"),
    "quality/filtering --colour": (f"{FEW} --pool {POOL}_1.safetensors", f"{MANY} --pool {POOL}_1.safetensors"),
    "quality/filtering --colour --cfg 2": (f"{FEW} --pool {POOL}_2.safetensors", f"{MANY} --pool {POOL}_2.safetensors"),
    "quality/risk": (f"--splits 100 {POOLS}", POOLS),
    "quality/ensemble --colour": ("--images 2", "--images 100 --size 250"),
    "quality/ensemble --colour --cfg 2": ("--images 2", "--images 100 --size 250"),
    "quality/pixels --colour": ("--images 16", "--images 512 --size 128"),
    "quality/pixels --colour --cfg 2": ("--images 16", "--images 512 --size 128"),
    "quality/paper --colour": ("--images 10 --size 10 --real 16", "--images 20000 --size 1000 --real 512"),
    "cost/until_good": ("--images 20", "--images 200"),
    "cost/speed": ("--pairs 3", ""),
    "cost/scaling": ("--repeats 2", ""),
    "cost/laplace_speed": ("", ""),
    "cost/keeping": ("--images 2000", ""),
    "cost/report_page": ("--images 500", "--browser"),
    "report/draw_figures": ("", ""),
    "report/write_report": ("", ""),
}
WITH_PHOTOS = {"quality/pixels --colour", "quality/pixels --colour --cfg 2", "quality/paper --colour"}


def command(name: str, a: argparse.Namespace) -> list[str]:
    script, *options = name.split()
    of_photos = name.startswith("quality/") and "colour" in name
    full = a.full and not (of_photos and a.device == "cpu")  # it would take days
    options += BENCHMARKS[name][full].split()
    if of_photos:
        options += ["--device", a.device]
    if name in WITH_PHOTOS:
        options += ["--photos", str(a.photos)]
    return [sys.executable, str(Path(__file__).parent / f"{script}.py"), *options]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="at full size")
    parser.add_argument("--device", default="cpu", help="of what is measured on colour photos (default: %(default)s)")
    parser.add_argument("--photos", type=Path, help="32 x 32 photos, one folder a class; without it what needs them is left out")
    parser.add_argument("--only", nargs="*", default=list(BENCHMARKS), choices=list(BENCHMARKS))
    a = parser.parse_args()
    failed = []
    for name in a.only:
        if name in WITH_PHOTOS and a.photos is None:
            print(f"== {name}: left out, since it needs --photos", flush=True)
            continue
        print(f"== {name}", flush=True)
        start = time.monotonic()
        if subprocess.run(command(name, a)).returncode:
            failed.append(name)
        print(f"== {name}: {time.monotonic() - start:.0f} s", flush=True)
    if failed:
        raise SystemExit(f"Failed: {', '.join(failed)}.")


if __name__ == "__main__":
    main()
