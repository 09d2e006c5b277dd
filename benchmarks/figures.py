"""Draws the figures of benchmarks/results/*.json, as PNG and SVG beside them: python benchmarks/figures.py"""

from __future__ import annotations

import json
from typing import Any

import matplotlib.pyplot as plt
from common import RESULTS
from matplotlib.axes import Axes


def read(name: str) -> dict[str, Any]:
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def spread_by_draws(axes: Axes) -> None:
    """Prompt information: spread of the score over seeds, with independent and with antithetic draws."""
    found = read("information")["convergence"]
    draws = found["draws"]
    for kind, colour in (("independent", "tab:gray"), ("antithetic", "tab:purple")):
        axes.loglog(draws, found[kind], "o-", color=colour, label=kind, base=2)
    law = [found["independent"][0] * (draws[0] / n) ** 0.5 for n in draws]
    axes.loglog(draws, law, ":", color="black", label="1 / sqrt(draws)", base=2)
    axes.set(xlabel="draws per noise level", ylabel="standard deviation over seeds, nats")


def signal_by_step(axes: Axes) -> None:
    """AUROC for bad images at each noise level, each score in its own direction."""
    direction, levels = read("direction"), read("information")["detection"]["per_level"]
    informed = [next(v["auroc"] for k, v in scores.items() if k.startswith("information")) for scores in levels.values()]
    axes.plot([float(p) for p in levels], informed, "o-", color="tab:purple", label="prompt information")
    axes.plot(direction["percent"], direction["per_step"]["denoised mean"], color="tab:orange", label="denoised")
    axes.plot(direction["percent"], [1 - a for a in direction["per_step"]["noise mean"]], color="tab:blue", label="noise, low = bad")
    axes.axhline(0.5, color="black", linestyle=":", linewidth=1)
    axes.set(xlabel="noise schedule passed (1 = clean)", ylabel="AUROC for bad images")


def main() -> None:
    for draw in (spread_by_draws, signal_by_step):
        figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
        draw(axes)
        axes.legend(frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
        for kind in ("png", "svg"):
            # no date in it: the same results give the same file
            figure.savefig(RESULTS / f"{draw.__name__}.{kind}", dpi=150, metadata={"Date": None} if kind == "svg" else None)
        plt.close(figure)


if __name__ == "__main__":
    main()
