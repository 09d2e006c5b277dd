"""What somebody who already uses classifier-free guidance (CFG) gains, from guidance_cfg.json and guidance_search.json."""

from __future__ import annotations

from typing import Any

from uncertainty_nodes.benchmarks.report import tables
from uncertainty_nodes.benchmarks.report.markdown import interval, number, paragraph, picture, table
from uncertainty_nodes.benchmarks.report.verdicts import CONTRARY, LEANING, PROVEN, REFUTED, sign
from uncertainty_nodes.benchmarks.shared.guidance.settings import UNDER_CFG, Cfg, Guided

Results = dict[str, Any]
TUNING_IMAGES = 500
SAME_CALLS = 1.0  # a control may cost as many calls as what it is held against


def best_control(settings: dict[str, Results], calls: float) -> tuple[str, Results]:
    """The control of most FID gain, of those with at most so many calls."""
    controls = {n: r for n, r in settings.items() if n in UNDER_CFG and not isinstance(UNDER_CFG[n], Guided) and n != "plain"}
    affordable = {n: r for n, r in controls.items() if r["nfe"] <= calls * SAME_CALLS} or controls
    return max(affordable.items(), key=lambda item: item[1]["fid_gain"])


def best_guided(found: Results) -> tuple[str, Results] | None:
    """The guided setting on top of CFG of most FID gain, of those that are held against controls."""
    rows = {n: found["settings"][n] for n in found["beyond"] if getattr(UNDER_CFG.get(n), "cfg", 1) != 1}
    return max(rows.items(), key=lambda item: item[1]["fid_gain"], default=None)


def in_short(found: Results) -> str:
    """Whether uncertainty guidance is worth its calls for who uses CFG; the first sentences of the report."""
    settings = found["settings"]
    guided = best_guided(found)
    if guided is None:
        return "Guidance on top of CFG was not measured."
    name, row = guided
    control, best = best_control(settings, row["nfe"])
    added = found["beyond"][name][control]
    start = {
        PROVEN: "If you use CFG, uncertainty guidance gains more:",
        LEANING: "**If you use CFG, uncertainty guidance is not shown to gain you anything**:",
        REFUTED: "**If you use CFG, uncertainty guidance is not shown to gain you anything**:",
        CONTRARY: "**If you use CFG, uncertainty guidance gives you less**:",
    }[sign(added["fid_gain"], added["fid_gain_interval"])]
    cheap, trick = best_control(settings, 20)
    text = (
        f"{start} `{control}` ({best['nfe']:g} calls) gains {number(best['fid_gain'], 2, signed=True)} FID over plain sampling with "
        f"agreement {number(best['agreement'], 3)}, and the best guided setting, `{name}` ({row['nfe']:g} calls), "
        f"{number(row['fid_gain'], 2, signed=True)} with {number(row['agreement'], 3)} (guided less control "
        f"{number(added['fid_gain'], 2, signed=True)}, {interval(added['fid_gain_interval'])}; "
        f"{row['images']} images of {len(found['seeds'])} seeds)."
    )
    return f"{text} Without CFG the free `{cheap}` gains {number(trick['fid_gain'], 2, signed=True)}."


def advice(found: Results) -> list[str]:
    """What to set, as the README and the nodes' help tell it."""
    settings = found["settings"]
    control, best = best_control(settings, 40)
    windowed = {n: r for n, r in settings.items() if isinstance(UNDER_CFG.get(n), Cfg) and r["nfe"] < 40}
    lines = [in_short(found)]
    lines.append(f"Set CFG first: of the settings without guidance `{control}` has the lowest Fréchet distance ({number(best['fid'], 2)}).")
    for name, row in windowed.items():
        less = row["fid_gain"] - best["fid_gain"]
        more = f"{number(abs(less), 2)} {'less' if less < 0 else 'more'} gained"
        lines.append(f"`{name}` costs {row['nfe']:g} calls: {more}, agreement {number(row['agreement'], 3)}.")
    for name, low in lower_recall(settings).items():
        lines.append(f"`{name}` shows what was asked for most often and loses variety: recall {low}.")
    return lines


def lower_recall(settings: dict[str, Results]) -> dict[str, str]:
    """The setting of most agreement, where it costs variety: recall from the best control's to its own."""
    name, row = max(settings.items(), key=lambda item: item[1]["agreement"])
    reference = best_control(settings, 40)[1]["recall"]
    return {name: f"{number(reference, 2)} to {number(row['recall'], 2)}"} if row["recall"] < reference - 0.02 else {}


def section(found: Results) -> str:
    about = paragraph(f"""
        The same as above under CFG, {found["steps"]} steps, seeds {", ".join(map(str, found["seeds"]))}, which take turns. CFG calls the
        network twice a step where it is on. `eps x` and `CFG` rows are controls; guidance measures the conditional prediction and moves
        the mix. By seed: agreement, and FID gain over plain sampling of the same images.
    """)
    drawn = picture("FID gained, agreement and recall against network calls, under CFG", "results/frontier.png")
    header = ["setting", "agreement by seed", "FID gain by seed"]
    cells = [
        [n, ", ".join(number(a, 3) for a in r["agreement_per_seed"]), ", ".join(number(g, 2, signed=True) for g in r["fid_gain_per_seed"])]
        for n, r in found["settings"].items()
        if "agreement_per_seed" in r
    ]
    parts = [about, drawn, " ".join(advice(found)), tables.guidance(found), table(header, cells)]
    if any(found["beyond"].values()):
        parts += [tables.beyond(found, "fid_gain", 2), tables.beyond(found, "agreement_gain", 3)]
    return "\n\n".join(parts)


def search(found: Results) -> str:
    """The search of shared/guidance/search.py, on its tuning seed."""
    about = paragraph("""
        Uses of uncertainty that could improve tuned CFG, on the tuning seed; the protocol stands at the head of
        `shared/guidance/search.py`. d = cond - none. Rows without a condition are held against plain sampling without one, and their
        agreement means nothing.
    """)
    return "\n\n".join([about, searched(found), tables.guidance(found)])


def searched(found: Results) -> str:
    """Which candidates get past the first hurdle."""
    settings, passed = found["settings"], []
    for name, over in found["beyond"].items():
        rivals = {c: r for c, r in over.items() if settings[c]["nfe"] <= settings[name]["nfe"]}
        if rivals and all(r["fid_gain"] > 0 for r in rivals.values()):
            passed.append(f"`{name}`")
    images = max(r["images"] for r in settings.values())
    few = "" if images >= TUNING_IMAGES else f" The protocol asks for {TUNING_IMAGES}, so this is a first look."
    if not passed:
        return f"On {images} images no candidate gains more FID than the best control of as many calls or fewer.{few}"
    return f"On {images} images these gain more FID than every control of as many calls or fewer: {', '.join(passed)}.{few}"
