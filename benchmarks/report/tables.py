"""The tables of the report, each from one file of results."""

from __future__ import annotations

from typing import Any

from uncertainty_nodes.benchmarks.report.markdown import interval, number, table

Results = dict[str, Any]


def filtering(found: Results) -> str:
    """One row a method, most useful first."""
    rows = sorted(found["methods"].items(), key=lambda item: -(item[1]["auroc"] or {"auroc": 0})["auroc"])
    header = ["method", "images", "AUROC", "95 %", "within class", "FID kept", "FID random", "gain", "95 %", "gain by seed", "within class"]
    header += ["precision", "recall", "NFE", "CPU s / image", "peak MB"]
    return table(header, [filtering_row(name, row) for name, row in rows])


def filtering_row(name: str, row: Results) -> list[str]:
    auroc = row["auroc"] or {"auroc": None, "interval": None}
    return [
        name,
        str(row["images"]),
        number(auroc["auroc"], 3),
        interval(auroc["interval"]),
        number(row["auroc_within_class"], 3),
        number(row["fid"], 3),
        f"{number(row['fid_random'], 3)} ± {number(row['fid_random_sd'], 3)}",
        number(row["gain"], 3, signed=True),
        interval(row["gain_interval"]),
        ", ".join(number(g, 2, signed=True) for g in row["gain_per_seed"]),
        number(row["gain_within_class"], 3, signed=True),
        f"{number(row['precision'], 3)} ({number(row['precision'] - row['precision_random'], 3, signed=True)})",
        f"{number(row['recall'], 3)} ({number(row['recall'] - row['recall_random'], 3, signed=True)})",
        f"{row['nfe']:.3g}",
        number(row["seconds"], 3),
        number(row["peak_mb"], 0),
    ]


def combined(found: Results) -> str:
    """Which methods were joined, by the seed that they were judged on."""
    lines = []
    for name, row in found["methods"].items():
        for seed, parts in row.get("of", {}).items():
            lines.append(f"* {name}, seed {seed}: {', '.join(parts)}")
    return "\n".join(lines)


def pixels(found: Results) -> str:
    rows = sorted(found["methods"].items(), key=lambda item: item[1]["ause"])
    cells = [
        [n, r["images"], number(r["ause"], 4), interval(r["ause_interval"], 4), number(r["aurg"], 4), interval(r["aurg_interval"], 4)]
        + [f"{r['nfe']:g}"]
        for n, r in rows
    ]
    return table(["map", "images", "AUSE ↓", "95 %", "AURG ↑", "95 %", "NFE"], cells)


def guidance(found: Results) -> str:
    header = ["setting", "images", "NFE", "agreement", "gain", "95 %", "mean log p", "FID", "gain", "95 %", "precision", "recall"]
    cells = [
        [name, r["images"], f"{r['nfe']:g}", number(r["agreement"], 3), number(r["agreement_gain"], 3, signed=True)]
        + [interval(r["agreement_gain_interval"], 3), number(r["log_p"], 3), number(r["fid"], 3)]
        + [number(r["fid_gain"], 3, signed=True), interval(r["fid_gain_interval"], 3), number(r["precision"], 3), number(r["recall"], 3)]
        for name, r in found["settings"].items()
    ]
    return table(header, cells)


def beyond(found: Results, gain: str, digits: int) -> str:
    """What each guided setting gains over each control; gain: fid_gain or agreement_gain."""
    rows = found["beyond"]
    controls = list(next(iter(rows.values())))
    calls = {name: f"{name} ({row['nfe']:g})" for name, row in found["settings"].items()}
    cells = [
        [calls[g], *(f"{number(r[gain], digits, signed=True)} ({interval(r[f'{gain}_interval'], digits)})" for r in row.values())]
        for g, row in rows.items()
    ]
    return table(["guided (NFE)", *(calls[c] for c in controls)], cells)


def scaling(found: Results) -> str:
    """Time by feature, with the fitted law's prediction beside it."""
    law = found["law"]
    cells = [
        [name, f"{r['nfe']:g}", number(r["seconds"], 3), number(law["a"] + law["b"] * r["nfe"], 3), f"{100 * r['outside_network']:.1f} %"]
        for name, r in found["features"].items()
    ]
    return table(["feature", "NFE", "seconds an image", "a + b NFE", "outside the network"], cells)


def growth(found: Results) -> str:
    """How time grows with one thing at a time."""
    kinds = {
        "by_draws": "draws",
        "by_draws_in_one_call": "draws in one call",
        "by_members": "members",
        "by_batch": "batch",
        "by_size": "pixels a side",
    }
    cells = [
        [title, value, f"{r['nfe']:g}", number(r["seconds"], 3), number(1000 * r["seconds"] / r["nfe"], 2)]
        + [f"{100 * r['outside_network']:.1f} %"]
        for kind, title in kinds.items()
        for value, r in found.get(kind, {}).items()
    ]
    return table(["what", "value", "NFE", "seconds an image", "ms a call", "outside the network"], cells)


def memory(found: Results) -> str:
    ratios = found["step_memory"]["ratios"]
    return table(["mode of guidance", "peak over a plain step"], [[name, number(value, 2)] for name, value in ratios.items()])
