"""What README.md says of the measurements, derived from the results: python benchmarks/report/readme.py

The paragraphs of ``blocks`` are written between their marks. Of the rest of "What it can and cannot do", every figure must be one of
``figures`` and every claim must hold by ``claims``; tests/project/benchmarks checks it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from uncertainty_nodes.benchmarks.report import best_of, risk, shapes
from uncertainty_nodes.benchmarks.report.markdown import interval, number
from uncertainty_nodes.benchmarks.report.photos import colour
from uncertainty_nodes.benchmarks.report.photos import tables as photos
from uncertainty_nodes.benchmarks.report.under_cfg import guidance as under_cfg
from uncertainty_nodes.benchmarks.report.under_cfg import scores as cfg_scores
from uncertainty_nodes.benchmarks.shared.common import BENCHMARKS, MissingResults, read
from uncertainty_nodes.core.files import replacing

Results = dict[str, Any]
README = BENCHMARKS.parent / "README.md"
SCORES = {  # rows of the README -> of filtering.json
    "prompt information": "prompt information",
    "prompt information with generative uncertainty, by rank": "rank average of the best two",
    "generative uncertainty": "generative uncertainty",
    "noise, low = bad": "noise",
    "denoised, of the finished image": "denoised, finished image",
    "denoised": "denoised",
    "MC dropout": "MC dropout",
    "BayesDiff": "BayesDiff",
    "noise in the paper's last steps": "noise, last steps",
    "ensemble": "DECU",
    "control: amount of ink": "ink (no model)",
}
GUIDED = {  # rows of the README -> of guidance.json
    "posterior 0.02, the default": "posterior 0.02",
    "posterior 0.05": "posterior 0.05",
    "posterior -0.02, the wrong way": "posterior -0.02",
    "posterior 0.02 without the part along the predicted noise": "posterior 0.02, orthogonal",
    "forward 0.1": "forward 0.1",
    "forward 0.2, in the second half of the schedule": "forward 0.2, second half of the schedule",
    "control: predicted noise times 1.02": "eps x 1.02",
    "control: random direction 0.1": "random direction 0.1",
    "control: 100 plain steps": "plain, 100 steps",
    "control: best of 4 by prompt information": "best of 4 by information",
}
PLANS = {  # rows of the README -> of best_of.json
    "one candidate": "one candidate at random",
    "best of 2": "best of 2",
    "best of 4": "best of 4",
    "best of 8": "best of 8",
    "best of 8, two go on after a quarter of the schedule": "8 to 2 at 0.25",
    "best of 8, one goes on after half of it": "8 to 1 at 0.5",
}


BLOCKS: dict[str, tuple[str, Callable[[Results], list[str]]]] = {  # mark -> results' file, and what it says
    "cfg": ("guidance_cfg", lambda found: [*under_cfg.advice(found), colour.for_cfg(read("colour"))]),
    "scores under cfg": ("filtering_cfg", lambda found: [f"**Which images are bad, under CFG**: {cfg_scores.brief(found)}"]),
    "promise": ("risk", lambda found: [risk.advice(found)]),
    "counted": ("shapes", lambda found: [shapes.advice(found)]),
    "free maps": ("pixels_cfg", lambda found: [f"**A map for no call**: {cfg_scores.pixel_brief(found)}"]),
    "free choice": ("best_of_free", lambda found: [f"**Choosing at no call**: {best_of.free_brief(found)}"]),
    "colour": ("colour", lambda found: [colour.advice(found)]),
    "photos": ("filtering_colour", lambda found: on_photos(found)),
}


def on_photos(found: Results) -> list[str]:
    return [
        photos.brief(found, read("filtering_colour_cfg")),
        photos.beyond_images(read("pixels_colour"), read("pixels"), read("ensemble_colour")),
    ]


def blocks() -> dict[str, str]:
    """Mark -> the text that belongs between it and its end; of what was measured."""
    found = {}
    for mark, (name, lines) in BLOCKS.items():
        with suppress(MissingResults):
            found[mark] = "\n".join(f"- {line}" for line in lines(read(name)))
    return found


def figures() -> list[str]:
    """Every piece of the README that holds a figure, as the results have it."""
    scores, guided, best = read("filtering")["methods"], read("guidance")["settings"], read("best_of")
    pieces = [score_row(name, scores[key]) for name, key in SCORES.items()]
    pieces += [guided_row(name, guided[key]) for name, key in GUIDED.items()]
    plans = [best["settings"][f"20 steps, CFG {cfg}"]["plans"] for cfg in ("1", "1.5")]
    pieces += [plan_row(name, *(p[key] for p in plans)) for name, key in PLANS.items()]
    fids = [plans[1][name]["fid"] for name in ("one candidate at random", "best of 8")]
    ause = {name: number(row["ause"], 3) for name, row in read("pixels")["methods"].items()}
    accepted = [best["settings"][f"20 steps, CFG {cfg}"]["until good"]["75"] for cfg in ("1", "1.5")]
    until = " | ".join(f"{number(a['agreement'], 3)} | {a['calls']:.0f}" for a in accepted)
    ensemble = read("ensemble")
    branch, moment = f"{ensemble['default']['branch']:g}", ensemble["default"]["moment"]
    trained = (ensemble, ensemble["other_digits_scarce"])
    scarce = [e["branches"][branch][moment]["information"]["scarce_against_full"]["auroc"] for e in trained]
    under = read("ensemble_cfg")["scales"]["1.5"][branch][moment]["information"]
    guided_scarce = under["scarce_against_full"]["auroc"]
    after = guided["posterior 0.02, then eps x 1.01"]
    pieces += [
        f"{scores['denoised']['images']:,} new images, {scores['denoised']['bad']} of them bad",
        f"| sample until accepted, 75 of 100 usual images pass | {until} |",
        f"are told apart with AUROC {number(scarce[0], 2)} ({ensemble['images_per_class']} images a digit; {number(scarce[1], 2)} too",
        f"with other digits scarce, and {number(guided_scarce, 2)} at CFG 1.5)",
        f"AUSE, low is good, {ause['denoised']}; MC dropout {ause['MC dropout']}, a picture's brightness {ause['brightness (no model)']}, "
        f"noise {ause['noise']}, random {ause['random']}",
        f"({number(after['fid_gain'], 2, signed=True)}) and shows the asked digit more often ({number(after['agreement'], 3)} against "
        f"{number(guided['eps x 1.02']['agreement'], 3)})",
        f"it does harm ({number(guided['forward 0.2, first half of the schedule']['fid_gain'], 2, signed=True)})",
        f"{best['prompts']} prompts with {best['candidates']} candidates each",
        f"rises from {number(fids[0], 2)} (one) to {number(fids[1], 2)} (best of 8)",
    ]
    return pieces


def score_row(name: str, row: Results) -> str:
    auroc = row["auroc"]
    cells = [name, number(auroc["auroc"], 3), interval(auroc["interval"], 3), number(row["gain"], 2, signed=True)]
    return "| " + " | ".join([*cells, interval(row["gain_interval"]), f"{row['nfe']:.0f}"]) + " |"


def guided_row(name: str, row: Results) -> str:
    gain = f"{number(row['fid_gain'], 2, signed=True)} ({interval(row['fid_gain_interval'])})"
    cells = [name, number(row["agreement"], 3), gain, number(row["precision"], 3), number(row["recall"], 3), f"{row['nfe']:.0f}"]
    return "| " + " | ".join(cells) + " |"


def plan_row(name: str, plain: Results, cfg: Results) -> str:
    cells = [name, number(plain["agreement"], 3), f"{plain['calls']:.0f}", number(cfg["agreement"], 3), f"{cfg['calls']:.0f}"]
    return "| " + " | ".join(cells) + " |"


def claims() -> dict[str, bool]:
    """A claim of the README, word for word -> whether the results say so."""
    scores, guided = read("filtering")["methods"], read("guidance")["settings"]
    own = {n: r for n, r in scores.items() if not n.startswith(("classifier", "rank average", "ink"))}
    best = max(own, key=lambda n: own[n]["auroc"]["auroc"])
    joined = scores["rank average of the best two"]["auroc"]["auroc"]
    half, first = guided["forward 0.2, second half of the schedule"], guided["forward 0.2, first half of the schedule"]
    plans = read("best_of")["settings"]
    maps = {n: r["ause"] for n, r in read("pixels")["methods"].items() if n != "oracle"}
    return (
        claims_on_scores(scores, own, best, joined)
        | claims_on_guidance(guided, half, first)
        | claims_on_choosing(plans)
        | {
            "*denoised* points at errors best": min(maps, key=lambda n: maps[n]).startswith("denoised"),
        }
    )


def claims_on_scores(scores: Results, own: Results, best: str, joined: float) -> dict[str, bool]:
    spreads = [own[n] for n in ("denoised", "noise", "denoised, finished image", "MC dropout")]
    by_pixels = [r["auroc"]["pixels, semantic variance 0.001"]["auroc"] for r in read("bayesian")["generative"].values()]
    low, high = scores["DECU"]["auroc"]["interval"]
    return {
        "finds bad images best": best == "prompt information",
        "Joining it with others by rank does not improve it": joined <= own["prompt information"]["auroc"]["auroc"],
        "on photos next to none": not any(found_on_photos(n) for n in ("denoised", "noise", "denoised, finished image", "MC dropout")),
        "a **weak signal**": all(r["auroc"]["interval"][0] > 0.5 and r["auroc"]["auroc"] < 0.75 for r in spreads),
        "finds some bad images and makes the rest less varied": all(r["recall"] < r["recall_random"] and r["gain"] <= 0 for r in spreads),
        "Keep the best *of each prompt*": all(r["gain_within_class"] > max(r["gain"], 0) for r in spreads),
        "by pixels alone it reaches about 0.6": all(abs(a - 0.6) < 0.08 for a in by_pixels),
        "not what is badly drawn": low <= 0.5 <= high,
    }


def found_on_photos(name: str) -> bool:
    return photos.finds(read(pool)["methods"][name] for pool in ("filtering_colour", "filtering_colour_cfg"))


def claims_on_guidance(guided: Results, half: Results, first: Results) -> dict[str, bool]:
    default, across, masked = (guided[n] for n in ("posterior 0.02", "posterior 0.02, orthogonal", "forward 0.1, top 5 % of pixels"))
    strong, gradient = guided["posterior 0.05"], [guided[n] for n in ("forward 0.1", "forward 0.2", "autograd 0.1")]
    shown = {name: guided[key] for name, key in GUIDED.items()}
    return {
        "Try it first, but not on photos": read("colour")["settings"][colour.SCALED]["fid_gain_interval"][1] < 0,
        "gains more in Fréchet distance": guided["eps x 1.02"]["fid_gain"] >= default["fid_gain"],
        "it gains nearly as much": across["fid_gain"] > 0.8 * default["fid_gain"],
        "turned round it spoils the images": guided["posterior -0.02"]["fid_gain_interval"][1] < 0,
        "Stronger guidance shows what was asked for still more often": strong["agreement"] > default["agreement"],
        "recall falls": strong["recall"] < default["recall"] < guided["plain"]["recall"],
        "gains less here than the mix": all(r["fid_gain"] < default["fid_gain"] for r in gradient),
        "in the first half alone it does harm": first["fid_gain_interval"][1] < 0,
        "as much where it waits for the second half of the schedule": half["fid_gain_interval"][1] >= default["fid_gain"],
        "at less loss of variety": half["recall"] > default["recall"],
        "mask of 5 % of the pixels does nothing": masked["fid_gain_interval"][0] <= 0 <= masked["fid_gain_interval"][1],
        "more steps gain nothing": guided["plain, 100 steps"]["fid_gain"] <= 0,
        "is the surest way to what was asked for": max(shown, key=lambda n: shown[n]["agreement"]).startswith("control: best of 4"),
    }


def claims_on_choosing(settings: Results) -> dict[str, bool]:
    plain, cfg, quick = (settings[f"{steps} steps, CFG {scale}"]["plans"] for steps, scale in ((20, "1"), (20, "1.5"), (6, "1")))
    pruned, few = plain["8 to 2 at 0.25"], quick["8 to 2 at 0.25"]
    return {
        "A suited CFG comes first": cfg["one candidate at random"]["agreement"] >= plain["best of 4"]["agreement"] - 0.005,
        "does nearly what a pruned *best of 8* does, for fewer calls": plain["best of 4"]["agreement"] >= pruned["agreement"] - 0.01
        and plain["best of 4"]["calls"] < pruned["calls"],
        "saves about 40 % of the calls": abs(pruned["share_of_calls"] - 0.6) < 0.03,
        "keeps about 99 % of its gain": abs(pruned["kept_gain"] - 0.99) < 0.02,
        "at 6 steps comparing takes back half of that": abs((1 - few["share_of_calls"]) / (1 - pruned["share_of_calls"]) - 0.5) < 0.1,
        "the best of many are alike": cfg["best of 8"]["fid"] > cfg["one candidate at random"]["fid"],
    }


SETTINGS = ("times 1.02", "by 1.02", "at 1.01", "Scaling* at 0.98")  # figures that were chosen, not measured
HELP = "gave better images than steering on top of cfg"  # in the guidance nodes and on their help pages


def control_is_better() -> bool:
    """Whether HELP may stand."""
    found = read("guidance_cfg")
    name, row = under_cfg.best_guided(found) or ("", {})
    added = found["beyond"][name][under_cfg.best_control(found["settings"], row["nfe"])[0]]
    return added["fid_gain_interval"][1] < 0


MIX_HELP = "that finds hardly more bad images; keep `cfg` at 1"  # on the help page of Uncertainty Estimator
HARDLY = 0.05  # of AUROC


def mix_finds_hardly_more() -> bool:
    """Whether MIX_HELP may stand."""
    rows = [row[cfg_scores.ASKED] for row in read("filtering_cfg")["scales"].values()]
    return all(d["difference"] < HARDLY for row in rows for d in row.get("mix_less_conditional", {}).values())


def marked(name: str, text: str) -> re.Match[str] | None:
    return re.search(rf"(<!-- {name} -->\n).*?(\n<!-- end {name} -->)", text, re.DOTALL)


def main() -> None:
    text = README.read_text(encoding="utf-8")
    for name, block in blocks().items():
        place = marked(name, text)
        if place is None:
            raise SystemExit(f"README.md has no mark <!-- {name} -->.")
        text = f"{text[: place.end(1)]}{block}{text[place.start(2) :]}"
    with replacing(README) as temporary:
        temporary.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
