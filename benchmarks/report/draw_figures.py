"""Draws the figures of benchmarks/results/*.json, as PNG and SVG beside them: python benchmarks/report/draw_figures.py"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from uncertainty_nodes.benchmarks.quality.colour import GUIDED as PHOTOS_GUIDED
from uncertainty_nodes.benchmarks.shared import common
from uncertainty_nodes.benchmarks.shared.common import MissingResults, read
from uncertainty_nodes.benchmarks.shared.guidance.settings import UNDER_CFG, Guided

# Okabe & Ito 2008: told apart by people with any kind of colour vision; markers tell them apart in print
STYLES: dict[str, tuple[str, str]] = {
    "prompt information": ("#CC79A7", "o"),
    "denoised": ("#D55E00", "s"),
    "noise": ("#0072B2", "s"),
    "denoised, last steps": ("#D55E00", "^"),
    "noise, last steps": ("#0072B2", "^"),
    "denoised, finished image": ("#D55E00", "<"),
    "denoised, finished image, last steps": ("#D55E00", ">"),
    "MC dropout": ("#009E73", "D"),
    "BayesDiff": ("#E69F00", "v"),
    "generative uncertainty": ("#56B4E9", "P"),
    "DECU": ("#000000", "*"),
    "rank average of the best two": ("#882255", "X"),
    "rank average of the best three": ("#882255", "d"),
    "ink (no model)": ("#999999", "x"),
    "classifier (the judge itself)": ("#999999", "+"),
}
FAMILIES: dict[str, tuple[str, str]] = {  # settings of the guidance table that differ in strength alone
    "forward": ("#0072B2", "o"),
    "posterior": ("#D55E00", "s"),
    "autograd": ("#009E73", "^"),
    "eps x": ("#999999", "x"),
}
SCORERS: dict[str, tuple[str, str]] = {  # that choose between candidates
    "prompt information": ("#CC79A7", "o"),
    "denoised": ("#D55E00", "s"),
    "noise": ("#0072B2", "s"),
    "trajectory": ("#009E73", "D"),
    "condition gap": ("#E69F00", "v"),
    "trajectory and gap": ("#000000", "^"),
    "information and trajectory": ("#882255", "P"),
}
MARKERS = "os^vDPX*<>dph"
SINGLE = {"plain": "*", "plain, 100 steps": "+", "random direction 0.1": "v", "best of 4 by information": "P"}
IN_CALIBRATION = ("prompt information", "denoised", "noise", "MC dropout", "BayesDiff", "generative uncertainty", "DECU", "ink (no model)")


def spread_by_draws(figure: Figure) -> None:
    """Prompt information: spread of the score over seeds, with independent and with antithetic draws."""
    axes, found = figure.subplots(), read("information")["convergence"]
    draws = found["draws"]
    for kind, colour, marker in (("independent", "#999999", "s"), ("antithetic", "#CC79A7", "o")):
        axes.loglog(draws, found[kind], marker=marker, color=colour, label=kind, base=2)
    law = [found["independent"][0] * (draws[0] / n) ** 0.5 for n in draws]
    axes.loglog(draws, law, ":", color="black", label="1 / sqrt(draws)", base=2)
    axes.set(xlabel="draws per noise level", ylabel="standard deviation over seeds, nats")
    axes.legend(frameon=False)


def signal_by_step(figure: Figure) -> None:
    """AUROC for bad images at each noise level, each score in its own direction."""
    axes, direction, levels = figure.subplots(), read("direction"), read("information")["detection"]["per_level"]
    informed = [next(v["auroc"] for k, v in scores.items() if k.startswith("information")) for scores in levels.values()]
    lines = {
        "prompt information": ([float(p) for p in levels], informed),
        "denoised": (direction["percent"], direction["per_step"]["denoised mean"]),
        "noise": (direction["percent"], [1 - a for a in direction["per_step"]["noise mean"]]),
    }
    for name, (x, y) in lines.items():
        colour, marker = STYLES[name]
        axes.plot(x, y, color=colour, marker=marker, markersize=4, label=name)
    axes.axhline(0.5, color="black", linestyle=":", linewidth=1)
    for (start, end), text in (((0.60, 0.75), "our window"), ((0.90, 0.98), "the paper's")):
        axes.axvspan(start, end, color="black", alpha=0.07, linewidth=0)
        axes.annotate(text, ((start + end) / 2, 0.02), xycoords=("data", "axes fraction"), ha="center", fontsize=8)
    axes.set(xlabel="noise schedule passed (0 = noise, 1 = clean)", ylabel="AUROC for bad images")
    axes.legend(frameon=False, loc="upper right")


def calibration(figure: Figure) -> None:
    """Share of bad images in each tenth of a score's ranking."""
    figure.set_size_inches(8, 3.8)
    axes, methods = figure.subplots(), read("filtering")["methods"]
    for name in (n for n in IN_CALIBRATION if n in methods):
        colour, marker = STYLES[name]
        share = methods[name]["share_bad_by_decile"]
        axes.plot(range(1, len(share) + 1), share, color=colour, marker=marker, markersize=5, label=name, linewidth=1.4)
    whole = methods["denoised"]
    axes.axhline(whole["bad"] / whole["images"], color="black", linestyle=":", linewidth=1, label="all images")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set(xlabel="tenth of the ranking, best to worst", ylabel="bad images", xticks=range(1, 11), ylim=(0, None))
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right center", frameon=False, fontsize=8)


