"""Writes benchmarks/REPORT.md from benchmarks/results/*.json alone: python benchmarks/report/write_report.py

Nothing is measured here. A benchmark that was not run is named as such in its section. --check: say whether the report is up to date.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from uncertainty_nodes.benchmarks.report import best_of, claims, free_scores, risk, shapes, text, verdicts
from uncertainty_nodes.benchmarks.report.photos import colour
from uncertainty_nodes.benchmarks.report.photos import tables as photos
from uncertainty_nodes.benchmarks.report.under_cfg import guidance as under_cfg
from uncertainty_nodes.benchmarks.report.under_cfg import scores as cfg_scores
from uncertainty_nodes.benchmarks.shared import common
from uncertainty_nodes.benchmarks.shared.common import MissingResults, command_of, read
from uncertainty_nodes.core.files import replacing

Results = dict[str, Any]
BENCHMARKS = (
    "filtering",
    "free_scores",
    "filtering_cfg",
    "pixels",
    "pixels_cfg",
    "paper",
    "posterior",
    "guidance",
    "guidance_cfg",
    "guidance_search",
    "risk",
    "best_of",
    "best_of_free",
    "until_good",
    "shapes",
    "colour",
    "filtering_colour",
    "filtering_colour_cfg",
    "pixels_colour",
    "pixels_colour_cfg",
    "ensemble_colour",
    "ensemble_colour_cfg",
    "paper_colour",
    "direction",
    "information",
    "bayesian",
    "ensemble",
    "ensemble_cfg",
    "gradient",
    "speed",
    "speed_gpu",
    "scaling",
    "comfyui",
)


def protocol(filtering: Results, pixels: Results) -> str:
    """At the paper's own number of steps too, where that was run."""
    return claims.protocol(filtering, pixels, {"": found_or_none("paper"), ", photos": found_or_none("paper_colour")})


def photo_pixels(plain: Results, digits: Results, digits_guided: Results) -> str:
    """Under guidance too, where that was run."""
    return photos.pixels(plain, digits, digits_guided, found_or_none("pixels_colour_cfg"))


def photo_ensembles(plain: Results, digits: Results) -> str:
    return photos.ensembles(plain, digits, found_or_none("ensemble_colour_cfg"))


SECTIONS: tuple[tuple[str, tuple[str, ...], Callable[..., str]], ...] = (
    ("Filtering", ("filtering",), text.filtering),
    ("Scores that cost no call, and a learned early stop", ("free_scores",), free_scores.section),
    ("Every score under classifier-free guidance", ("filtering_cfg",), cfg_scores.section),
    ("Pixels", ("pixels",), text.pixels),
    ("Pixels under classifier-free guidance", ("pixels_cfg",), cfg_scores.pixels),
    ("The aleatoric paper's protocol", ("filtering", "pixels"), protocol),
    ("Error bars: the posterior variance", ("posterior",), free_scores.posterior),
    ("Guidance", ("guidance",), text.guidance),
    ("Guidance beside classifier-free guidance", ("guidance_cfg",), under_cfg.section),
    ("A search for guidance that improves tuned CFG", ("guidance_search",), under_cfg.search),
    ("A promise with a number", ("risk",), risk.section),
    ("Best of N with early pruning, and until good", ("best_of",), best_of.section),
    ("Choosing by scores that cost no call", ("best_of_free",), best_of.free),
    ("Until good at equal calls", ("until_good",), best_of.equal_calls),
    ("A judge that counts: drawn shapes", ("shapes",), shapes.section),
    ("Colour photos", ("colour",), colour.section),
    ("Colour photos: filtering by every method", ("filtering_colour", "filtering"), photos.filtering),
    ("Colour photos: filtering under classifier-free guidance", ("filtering_colour_cfg", "filtering_cfg"), photos.filtering_under_cfg),
    ("Colour photos: pixels", ("pixels_colour", "pixels", "pixels_cfg"), photo_pixels),
    ("Colour photos: ensembles", ("ensemble_colour", "ensemble"), photo_ensembles),
    ("Early signal", ("direction", "information"), text.early_signal),
    ("Laplace, generative uncertainty, BayesDiff", ("bayesian",), text.bayesian),
    ("Ensembles: is what was seldom seen known to be so?", ("ensemble",), text.ensemble),
    ("Ensembles under classifier-free guidance", ("ensemble_cfg",), cfg_scores.ensembles),
    ("Forward against exact gradient", ("gradient",), text.gradient),
    ("Speed", ("scaling",), text.scaling),
    ("Memory, and speed beside the ratio of calls", ("speed",), text.speed),
    ("Speed on a GPU", ("speed_gpu",), text.speed_gpu),
    ("Speed inside ComfyUI", ("comfyui",), text.comfyui),
)


def report() -> str:
    """The whole of REPORT.md."""
    results = {name: found for name in BENCHMARKS if (found := found_or_none(name)) is not None}
    parts = ["# Benchmark report", text.PREFACE, f"**In short**\n\n{in_short(results)}"]
    for title, needed, write in SECTIONS:
        parts += [f"## {title}", section(results, needed, write)]
    parts += ["## Against the papers", text.CLAIMS_PREFACE, claims.table_of_claims(results)]
    parts += ["## How it was made", text.made(results), text.LIMITS]
    return "\n\n".join(parts) + "\n"


def in_short(results: dict[str, Results]) -> str:
    """First what somebody who uses CFG gains, since most people do."""
    first = [under_cfg.in_short(results["guidance_cfg"])] if "guidance_cfg" in results else []
    first += [f"Under CFG: {cfg_scores.advice(results['filtering_cfg'])}"] if "filtering_cfg" in results else []
    last = [risk.verdict(results["risk"])] if "risk" in results else []
    last += [colour.advice(results["colour"])] if "colour" in results else []
    pools = [results[name] for name in ("filtering_colour", "filtering_colour_cfg") if name in results]
    last += [photos.brief(*pools)] if len(pools) == 2 else []
    return "\n".join(f"- {part}" for part in [*first, *verdicts.in_short(results), *last])


def found_or_none(name: str) -> Results | None:
    try:
        return read(name)
    except MissingResults:
        return None


def section(results: dict[str, Results], needed: tuple[str, ...], write: Callable[..., str]) -> str:
    missing = [name for name in needed if name not in results]
    if missing:
        commands = " and ".join(f"`{command_of(name)}`" for name in missing)
        return f"Not measured: run {commands}."
    return write(*(results[name] for name in needed))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail when REPORT.md is not what the results say")
    parser.add_argument("--out", type=Path, default=common.RESULTS.parent / "REPORT.md")
    a = parser.parse_args()
    written = report()
    if a.check:
        if not a.out.exists() or a.out.read_text(encoding="utf-8") != written:
            raise SystemExit(f"{a.out} is not what the results say; run python benchmarks/report/write_report.py.")
        return
    with replacing(a.out) as temporary:
        temporary.write_text(written, encoding="utf-8")
    print(f"Wrote {a.out}")


if __name__ == "__main__":
    main()
