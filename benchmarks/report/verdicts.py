"""What the figures say, by rule: sentences and verdicts that change when the figures do."""

from __future__ import annotations

from typing import Any

from uncertainty_nodes.benchmarks.report.markdown import interval, listed, number
from uncertainty_nodes.benchmarks.shared.guidance.settings import MAIN, SCREEN, Guided
from uncertainty_nodes.core.options import GuidanceOptions

Results = dict[str, Any]
SETTINGS = MAIN | SCREEN
PROVEN, LEANING, REFUTED, CONTRARY, UNTESTED = "yes", "in sign only", "no", "the other way round", "not measured"
NO_MODEL = ("ink", "classifier", "rank average")


def sign(value: float, pair: list[float]) -> str:
    """Whether a claimed gain is there: its sign, and whether its interval keeps clear of 0."""
    if value > 0:
        return PROVEN if pair[0] > 0 else LEANING
    return CONTRARY if pair[1] < 0 else REFUTED


def in_short(results: dict[str, Results]) -> list[str]:
    """What the report begins with: what disappoints, before all else."""
    if "guidance_cfg" in results:
        found = results["guidance_cfg"]
        told = [f"{guidance(without_cfg(found))} Seeds {', '.join(map(str, found['seeds']))}."]
    else:
        told = [guidance(results["guidance"])] if "guidance" in results else ["Guidance was not measured."]
    told += [filtering(results["filtering"])] if "filtering" in results else ["Filtering was not measured."]
    return told + ([pixels(results["pixels"])] if "pixels" in results else [])


def without_cfg(found: Results) -> Results:
    """Of what was measured on several seeds, the part without classifier-free guidance."""
    settings = {name: row for name, row in found["settings"].items() if "CFG" not in name}
    beyond = {name: {c: row for c, row in by.items() if c in settings} for name, by in found["beyond"].items() if name in settings}
    return {"settings": settings, "beyond": beyond}


def is_guidance(name: str) -> bool:
    """Guidance alone, not one joined with a control."""
    setting = SETTINGS.get(name)
    return isinstance(setting, Guided) and setting.factor == 1


def guidance(found: Results) -> str:
    """Whether guidance improves quality, and whether its controls do as much. Judged on the settings that were run on most images."""
    settings = {name: row for name, row in found["settings"].items() if name != "plain"}
    guided = {name: row for name, row in settings.items() if is_guidance(name)}
    if not guided:
        return "Guidance was not measured beside its controls."
    most = max(row["images"] for row in guided.values())
    controls = {n: row for n, row in settings.items() if not isinstance(SETTINGS.get(n), Guided) and row["images"] >= most}
    guided = {name: row for name, row in guided.items() if row["images"] == most}
    name, row = max(guided.items(), key=lambda item: item[1]["fid_gain"])
    figures = f"{number(row['fid_gain'], 2, signed=True)}, 95 % {interval(row['fid_gain_interval'])}"
    start = {
        PROVEN: f"Guidance improves sample quality over plain sampling: FID of its best setting, `{name}`, gains {figures}",
        LEANING: f"Guidance is not shown to improve sample quality: FID of its best setting, `{name}`, gains {figures}, within the error",
    }.get(
        sign(row["fid_gain"], row["fid_gain_interval"]),
        f"Guidance does not improve sample quality at any setting that was run at full size: FID of the best, `{name}`, gains {figures}",
    )
    text = f"{start}, on {row['images']} images with {row['nfe']:g} network calls each."
    added = found["beyond"].get(name)
    return " ".join([text, *([beside(added, settings)] if added else []), agreement(guided, controls, found["settings"]["plain"])])


def of_default(settings: dict[str, Results]) -> str:
    """What the package's own default gains, and what the other guided settings that were run on as many images gain beyond it."""
    name = next((n for n, s in SETTINGS.items() if s == Guided(GuidanceOptions())), None)
    if name not in settings:
        return "The package's default was not measured."
    own, plain = settings[name], settings["plain"]
    rivals = {n: r for n, r in settings.items() if is_guidance(n) and r["images"] == own["images"] and n != name}
    better = [f"`{n}`" for n, r in rivals.items() if r["fid_gain_interval"][0] > own["fid_gain_interval"][1]]
    text = f"The package's default is `{name}`: FID gain {number(own['fid_gain'], 2, signed=True)}, agreement gain "
    text += f"{number(own['agreement_gain'], 3, signed=True)}, recall {number(plain['recall'], 2)} to {number(own['recall'], 2)}, "
    text += f"{own['nfe']:g} calls. Of {len(rivals)} other guided settings on as many images, "
    text += f"{listed(better)} gain clearly more FID." if better else "none gains clearly more FID."
    surest, row = max(rivals.items(), key=lambda item: item[1]["agreement_gain"], default=(name, own))
    if row["agreement_gain"] <= own["agreement_gain"]:
        return text
    cost = f"FID gain {number(row['fid_gain'], 2, signed=True)} and recall {number(row['recall'], 2)}"
    return f"{text} Most agreement: `{surest}`, {number(row['agreement_gain'], 3, signed=True)}, at {cost}."


