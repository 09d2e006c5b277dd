"""The report's section on the colour model, from results/colour.json."""

from __future__ import annotations

import re
from typing import Any

from uncertainty_nodes.benchmarks.report import best_of, tables
from uncertainty_nodes.benchmarks.report.markdown import interval, number, paragraph, picture, table

Results = dict[str, Any]
SCALE = re.compile(r"CFG [\d.]+")
SCALED = "eps x 1.01"
ONE, PRUNED = "one candidate at random", "8 to 2 at 0.25"


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
        parts.append(picture("FID gained, agreement and recall against network calls, on photos", "results/photo_frontier.png"))
    if found["candidates"]:
        parts.append(picture("Agreement gained over one candidate against network calls, on photos", "results/photo_choosing.png"))
        parts.append(picture("Pictures of the model, a row a class, without guidance and with it; none was picked", "results/colour.jpg"))
    for name, row in found["candidates"].items():
        parts += [f"**{name}**: {row['bad']} of {row['images']} pictures are bad.", scores(row["scores"])]
        parts += [f"Eight candidates of each of {found['prompts']} prompts. {best_of.verdict(row['plans'])}", best_of.plans(row["plans"])]
    until = {name: row for name, row in found["candidates"].items() if "until good" in row}
    if until:
        parts += ["**Until good**, at most eight attempts, the candidates in random order:", best_of.until_good(until)]
    return "\n\n".join(parts)


def model_of(found: Results) -> str:
    """How large it is, and what it has seen."""
    model = found["model"]
    size, seen = number(model["parameters"] / 1e6, 1), model.get("pictures")  # the checkpoint of a training does not tell
    trained = f", trained on {seen:,} draws of 40,000 photos" if seen else ""
    return f"A class-conditional model of CIFAR-10, {size} million parameters, by velocity{trained}"


def pieces(found: Results) -> list[str]:
    """What colour_model/README.md says, word for word."""
    model, judge, rows = found["model"], found["judge"], found["settings"]
    scale = best_scale(found) or "plain"
    plain, best, high = (f"{100 * rows[name]['agreement']:.0f} %" for name in ("plain", scale, "CFG 4"))
    return [
        f"`UNet2DModel` of {model['parameters']:,} parameters",
        f"Training: {number(model['pictures'] / 1e6, 1)} million draws of a photo",
        f"Judge: {100 * judge['accuracy_held_out']:.1f} % right on the {judge['held_out']:,} photos",
        f"of {rows['plain']['images']:,} pictures a scale",
        f"in {plain} without guidance, {best} at {scale} (least FID, {number(rows[scale]['fid'], 1)}) and {high} at CFG 4",
    ]


def best_scale(found: Results) -> str | None:
    """The setting of least FID among the scales of classifier-free guidance alone, `plain` being scale 1."""
    rows = {name: row for name, row in found["settings"].items() if name == "plain" or SCALE.fullmatch(name)}
    return min(rows, key=lambda name: rows[name]["fid"]) if rows else None


def quality(found: Results) -> str:
    """How good the model is where it draws best, by its own judge."""
    best = best_scale(found)
    if best is None:
        return ""
    own, real = found["settings"][best]["agreement"], found["judge"]["accuracy_held_out"]
    start = "The model is weak: the" if own < real - 0.1 else "The"
    where = "without CFG" if best == "plain" else f"at {best}"
    shares = f"{100 * own:.0f} % of the model's pictures {where}, where FID is least, and in {100 * real:.0f} % of real photos"
    return f"{start} judge finds the asked class in {shares}."


def scores(rows: Results) -> str:
    cells = []
    for name, r in rows.items():
        auroc = r["auroc"] or {"auroc": None, "interval": None}
        cells.append([name, number(auroc["auroc"], 3), interval(auroc["interval"]), number(r["auroc_within_class"], 3)])
        cells[-1] += [number(r["gain"], 2, signed=True), interval(r["gain_interval"]), number(r["gain_within_class"], 2, signed=True)]
    header = ["score at part of the schedule", "AUROC", "95 %", "within class", "FID gain of the best 5/6", "95 %", "within class"]
    return table(header, cells)


def best_sign(rows: Results) -> tuple[str, Results]:
    """The score that finds bad pictures best, and its row."""
    return max(((name, row) for name, row in rows.items() if row["auroc"]), key=lambda item: item[1]["auroc"]["auroc"])


def in_short(found: Results) -> str:
    """How good the model is, what finds its bad pictures, and whether choosing helps."""
    lines = []
    for name, row in found["candidates"].items():
        best, top = best_sign(row["scores"])
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
    parts = [f"**Colour photos**, by a small model of CIFAR-10. {quality(found)}", guidance_brief(found), signs(found), choosing(found)]
    return " ".join(part for part in parts if part)


