"""The report's tables of the colour model beside the digits' own, and what they say."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from uncertainty_nodes.benchmarks.report.markdown import interval, listed, number, paragraph, table
from uncertainty_nodes.benchmarks.report.under_cfg.scores import ASKED
from uncertainty_nodes.core.metrics.scores import spearman

Results = dict[str, Any]
CEILING, CONTROL, JOINED = "classifier (the judge itself)", "ink (no model)", "rank average"
SHOWN = {CONTROL: "brightness, of digits ink (no model)"}
NAMED = {  # in the README
    "DECU": "an ensemble's disagreement",
    "generative uncertainty": "generative uncertainty, seen through the judge's own features",
}
CHANCE = 0.5
FAINT = 0.55  # an AUROC below which a score finds hardly any


def filtering(photos: Results, digits: Results) -> str:
    """Both at CFG 1."""
    beside = {name: (row["auroc"] or {}).get("auroc") for name, row in digits["methods"].items()}
    gains = {name: row["gain"] for name, row in digits["methods"].items()}
    return "\n\n".join([about(photos), verdict(photos, beside), images_table(photos, beside, gains)])


def filtering_under_cfg(photos: Results, digits: Results) -> str:
    """Beside the digits at the scale that is nearest of those with enough bad images."""
    judged = {float(scale): row[ASKED]["scores"] for scale, row in digits["scales"].items() if "scores" in row.get(ASKED, {})}
    if not judged:
        return "\n\n".join([about(photos), verdict(photos, {}), images_table(photos, {}, {})])
    scale = min(judged, key=lambda s: abs(s - photos["cfg"]))
    beside = {name.removesuffix(", conditional"): row["auroc"] for name, row in judged[scale].items()}
    text = f"The digits' column is of CFG {scale:g}, by the section above; recorded scores are of the conditional prediction."
    return "\n\n".join([about(photos), f"{verdict(photos, beside)} {text}", images_table(photos, beside, {})])


def about(found: Results) -> str:
    row = next(iter(found["methods"].values()))
    return paragraph(f"""
        {found["images"]} photos by the colour model, {len(found["seeds"])} seeds, {found["steps"]} DDIM steps, CFG {found["cfg"]:g},
        {found["precision"]}; {100 * row["bad"] / row["images"]:.0f} % are bad by a judge that is itself right on
        {100 * found["judge"]["accuracy_held_out"]:.0f} % of real photos, so some good ones count as bad. FID in that judge's features.
    """)


def methods_of(found: Results) -> dict[str, Results]:
    """Those that compete: no ceiling, no control, nothing joined of others, and with an AUROC."""
    rows = found["methods"].items()
    return {n: r for n, r in rows if n not in (CEILING, CONTROL) and not n.startswith(JOINED) and r["auroc"]}


def verdict(found: Results, beside: dict[str, float | None]) -> str:
    """What disappoints first."""
    rows = methods_of(found)
    if not rows:
        return "Too few bad or good images for any AUROC."
    judged = {n: r["auroc"]["interval"] for n, r in rows.items() if r["auroc"]["interval"]}
    back = [f"`{n}`" for n, (_, high) in judged.items() if high < CHANCE]
    blind = [f"`{n}`" for n, (low, high) in judged.items() if low <= CHANCE <= high]
    seen = {n: r for n, r in rows.items() if f"`{n}`" not in back + blind}
    faint = [f"`{n}`" for n, r in seen.items() if r["auroc"]["auroc"] < FAINT]
    coarse = [f"`{n}`" for n, r in seen.items() if f"`{n}`" not in faint and of_classes(r)]
    harm = [f"`{n}`" for n, r in rows.items() if r["gain_interval"][1] < 0]
    help_ = [f"`{n}` ({number(r['gain'], 2, signed=True)})" for n, r in rows.items() if r["gain_interval"][0] > 0]
    lines = [f"They point the wrong way, calling good photos the worse ones: {listed(back)}."] if back else []
    lines += [f"Not shown to find bad photos, AUROC above a half: {listed(blind)}."] if blind else []
    lines += [f"They find hardly any, AUROC below {FAINT:g}: {listed(faint)}."] if faint else []
    lines += [f"They tell classes apart more than photos of one class: {listed(coarse)}."] if coarse else []
    lines += [f"Filtering by them makes FID worse than by chance: {listed(harm)}."] if harm else []
    lines += [f"FID is better than by chance for {listed(help_)}." if help_ else "No score is shown to lower FID more than chance does."]
    best = max(rows, key=lambda n: rows[n]["auroc"]["auroc"])
    top, ceiling = rows[best], found["methods"].get(CEILING)
    lines.append(
        f"`{best}` finds most (AUROC {number(top['auroc']['auroc'], 2)}, {interval(top['auroc']['interval'])}; within a class "
        f"{number(top['auroc_within_class'], 2)}; {top['nfe']:g} calls)"
        + (f", where the judge itself gains {number(ceiling['gain'], 2, signed=True)} FID." if ceiling else ".")
    )
    shared = [n for n in rows if beside.get(n) is not None]
    if len(shared) > 2:
        ours, theirs = torch.tensor([rows[n]["auroc"]["auroc"] for n in shared]), torch.tensor([beside[n] for n in shared])
        order = spearman(ours.double(), theirs.double())
        lines.append(f"The order of {len(shared)} methods on digits and here: rank correlation {number(order, 2, signed=True)}.")
    return " ".join(lines)


def of_classes(row: Results) -> bool:
    """Whether most of what a score finds is a difference between classes."""
    return (row["auroc_within_class"] or CHANCE) - CHANCE < (row["auroc"]["auroc"] - CHANCE) / 2


def images_table(found: Results, beside: dict[str, float | None], gains: dict[str, float]) -> str:
    header = ["method", "NFE", "AUROC", "95 %", "within class", "digits' AUROC", "FID gain", "95 %", "within class", "digits' gain"]
    header += ["precision, less random", "recall, less random"]
    rows = sorted(found["methods"].items(), key=lambda item: -(item[1]["auroc"] or {"auroc": 0})["auroc"])
    cells = []
    for name, r in rows:
        auroc = r["auroc"] or {"auroc": None, "interval": None}
        cells.append([SHOWN.get(name, name), f"{r['nfe']:.3g}", number(auroc["auroc"], 3), interval(auroc["interval"])])
        cells[-1] += [number(r["auroc_within_class"], 3), number(beside.get(name), 3)]
        cells[-1] += [number(r["gain"], 2, signed=True), interval(r["gain_interval"]), number(r["gain_within_class"], 2, signed=True)]
        cells[-1] += [number(gains.get(name), 2, signed=True)]
        cells[-1] += [number(r[kind] - r[f"{kind}_random"], 3, signed=True) for kind in ("precision", "recall")]
    return table(header, cells)


def brief(plain: Results, guided: Results) -> str:
    """For the README: which scores find bad photos among those of one class too, at both scales, and which do not."""
    pools = {f"CFG {found['cfg']:g}": methods_of(found) for found in (plain, guided)}
    names = [n for n in dict.fromkeys(name for pool in pools.values() for name in pool) if ", " not in n]  # windows are in the report
    rows = {n: {scale: pool[n] for scale, pool in pools.items() if n in pool} for n in names}
    holding = [n for n, measured in rows.items() if finds(measured.values())]

    def told(name: str) -> str:
        both = ", ".join(number(r["auroc"]["auroc"], 2) for r in rows[name].values())
        return f"{NAMED.get(name, name)} ({both}{'' if len(rows[name]) == len(pools) else f' at {next(iter(rows[name]))}'})"

    text = f"**Which scores find bad photos**, {plain['images']:,} at {' and as many at '.join(pools)}, AUROC at each: "
    text += f"{listed([told(n) for n in holding])}. " if holding else "none. "
    text += f"Within a class, these find hardly any or point the wrong way: {listed([told(n) for n in names if n not in holding])}."
    for scale, pool in pools.items():
        lowered = [f"{n} by {number(r['gain'], 2)}" for n, r in pool.items() if n in names and r["gain_interval"][0] > 0]
        text += f" At {scale} " + (f"filters lower FID: {listed(lowered)}." if lowered else "no filter is shown to lower FID.")
    return text


def finds(measured: Iterable[Results]) -> bool:
    """Whether a score finds bad photos among those of one class, wherever it was measured."""
    return all((r["auroc_within_class"] or CHANCE) >= FAINT and r["auroc"]["interval"][0] > CHANCE for r in measured)


def beyond_images(pixels: Results, digits: Results, ensemble: Results) -> str:
    """For the README: what the best map finds on photos and on digits, and whether an ensemble knows what was seldom trained."""
    maps = {n: r for n, r in pixels["methods"].items() if n not in ("oracle", "random") and "other way" not in n}
    best = min(maps, key=lambda n: maps[n]["ause"])
    ours, theirs = (f"{100 * share(rows['methods'][best]):.0f} %" for rows in (pixels, digits))
    scarce = ensemble["branches"][f"{ensemble['default']['branch']:g}"][ensemble["default"]["moment"]]["information"]["scarce_against_full"]
    return (
        f"**Where the errors are in a photo**, {best} tells best, but only {ours} of what a perfect map would (on digits {theirs}). "
        f"An ensemble tells classes that were seldom trained with AUROC {number(scarce['auroc'], 2)}."
    )


def share(row: Results | None) -> float | None:
    """AURG as a share of the oracle's: 1 points at every error, 0 is a random order. Its sum with AUSE is the oracle's AURG."""
    return None if row is None or row["aurg"] + row["ause"] == 0 else row["aurg"] / (row["aurg"] + row["ause"])


def pixels(plain: Results, digits: Results, digits_guided: Results, guided: Results | None = None) -> str:
    """CFG 1, and the scale that was asked for where that was measured, each beside the digits."""
    theirs = max(digits_guided["scales"], key=float)
    both, beside = dict(plain["methods"]), digits["methods"] | {"trajectory": digits_guided["scales"]["1"]["methods"]["trajectory"]}
    if guided is not None:
        both["trajectory"] = guided["scales"]["1"]["methods"]["trajectory"]
    intro = paragraph(f"""
        {plain["images"]} photos that neither the model nor the judge saw, noised and sampled as the digits above, every value of the three
        channels a pixel. *Share*: AURG as a share of the oracle's, since photos have larger errors; 0 is a random order, below it the map
        points away from the errors.
    """)
    parts = [intro, f"**CFG 1**, RMSE {number(plain['rmse'], 3)}. {pointing(both, beside)}", maps_table(both, beside)]
    if guided is not None:
        scale = max(guided["scales"], key=float)
        rows, other = guided["scales"][scale], digits_guided["scales"][theirs]["methods"]
        told = f"{pointing(rows['methods'], other)} The digits are at CFG {theirs}."
        parts += [f"**CFG {scale}**, RMSE {number(rows['rmse'], 3)}. {told}", maps_table(rows["methods"], other)]
    return "\n\n".join(parts)


def pointing(rows: dict[str, Results], beside: dict[str, Results]) -> str:
    """Which maps point away from the errors, then which best, and whether brightness does as well."""
    maps = {n: r for n, r in rows.items() if n not in ("oracle", "random") and "other way" not in n}
    away = [f"`{n}`" for n, r in maps.items() if r["aurg_interval"][1] < 0]
    asked = {n: r for n, r in maps.items() if "no model" not in n}
    best = min(asked, key=lambda n: asked[n]["ause"])
    better = [n for n, r in maps.items() if "no model" in n and r["ause"] <= asked[best]["ause"]]
    text = f"Maps that point away from the errors: {listed(away)}. " if away else ""
    text += f"A map that asks nothing of the model, `{better[0]}`, points as well as any. " if better else ""
    text += f"`{best}` points best, {number(share(asked[best]), 2)} of the oracle's"
    return text + (f"; on digits it has {number(share(beside[best]), 2)}." if best in beside else ".")


def maps_table(rows: dict[str, Results], beside: dict[str, Results]) -> str:
    cells = [
        [n, f"{r['nfe']:g}", number(r["ause"], 4), interval(r["ause_interval"], 4), number(r["aurg"], 4), interval(r["aurg_interval"], 4)]
        + [number(share(r), 2), number(share(beside.get(n)), 2)]
        for n, r in sorted(rows.items(), key=lambda item: item[1]["ause"])
    ]
    return table(["map", "NFE", "AUSE ↓", "95 %", "AURG ↑", "95 %", "share", "digits' share"], cells)


def ensembles(plain: Results, digits: Results, guided: Results | None = None) -> str:
    """Every branch at CFG 1, and the default one under guidance where that was measured."""
    moment, branch = plain["default"]["moment"], f"{plain['default']['branch']:g}"
    default = plain["branches"][branch][moment]["information"]
    low = default["scarce_against_full"]["interval"][0]
    told = f"AUROC {number(default['scarce_against_full']['auroc'], 2)}, {interval(default['scarce_against_full']['interval'])}"
    shown = "are told from those of full ones" if low > CHANCE else "are not shown to be told from those of full ones"
    seen = ", ".join(map(str, plain["training_digits"]))
    intro = paragraph(f"""
        Photos of classes of which the members saw 1 % {shown} ({told}, by the default score). {plain["images_per_class"]} photos a class,
        {plain["members"]} members, {plain["steps"]} steps; members saw {seen} photos of the classes.
    """)
    cells, scales = [], {} if guided is None else guided["scales"]
    runs = [("1", plain["branches"], digits["branches"]), *((s, rows, {}) for s, rows in scales.items() if float(s) != 1)]
    for scale, branches, beside in runs:
        for at, row in branches.items():
            for quantity, r in row[moment].items():
                other = beside.get(at, {}).get(moment, {}).get(quantity)
                scarce = r["scarce_against_full"]
                cells.append([scale, at, quantity, f"{row['NFE']:g}", number(r["spearman_of_class_means"], 2, signed=True)])
                cells[-1] += [number(scarce["auroc"], 3), interval(scarce["interval"])]
                cells[-1].append(number(other["scarce_against_full"]["auroc"], 3) if other else "-")
    header = ["CFG", "branch", "score", "NFE", "rank correlation", "AUROC, scarce against full", "95 %", "digits' AUROC"]
    return "\n\n".join([intro, table(header, cells)])
