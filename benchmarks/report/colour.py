"""The report's section on the colour model, from results/colour.json."""

from __future__ import annotations

from typing import Any

from uncertainty_nodes.benchmarks.report import best_of, tables
from uncertainty_nodes.benchmarks.report.markdown import interval, number, paragraph, picture, table

Results = dict[str, Any]


def section(found: Results) -> str:
    judge = found["judge"]
    about = paragraph(f"""
        {model_of(found)} (`bundle/train_colour.py`; the running mean of its weights). The judge is a classifier that the scripts train,
        right on {100 * judge["accuracy_held_out"]:.1f} % of {judge["held_out"]} photos that neither saw; *bad*: it gives the asked class p
        < 0.5, so it calls some good pictures bad. FID and recall are in its features (`{judge["architecture"]}`) against those photos, not
        in Inception's. The test split was not used. 20 DDIM steps. {quality(found)}
    """)
    parts = [about, of_guidance(found) + in_short(found)]
    if found["settings"]:
        seeds = ", ".join(map(str, found["seeds"]))
        parts += [f"**Guidance and its controls**, seeds {seeds}.", tables.guidance(found)]
        if any(found["beyond"].values()):
            parts += ["What guidance adds beyond each control, in FID:", tables.beyond(found, "fid_gain", 2)]
    if found["candidates"]:
        parts.append(picture("Pictures of the model, a row a class, without guidance and with it; none was picked", "results/colour.jpg"))
    for name, row in found["candidates"].items():
        parts += [f"**{name}**: {row['bad']} of {row['images']} pictures are bad.", scores(row["scores"])]
        parts += [f"Eight candidates of each of {found['prompts']} prompts. {best_of.verdict(row['plans'])}", best_of.plans(row["plans"])]
    return "\n\n".join(parts)


def model_of(found: Results) -> str:
    """How large it is, and what it has seen."""
    model = found["model"]
    size = number(model.get("parameters", 2.7e6) / 1e6, 1)
    seen = model.get("pictures", 64 * model["steps"])
    return f"A class-conditional model of CIFAR-10, {size} million parameters, by velocity, trained on {seen:,} draws of 40,000 photos"


def quality(found: Results) -> str:
    """How good it is where it draws best, by its own judge."""
    shares = {name: 1 - row["bad"] / row["images"] for name, row in found["candidates"].items()}
    if not shares:
        return ""
    best, real = max(shares, key=lambda name: shares[name]), found["judge"]["accuracy_held_out"]
    start = "The model is weak: the" if shares[best] < real - 0.1 else "The"
    own, photos = (f"{100 * share:.0f} %" for share in (shares[best], real))
    return f"{start} judge finds the asked class in {own} of its pictures at best ({best}), and in {photos} of real photos."


def scores(rows: Results) -> str:
    cells = []
    for name, r in rows.items():
        auroc = r["auroc"] or {"auroc": None, "interval": None}
        cells.append([name, number(auroc["auroc"], 3), interval(auroc["interval"]), number(r["auroc_within_class"], 3)])
        cells[-1] += [number(r["gain"], 2, signed=True), interval(r["gain_interval"]), number(r["gain_within_class"], 2, signed=True)]
    header = ["score at part of the schedule", "AUROC", "95 %", "within class", "FID gain of the best 5/6", "95 %", "within class"]
    return table(header, cells)


def in_short(found: Results) -> str:
    """How good the model is, what finds its bad pictures, and whether choosing helps."""
    lines = []
    for name, row in found["candidates"].items():
        rows = {n: r for n, r in row["scores"].items() if r["auroc"]}
        best, top = max(rows.items(), key=lambda item: item[1]["auroc"]["auroc"])
        full = row["plans"][best_of.FULL]
        shown = "is shown to gain" if full["gain_interval"][0] > 0 else "is not shown to gain"
        lines.append(
            f"{name}: {100 * row['bad'] / row['images']:.0f} % of {row['images']} are bad; `{best}` finds them best (AUROC "
            f"{number(top['auroc']['auroc'], 2)}, {interval(top['auroc']['interval'])}; within a class "
            f"{number(top['auroc_within_class'], 2)}), and the best of 8 by prompt information {shown} "
            f"agreement ({number(full['gain'], 3, signed=True)}, {interval(full['gain_interval'], 3)})."
        )
    return " ".join(lines)


def advice(found: Results) -> str:
    """For the README, with no intervals."""
    signs, of_classes = [], []
    for name, row in found["candidates"].items():
        best, top = max(((n, r) for n, r in row["scores"].items() if r["auroc"]), key=lambda item: item[1]["auroc"]["auroc"])
        auroc, within, scale = top["auroc"]["auroc"], top["auroc_within_class"], name.removeprefix("20 steps, ")
        sign = best.split(" at ")[0].replace("_", " ")
        signs.append(f"{sign} at {scale} (AUROC {number(auroc, 2)}, within a class {number(within, 2)})")
        if within - 0.5 < (auroc - 0.5) / 2:
            of_classes.append(scale)
    classes = f" At {' and '.join(of_classes)} that tells classes apart more than pictures." if of_classes else ""
    rows = {
        "posterior 0.02": found["settings"].get("posterior 0.02"),
        "on CFG 3": found["beyond"].get("CFG 3, posterior 0.02", {}).get("CFG 3"),
    }
    harm = [
        f"{name}: {number(row['fid_gain'], 2, signed=True)} FID" for name, row in rows.items() if row and row["fid_gain_interval"][1] < 0
    ]
    guided = f"Guidance does harm there ({', '.join(harm)}). " if harm else "Guidance is not shown to do harm there. "
    return (
        f"**Colour photos**, by a small model of CIFAR-10. {quality(found)} "
        f"{guided}The best signs of a bad picture: {' and '.join(signs)}.{classes}"
    )


def of_guidance(found: Results) -> str:
    """What the default strength of guidance does there, without CFG and on top of it, each against the same without guidance."""
    told = []
    for name, control in (("posterior 0.02", "plain"), ("CFG 3, posterior 0.02", "CFG 3")):
        row = found["settings"].get(name) if control == "plain" else found["beyond"].get(name, {}).get(control)
        if row is None:
            continue
        gain, pair = row["fid_gain"], row["fid_gain_interval"]
        verb = "gains" if pair[0] > 0 else "loses" if pair[1] < 0 else "is not shown to change"
        told.append(f"`{name}` {verb} FID against `{control}` ({number(gain, 2, signed=True)}, {interval(pair)})")
    if not told:
        return ""
    images = max(row["images"] for row in found["settings"].values())
    return f"Guidance, {images} images of three seeds: {'; '.join(told)}. "
