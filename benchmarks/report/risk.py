"""The report's section on the rule at_most_bad, from results/risk.json."""

from __future__ import annotations

from typing import Any

from uncertainty_nodes.benchmarks.report.markdown import number, paragraph, table

Results = dict[str, Any]


def verdict(found: Results) -> str:
    """Whether the promise was kept everywhere, and where it was kept least."""
    cells = [cell for population in found["populations"].values() for cell in population["cells"]]
    least = min(cells, key=lambda cell: cell["kept"])
    broken = [cell for cell in cells if not cell["as_promised"]]
    text = (
        f"kept in {100 * least['kept']:.1f} % or more of {found['splits']:,} calibrations at each of {len(cells)} settings, where "
        f"{100 * found['confidence']:.0f} % are promised"
    )
    text += "; where no limit is found, that counts as kept"
    return f"The promise is {text}." if not broken else f"**The promise is broken** at {len(broken)} settings: it is {text}."


def advice(found: Results) -> str:
    """For the README."""
    return (
        "**A promise with a number**: from images that you call good or bad, Sample Filter's rule `at_most_bad` reads off which scores may "
        f"pass so that at most, say, 5 % of those are bad. {verdict(found)} {often(found)} With too few labels it says how many are needed."
    )


def often(found: Results, alpha: float = 0.05, labels: int = 200) -> str:
    """How often a limit is found for images of a model."""
    told = []
    for name, population in found["populations"].items():
        if not name.startswith("simulated"):
            row = next(c for c in population["cells"] if (c["alpha"], c["labels"]) == (alpha, labels))
            told.append(f"{name} ({100 * population['share_bad']:.1f} % bad), {100 * row['with_limit']:.0f} %")
    start = f"How often {labels} labels give a limit for {100 * alpha:.0f} %, by prompt information"
    return f"{start}: {'; '.join(told)}." if told else ""


def section(found: Results) -> str:
    about = paragraph(f"""
        The filter's rule `at_most_bad` reads off labelled images up to which score at most the share alpha of the images is bad. Each
        cell: in how many of {found["splits"]:,} calibrations the promise was kept (no limit at all keeps it too), and in brackets in how
        many there was a limit, and what share of all images passes it then.
    """)
    header = ["images", "bad", "alpha"]
    first = next(iter(found["populations"].values()))["cells"]
    counts = list(dict.fromkeys(cell["labels"] for cell in first))
    cells = []
    for name, population in found["populations"].items():
        for alpha in dict.fromkeys(cell["alpha"] for cell in population["cells"]):
            row = [cell for cell in population["cells"] if cell["alpha"] == alpha]
            cells.append([name, f"{100 * population['share_bad']:.1f} %", f"{alpha:g}", *(written(cell) for cell in row)])
    return "\n\n".join([about, verdict(found), table([*header, *(f"{count} labels" for count in counts)], cells)])


def written(cell: Results) -> str:
    passing = "-" if cell["passing"] is None else number(cell["passing"], 2)
    return f"{number(cell['kept'], 3)} ({number(cell['with_limit'], 2)}, {passing})"