def cost(figure: Figure) -> None:
    """AUROC and FID gained against network calls, with 95 % intervals."""
    figure.set_size_inches(9.5, 3.8)
    found, methods = figure.subplots(1, 2, sharex=True), read("filtering")["methods"]
    shown = [name for name in STYLES if name in methods and methods[name]["auroc"]]
    for place, name in enumerate(shown):
        row, (colour, marker) = methods[name], STYLES[name]
        nfe = row["nfe"] + 6 * (place - len(shown) / 2) / len(shown)  # side by side where the price is the same
        drawn = {"color": colour, "marker": marker, "markersize": 7, "linestyle": "none", "elinewidth": 0.8, "label": name}
        for axes, value, pair in (
            (found[0], row["auroc"]["auroc"], row["auroc"]["interval"]),
            (found[1], row["gain"], row["gain_interval"]),
        ):
            low, high = min(pair[0], value), max(pair[1], value)
            axes.errorbar(nfe, value, yerr=[[value - low], [high - value]], **drawn)
    for axes, chance, text in ((found[0], 0.5, "AUROC for bad images"), (found[1], 0.0, "FID gained over random subsets")):
        axes.axhline(chance, color="black", linestyle=":", linewidth=1)
        axes.set(xlabel="network calls per image beyond sampling", ylabel=text)
    figure.legend(*found[0].get_legend_handles_labels(), loc="outside right center", frameon=False, fontsize=8)


def classes(figure: Figure) -> None:
    """DECU: mean uncertainty of each digit against the number of its training images; with the shares moved to other digits, too."""
    axes, found = figure.subplots(), read("ensemble")
    default = found["default"]
    drawn = {"shares as bundled": (found, "#0072B2", "o")}
    if "other_digits_scarce" in found:
        drawn["shares moved to other digits"] = (found["other_digits_scarce"], "#D55E00", "s")
    for label, (result, colour, marker) in drawn.items():
        row = result["branches"][f"{default['branch']:g}"][default["moment"]]["information"]
        axes.scatter(result["training_digits"], row["class_means"], color=colour, marker=marker, label=label)
        for digit, place in enumerate(zip(result["training_digits"], row["class_means"], strict=True)):
            axes.annotate(str(digit), place, xytext=(5 if digit % 2 else -10, -3), textcoords="offset points", fontsize=8, color=colour)
    axes.set(xscale="log", yscale="log", xlabel="training images of the digit", ylabel="mean uncertainty I, nats")
    if len(drawn) > 1:
        axes.legend(frameon=False)


def guidance(figure: Figure) -> None:
    """FID gained against agreement and against recall, by strength, and the controls; of settings that were run on most images."""
    figure.set_size_inches(9.5, 3.8)
    found, settings = figure.subplots(1, 2, sharey=True), read("guidance")["settings"]
    most = max(row["images"] for row in settings.values())
    full = {name: row for name, row in settings.items() if row["images"] == most}
    for family, (colour, marker) in FAMILIES.items():
        members = {strength: row for name, row in full.items() if (strength := strength_of(name, family)) is not None}
        if not members:
            continue
        members[1.0 if family == "eps x" else 0.0] = full["plain"]  # what leaves the sampling as it is
        for axes, quality in zip(found, ("agreement", "recall"), strict=True):
            line = sorted(members.items())
            x, y = [row[quality] for _, row in line], [row["fid_gain"] for _, row in line]
            axes.plot(x, y, color=colour, marker=marker, markersize=5, linewidth=1, label=family)
            for (strength, _), place in zip(line, zip(x, y, strict=True), strict=True):
                axes.annotate(f"{strength:g}", place, xytext=(4, 4), textcoords="offset points", fontsize=7, color=colour)
    for name in (n for n in SINGLE if n in full):
        for axes, quality in zip(found, ("agreement", "recall"), strict=True):
            axes.plot(full[name][quality], full[name]["fid_gain"], color="black", marker=SINGLE[name], linestyle="none", label=name)
    for axes, text in zip(found, ("images that show the asked digit", "recall (variety)"), strict=True):
        axes.axhline(0, color="black", linestyle=":", linewidth=1)
        axes.set(xlabel=text)
    found[0].set(ylabel="FID gained over plain sampling")
    figure.legend(*found[0].get_legend_handles_labels(), loc="outside right center", frameon=False, fontsize=8)