def agreement(guided: dict[str, Results], controls: dict[str, Results], plain: Results) -> str:
    """Whether more images show what was asked for, at what loss of variety, and whether a control does as much."""
    name, row = max(guided.items(), key=lambda item: item[1]["agreement_gain"])
    if row["agreement_gain_interval"][0] <= 0:
        return "Nor do more images show what was asked for."
    text = f"More images do show what was asked for: {number(row['agreement_gain'], 3, signed=True)} with `{name}`"
    text += f" ({interval(row['agreement_gain_interval'], 3)})"
    lost = row["recall"] - plain["recall"]
    text += f", with less variety (recall {number(plain['recall'], 2)} to {number(row['recall'], 2)})" if lost < -0.02 else ""
    if not controls:
        return f"{text}."
    other, control = max(controls.items(), key=lambda item: item[1]["agreement_gain"])
    return f"{text}; `{other}` gains {number(control['agreement_gain'], 3, signed=True)} with {control['nfe']:g} calls."


def beside(added: dict[str, Results], settings: dict[str, Results]) -> str:
    """What the best guidance adds to the control that it gains least over."""
    control, less = min(added.items(), key=lambda item: item[1]["fid_gain"])
    row = settings[control]
    figures = f"{number(row['fid_gain'], 2, signed=True)} over plain with {row['nfe']:g} calls"
    paired = f"guidance less control {number(less['fid_gain'], 2, signed=True)}, {interval(less['fid_gain_interval'])}"
    return {
        PROVEN: f"Its best control, `{control}`, gains {figures}: guidance goes beyond it ({paired}).",
        LEANING: f"The best control, `{control}`, gains {figures}: **what guidance adds to it is not shown** ({paired}).",
        REFUTED: f"**The control `{control}` gains as much or more ({figures}): guidance adds nothing to it** ({paired}).",
        CONTRARY: f"**The control `{control}` gains more ({figures}): guidance falls short of it** ({paired}).",
    }[sign(less["fid_gain"], less["fid_gain_interval"])]


def filtering(found: Results) -> str:
    """How far the methods see, and for which of them filtering gains nothing."""
    rows = {name: row for name, row in found["methods"].items() if row["auroc"]}
    methods = {name: row for name, row in rows.items() if not name.startswith(NO_MODEL)}
    if not methods:
        return "Filtering was tried on too few images to tell: none of them is bad."
    best, top = max(methods.items(), key=lambda item: item[1]["auroc"]["auroc"])
    blind = [f"`{name}`" for name, row in methods.items() if row["auroc"]["interval"][0] <= 0.5]
    idle = [f"`{name}`" for name, row in methods.items() if row["gain_interval"][0] <= 0]
    most = max(row["images"] for row in rows.values())
    text = f"Of {len(methods)} scores on {most} images, `{best}` finds bad images best (AUROC {number(top['auroc']['auroc'])})"
    text += f"; not better than chance: {listed(blind)}." if blind else "; all are better than chance."
    if not idle:
        return f"{text} Filtering by each improves FID beyond random subsets."
    text = f"{text} Filtering by {listed(idle)} is not shown to improve FID beyond random subsets."
    within = sorted(row["gain_within_class"] for row in methods.values())
    text += f" Where the best of each digit are kept, gains are {number(within[0], 2, signed=True)} to {number(within[-1], 2, signed=True)}"
    ink = rows.get("ink (no model)")
    return f"{text}; the amount of ink alone gains {number(ink['gain_within_class'], 2, signed=True)}." if ink else f"{text}."


def pixels(found: Results) -> str:
    """Which map points at errors best, and what points the wrong way."""
    controls = ("oracle", "random")
    rows = {name: row for name, row in found["methods"].items() if name not in controls and "the other way up" not in name}
    best, top = min(rows.items(), key=lambda item: item[1]["ause"])
    free, control = min(((n, r) for n, r in rows.items() if "(no model)" in n), key=lambda item: item[1]["ause"])
    worse = [f"`{n}`" for n, r in rows.items() if r["ause"] > control["ause"] and n != free]
    text = f"Per pixel, `{best}` points at errors best (AUSE {number(top['ause'], 3)})"
    return (
        f"{text}; a picture's own {free.removesuffix(' (no model)')}, at {number(control['ause'], 3)}, beats {listed(worse)}."
        if worse
        else f"{text}."
    )
