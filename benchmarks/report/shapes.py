"""The report's section on the drawn shapes, whose judge counts, from results/shapes.json."""

from __future__ import annotations

from typing import Any

from uncertainty_nodes.benchmarks.report.markdown import interval, number, paragraph, table

Results = dict[str, Any]
FULL = "best of 8"


def section(found: Results) -> str:
    about = paragraph(f"""
        On digits the judge is a network, and so are the features of FID. Here a rule counts: a tiny model, trained for
        {found["training"]["steps"]} steps, draws one to five discs, all red or all blue, and a picture is right when just that many
        areas of a disc's size and of the one colour are found. 20 DDIM steps. Eight candidates of each of {found["prompts"]} prompts;
        AUROC for wrong pictures; *gain*: right pictures beyond a candidate taken at random, one picture a prompt.
    """)
    parts = [about, verdict(found["settings"]), scales(found["scales"])]
    for name, rows in found["settings"].items():
        parts.append(f"**{name}.** {rows['wrong']} of {rows['images']} pictures are wrong.")
        if rows["scores"]:
            parts.append(table(["score at part of the schedule", "AUROC", "interval"], score_rows(rows["scores"])))
        parts.append(plans(rows["plans"]))
    if "ensemble" in found:
        parts.append(ensemble(found["ensemble"]))
    return "\n\n".join(parts)


def advice(found: Results) -> str:
    """One sentence for the README."""
    name, best = next((n, f) for n, f in found["settings"].items() if f["scores"])
    rows, full = best["scores"], best["plans"][FULL]
    shown = "is" if full["gain_interval"][0] > 0 else "is not shown to be"
    return (
        f"**Where a rule counts, it hardly helps**: a tiny model draws one to five discs and gets {best['wrong']} of {best['images']} "
        f"pictures wrong ({name}). Prompt information finds those with AUROC {number(rows['information at 1']['auroc'], 2)}, denoised with "
        f"{number(rows['denoised at 1']['auroc'], 2)}, and the best of 8 {shown} right more often than one at random "
        f"({number(full['gain'], 3, signed=True)}, {interval(full['gain_interval'])}).{of_ensemble(found)} A model's doubt need not be of "
        "what you look for."
    )


def of_ensemble(found: Results) -> str:
    """Whether its members' disagreement tells wrong pictures, without guidance."""
    told = found.get("ensemble", {}).get("CFG 1", {}).get("information")
    if told is None:
        return ""
    low, high = told["interval"]
    verb = "finds them" if low > 0.5 else "is not shown to find them" if high >= 0.5 else "points the other way"
    return f" An ensemble's disagreement {verb} (AUROC {number(told['auroc'], 2)}, {interval(told['interval'])})."


def verdict(settings: Results) -> str:
    """What the best score finds, and whether the best of 8 is shown to gain."""
    lines = []
    for name, found in settings.items():
        rows = found["scores"]
        if not rows:
            continue
        best, row = max(rows.items(), key=lambda item: item[1]["auroc"])
        gain = found["plans"][FULL]["gain_interval"]
        shown = "is shown to gain" if gain[0] > 0 else "is not shown to gain"
        lines.append(
            f"{name}: the best score is {best} with AUROC {number(row['auroc'], 2)}, prompt information of the finished picture has "
            f"{number(rows['information at 1']['auroc'], 2)}, and the best of 8 by it {shown} right pictures ({interval(gain)})."
        )
    return paragraph(" ".join(lines)) if lines else ""


def ensemble(found: Results) -> str:
    """How well disagreement between members tells wrong pictures."""
    about = paragraph(f"""
        **Ensemble.** {found["members"]} members with class embeddings of their own, each trained on its own bootstrap of new pictures
        (`bundle/train_shapes_ensemble.py`), drawn from the noises of the plain pictures: AUROC for wrong pictures of how much they
        disagree, at the node's default branch.
    """)
    cells = []
    for scale, row in ((name, row) for name, row in found.items() if name.startswith("CFG")):
        for score in ("information", "distance"):
            told = row.get(score, {"auroc": None, "interval": None})
            cells.append(
                [scale, score, row["images"], row["wrong"], f"{row['nfe']:g}", number(told["auroc"], 3), interval(told["interval"])]
            )
    return "\n\n".join([about, table(["setting", "score", "pictures", "wrong", "NFE", "AUROC", "interval"], cells)])


def scales(rows: Results) -> str:
    cells = [[name, number(r["calls"], 0), number(r["right"], 3), interval(r["right_interval"])] for name, r in rows.items()]
    return table(["plain sampling", "calls", "right", "interval"], cells)


def score_rows(rows: Results) -> list[list[str]]:
    return [[name, number(r["auroc"], 3), interval(r["interval"])] for name, r in rows.items()]


def plans(rows: Results) -> str:
    cells = []
    for name, r in rows.items():
        gain = interval(r["gain_interval"]) if r["gain_interval"] else ""
        share = number(r["share_of_calls"], 2) if "share_of_calls" in r else ""
        saved = number(r["kept_gain"], 2) if r.get("kept_gain") is not None else ""
        cells.append([name, number(r["calls"], 0), number(r["right"], 3), number(r["gain"], 3, signed=True), gain, saved, share])
    return table(["plan", "calls", "right", "gain", "interval", "kept", "share of calls"], cells)
