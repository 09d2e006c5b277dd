"""What README.md says of the measurements, derived from the results: python benchmarks/report/readme.py

The paragraphs on classifier-free guidance, on promises and on counted shapes are written between their marks. Of the rest of "What it can
and cannot do", every figure must be one of ``figures`` and every claim must hold by ``claims``; tests/project/test_benchmarks.py checks it.
"""

from __future__ import annotations

import re
from typing import Any

from uncertainty_nodes.benchmarks.report import risk, shapes, under_cfg
from uncertainty_nodes.benchmarks.report.markdown import interval, number
from uncertainty_nodes.benchmarks.shared.common import BENCHMARKS, read
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


def blocks() -> dict[str, str]:
    """Mark -> the text that belongs between it and its end."""
    found = {"cfg": "\n".join(f"- {line}" for line in under_cfg.advice(read("guidance_cfg")))}
    return found | {"promise": f"- {risk.advice(read('risk'))}", "counted": f"- {shapes.advice(read('shapes'))}"}


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
    after = guided["posterior 0.02, then eps x 1.01"]
    pieces += [
        f"{scores['denoised']['images']:,} new images, {scores['denoised']['bad']} of them bad",
        f"| sample until accepted, 75 of 100 usual images pass | {until} |",
        f"are told apart with AUROC {number(scarce[0], 2)} ({ensemble['images_per_class']} images a digit; {number(scarce[1], 2)} too",
        f"AUSE {ause['denoised']}; MC dropout {ause['MC dropout']}, a picture's brightness {ause['brightness (no model)']}, "
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
    return {
        "finds bad images best": best == "prompt information",
        "Joining it with others by rank does not improve it": joined <= own["prompt information"]["auroc"]["auroc"],
        "*denoised* points at errors best": min(maps, key=lambda n: maps[n]).startswith("denoised"),
        "gains more in Fréchet distance. Try it first": guided["eps x 1.02"]["fid_gain"] >= guided["posterior 0.02"]["fid_gain"],
        "turned round it spoils the images": guided["posterior -0.02"]["fid_gain_interval"][1] < 0,
        "in the first half alone it does harm": first["fid_gain_interval"][1] < 0,
        "as much where it waits for the second half of the schedule": half["fid_gain_interval"][1] >= guided["posterior 0.02"]["fid_gain"],
        "more steps gain nothing": guided["plain, 100 steps"]["fid_gain"] <= 0,
        "A suited CFG comes first": plans["20 steps, CFG 1.5"]["plans"]["one candidate at random"]["agreement"]
        >= plans["20 steps, CFG 1"]["plans"]["best of 4"]["agreement"] - 0.005,
    }


SETTINGS = ("times 1.02", "by 1.02", "at 1.01", "Scaling* at 0.98")  # figures that were chosen, not measured
HELP = "was not measured to add anything to it"  # in the guidance nodes and on their help pages


def adds_nothing() -> bool:
    """Whether HELP may stand."""
    found = read("guidance_cfg")
    name, row = under_cfg.best_guided(found) or ("", {})
    added = found["beyond"][name][under_cfg.best_control(found["settings"], row["nfe"])[0]]
    return added["fid_gain_interval"][0] <= 0


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