def frontier(figure: Figure) -> None:
    draw_frontier(figure, read("guidance_cfg")["settings"])


def photo_frontier(figure: Figure) -> None:
    draw_frontier(figure, read("colour")["settings"])


def draw_frontier(figure: Figure, settings: dict[str, Any]) -> None:
    """Under classifier-free guidance: FID gained, agreement and recall against network calls."""
    figure.set_size_inches(11, 3.8)
    found = figure.subplots(1, 3, sharex=True)
    for place, (name, row) in enumerate(settings.items()):
        guided = isinstance((UNDER_CFG | PHOTOS_GUIDED).get(name), Guided)
        colour, marker = ("#D55E00" if guided else "#0072B2" if "CFG" in name else "#999999"), MARKERS[place % len(MARKERS)]
        drawn = {"color": colour, "marker": marker, "linestyle": "none", "label": name}
        for axes, quality in zip(found, ("fid_gain", "agreement", "recall"), strict=True):
            axes.plot(row["nfe"] + 0.6 * (place % 4), row[quality], **drawn)  # side by side where the price is the same
    texts = ("FID gained over plain sampling", "images that show what was asked for", "recall (variety)")
    for axes, text in zip(found, texts, strict=True):
        axes.set(xlabel="network calls per image", ylabel=text)
    found[0].axhline(0, color="black", linestyle=":", linewidth=1)
    figure.legend(*found[0].get_legend_handles_labels(), loc="outside right center", frameon=False, fontsize=8)


def choosing(figure: Figure) -> None:
    draw_choosing(figure, read("best_of_free")["settings"])


def photo_choosing(figure: Figure) -> None:
    draw_choosing(figure, read("colour")["candidates"])


def draw_choosing(figure: Figure, settings: dict[str, Any]) -> None:
    """Agreement gained over one candidate against network calls, by the scorer that chooses; one panel a scale of guidance."""
    figure.set_size_inches(9.5, 3.8)
    for axes, (title, rows) in zip(figure.subplots(1, len(settings), squeeze=False)[0], settings.items(), strict=True):
        for scorer, (colour, marker) in SCORERS.items():
            own = {n: r for n, r in rows["plans"].items() if scorer_of(n) == scorer and r["gain_interval"]}
            for whole in (True, False):
                points = [(r["calls"], r["gain"]) for n, r in own.items() if n.startswith("best of") == whole]
                name = f"{scorer}, {'best of 2, 4, 8' if whole else 'pruned'}"
                face = colour if whole else "none"
                if points:
                    axes.plot(*zip(*sorted(points), strict=True), marker, color=colour, markerfacecolor=face, label=name, markersize=5)
        axes.axhline(0, color="black", linestyle=":", linewidth=1)
        axes.set(title=title, xlabel="network calls per image kept", ylabel="agreement gained over one candidate")
    figure.legend(*figure.axes[-1].get_legend_handles_labels(), loc="outside right center", frameon=False, fontsize=7)


def scorer_of(plan: str) -> str:
    """Plans are named after the scorer behind the last comma, prompt information where none is."""
    last = plan.rsplit(", ", 1)[-1]
    return last if last in SCORERS else "both" if last == "both" else "prompt information"


def strength_of(name: str, family: str) -> float | None:
    """The number after the family's name, where nothing else is changed."""
    try:
        return float(name.removeprefix(f"{family} ")) if name.startswith(family) else None
    except ValueError:
        return None


FIGURES: tuple[Callable[[Figure], None], ...] = (
    spread_by_draws,
    signal_by_step,
    calibration,
    cost,
    classes,
    guidance,
    frontier,
    choosing,
    photo_frontier,
    photo_choosing,
)


def save(draw: Callable[[Figure], None]) -> None:
    figure = plt.figure(figsize=(6, 3.8), layout="constrained")
    draw(figure)
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    for kind in ("png", "svg"):
        # no date in it, and no random ids: the same results give the same file
        figure.savefig(common.RESULTS / f"{draw.__name__}.{kind}", dpi=150, metadata={"Date": None} if kind == "svg" else None)
    plt.close(figure)


def main() -> None:
    plt.rcParams["svg.hashsalt"] = "uncertainty_nodes"
    for draw in FIGURES:
        try:
            save(draw)
        except MissingResults as missing:
            print(f"Left out {draw.__name__}: {missing}")


if __name__ == "__main__":
    main()