def guidance_brief(found: Results) -> str:
    """Where the default strength makes FID worse: without CFG, and on top of the best one."""
    best = best_scale(found)
    rows = {"posterior 0.02": found["settings"].get("posterior 0.02")}
    rows[f"on {best}"] = found["beyond"].get(f"{best}, posterior 0.02", {}).get(best)
    harm = [f"{name} by {number(-row['fid_gain'], 1)}" for name, row in rows.items() if row and row["fid_gain_interval"][1] < 0]
    text = f"Guidance does harm there: it raises FID ({', '.join(harm)})." if harm else "Guidance is not shown to do harm there."
    scaled = found["settings"].get(SCALED)
    if scaled and scaled["fid_gain_interval"][1] < 0:
        text += f" So does scaling the predicted noise ({SCALED} by {number(-scaled['fid_gain'], 1)})."
    return text


def for_cfg(found: Results) -> str:
    """For the README's lines for those who use CFG: what is best on photos."""
    rows = {name: row for name, row in found["settings"].items() if "posterior" not in name}
    name = min(rows, key=lambda n: rows[n]["fid"])
    return f"On colour photos `{name}` has the lowest Fréchet distance ({number(rows[name]['fid'], 2)}). {guidance_brief(found)}"


def signs(found: Results) -> str:
    """What finds bad pictures best at each scale, where that is mostly a matter of classes, and what points the wrong way."""
    told, of_classes, back = [], [], []
    for name, row in found["candidates"].items():
        best, top = best_sign(row["scores"])
        auroc, within, scale = top["auroc"]["auroc"], top["auroc_within_class"], name.removeprefix("20 steps, ")
        sign, point = best.replace("_", " ").replace("information", "prompt information").split(" at ")
        when = "" if point == "1" else f", asked at {point} of the schedule"
        gain = f"; a filter by it gains {number(top['gain'], 2)} FID" if top["gain_interval"][0] > 0 else ""
        told.append(f"{sign} at {scale}{when} (AUROC {number(auroc, 2)}, within a class {number(within, 2)}{gain})")
        if within - 0.5 < (auroc - 0.5) / 2:
            of_classes.append(scale)
        turned = [n for n, r in row["scores"].items() if n.endswith(" at 1") and r["auroc"] and r["auroc"]["interval"][1] < 0.5]
        back += [f"{n.removesuffix(' at 1').replace('_', ' ')} at {scale}" for n in turned]
    text = f"The best signs of a bad picture: {' and '.join(told)}." if told else ""
    text += f" At {' and '.join(of_classes)} more than half of that is a difference between classes, not pictures." if of_classes else ""
    return text + (f" Scores that point the wrong way, calling good pictures the worse ones: {' and '.join(back)}." if back else "")


def choosing(found: Results) -> str:
    """What the pruned best of 8 adds to one picture of the same scale, where that is shown, and in each third of the prompts."""
    told = []
    for name, row in found["candidates"].items():
        pruned, one = row["plans"][PRUNED], row["plans"][ONE]
        if pruned["gain_interval"][0] > 0 and all(gain > 0 for gain in pruned.get("gain_by_third", ())):
            told.append(
                f"{100 * pruned['agreement']:.0f} % instead of {100 * one['agreement']:.0f} % at {name.removeprefix('20 steps, ')} "
                f"({pruned['calls']:.0f} calls for {one['calls']:.0f})"
            )
    plan = "Eight candidates, of which prompt information lets two go on after a quarter of the schedule, show what was asked for in"
    return f"{plan} {' and '.join(told)}.{cfg_instead(found)}" if told else ""


def cfg_instead(found: Results) -> str:
    """Which scale alone does as much as the pruned best of 8 for fewer calls: a sentence, after a space, or nothing."""
    cheaper = []
    for name, row in found["candidates"].items():
        cheaper += scale_instead(found["settings"], name.removeprefix("20 steps, "), row["plans"][PRUNED])
    return f" More CFG alone does as much for fewer calls: {' and '.join(cheaper)}." if cheaper else ""


def scale_instead(settings: Results, scale: str, plan: Results) -> list[str]:
    """The lowest scale that shows what was asked for as often as the plan does at ``scale``, for fewer calls; none where there is none."""
    rows = {name: row for name, row in settings.items() if SCALE.fullmatch(name)}
    enough = [name for name, row in rows.items() if row["agreement"] >= plan["agreement"] and row["nfe"] < plan["calls"]]
    if not enough:
        return []
    name = min(enough, key=lambda n: rows[n]["agreement"])
    lost = [number(settings[n]["recall"], 2) for n in ("plain" if scale == "CFG 1" else scale, name)]
    return [f"{name} shows it in {100 * rows[name]['agreement']:.0f} % ({rows[name]['nfe']:.0f} calls, recall {' to '.join(lost)})"]


def of_guidance(found: Results) -> str:
    """What the default strength of guidance does there, without CFG and on top of the best one, each against the same without guidance."""
    told, best = [], best_scale(found)
    for name, control in (("posterior 0.02", "plain"), (f"{best}, posterior 0.02", best)):
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
