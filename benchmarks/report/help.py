"""Which measured sentences the nodes' help pages lack: python benchmarks/report/help.py

They are derived from the results and stand in the pages word for word; tests/project/benchmarks holds the pages to them.
"""

from __future__ import annotations

from typing import Any

from uncertainty_nodes.benchmarks.report import best_of, risk
from uncertainty_nodes.benchmarks.report.markdown import listed, number
from uncertainty_nodes.benchmarks.report.photos import help as help_photos
from uncertainty_nodes.benchmarks.report.photos.colour import ONE, PRUNED, SCALED, cfg_instead
from uncertainty_nodes.benchmarks.shared.common import BENCHMARKS, read

Results = dict[str, Any]
PAGES = BENCHMARKS.parent / "web" / "docs"
STEERING = ("Guidance", "GuidedSampler", "Guider")


def pieces() -> dict[str, list[str]]:
    """Name of a help page, without UQ_ -> what it says, word for word."""
    photos = read("colour")
    scores = help_photos.Scores(read("filtering_colour"), read("filtering_colour_cfg"))
    steering, shown = of_steering_photos(photos), help_photos.of_map(read("pixels_colour"), read("pixels"))
    return {
        "BestOfN": [
            *of_candidates(read("guidance")["settings"]),
            *of_pruning(read("best_of"), read("best_of_free")),
            of_likeness(read("best_of")["settings"]),
            of_resampling(read("best_of")["steered"]),
            *of_photos(photos),
        ],
        "PromptInformation": [
            *of_information(read("information")["detection"], read("pixels_cfg")["scales"]["1.5"]["methods"]),
            scores.told("it", "prompt information"),
        ],
        "CombineUncertainty": [joined(read("information")["detection"])],
        "GenerativeUncertainty": [
            *of_generative(read("bayesian")["generative"], read("filtering")),
            scores.told("it", "generative uncertainty"),
        ],
        "SampleUntilAccepted": [
            of_free(read("free_scores")["scales"]["1.25"]),
            of_until(read("until_good")["settings"]),
            scores.compared(("prompt information", "denoised, finished image", "trajectory", "condition gap")),
        ],
        "SampleFilter": [scores.table(help_photos.ALL), risk.often(read("risk")).replace("bundled", "demo")],
        "RankFolder": [scores.compared(("prompt information", "denoised, finished image"))],
        "RecordUncertainty": [scores.compared(("prompt information", "denoised", "noise", "trajectory", "condition gap"))],
        "UncertaintyEstimator": [
            scores.compared(("prompt information", "denoised, finished image")),
            shown,
        ],
        "Heatmap": [shown],
        "DropoutUncertainty": [scores.told("it", "MC dropout")],
        "BayesDiff": [scores.told("it", "BayesDiff")],
        "EnsembleUncertainty": [scores.told("it", "DECU"), help_photos.of_scarce(read("ensemble_colour"))],
        "StrengthSweep": [steering],
        **{f"Uncertainty{page}": [steering, of_steering_late(read("guidance")["settings"])] for page in STEERING},
    }


def lacking() -> dict[str, list[str]]:
    """Name of a help page -> what it should say and doesn't."""
    told = pieces()
    pages = {name: (PAGES / f"UQ_{name}.md").read_text(encoding="utf-8") for name in told}
    return {name: absent for name, own in told.items() if (absent := [piece for piece in own if piece not in pages[name]])}


def percent(value: float, digits: int = 0) -> str:
    return f"{100 * value:.{digits}f} %"


def between(interval: list[float]) -> str:
    return f"{100 * interval[0]:.0f} to {100 * interval[1]:.0f} %"


def of_candidates(guided: Results) -> list[str]:
    plain, best = guided["plain"], guided["best of 4 by information"]
    return [
        f"draws the digit that was asked for in {percent(plain['agreement'], 1)} of the images, for {plain['nfe']:.0f} calls each",
        f"in {percent(best['agreement'], 1)}, for {best['nfe']:.0f} calls ({plain['images']:,} images, 20 steps)",
    ]


def of_resampling(settings: Results) -> str:
    """Raises ValueError where it may no longer be said."""
    rows = {name: (each[best_of.RESAMPLED], each[best_of.PRUNED]) for name, each in settings.items()}
    gains = {name: copied["beyond"][best_of.PRUNED] for name, (copied, _) in rows.items()}
    if any(gain["agreement_gain_interval"][0] > 0 for gain in gains.values()):
        raise ValueError("Resampling shows what was asked for more often than pruning now: write Best of N's help page anew.")
    shares = [f"{percent(c['agreement'], 2)} against {percent(p['agreement'], 2)} at {name}" for name, (c, p) in rows.items()]
    prompts = listed(list(dict.fromkeys(f"{copied['prompts']:,}" for copied, _ in rows.values())))
    rarer = [name for name, gain in gains.items() if gain["agreement_gain_interval"][1] < 0]
    how = f"less often than prune does at {listed(rarer)}, and nowhere more often," if rarer else "about as often as prune does"
    told = f"On the demo model it shows what was asked for {how} for as many calls: {listed(shares)}"
    varied = {name: gain["fid_gain"] for name, gain in gains.items() if gain["fid_gain_interval"][0] > 0}
    if not varied:
        return f"{told} ({prompts} prompts)."
    lower = listed([f"{number(gain, 2)} at {name}" for name, gain in varied.items()])
    return f"{told} ({prompts} prompts). Its images are less alike: their Fréchet distance to real ones is lower by {lower}."


def of_likeness(settings: Results) -> str:
    """Raises ValueError where it may no longer be said."""
    plans = settings["20 steps, CFG 1.5"]["plans"]
    one, full = plans["one candidate at random"]["fid"], plans[best_of.FULL]["fid"]
    if full <= one:
        raise ValueError("Choosing lowers the Fréchet distance under CFG now: write Best of N's help page anew.")
    return (
        "Under CFG the best of many are alike: on the demo model at CFG 1.5 the Fréchet distance to real images, low is good, rises from "
        f"{number(one)} (one candidate) to {number(full)} (best of 8)."
    )


def of_pruning(best: Results, free: Results) -> list[str]:
    plain, cfg = (best["settings"][f"20 steps, CFG {scale}"]["plans"] for scale in ("1", "1.5"))
    no_call, no_call_cfg = (free["settings"][f"20 steps, CFG {scale}"]["plans"] for scale in ("1", "1.5"))
    early, late, drawn = no_call[f"{PRUNED}, trajectory"], plain["8 to 2 at 0.5"], no_call["best of 8, trajectory"]
    gap, asked, prompts = no_call_cfg[f"{PRUNED}, condition gap"], cfg[PRUNED], f"{best['prompts']:,} prompts"
    return [
        f"by trajectory keep {percent(early['kept_gain'])} of what the best of 8 gains (interval {between(early['kept_gain_interval'])})",
        f"by information {percent(plain[PRUNED]['kept_gain'])} ({between(plain[PRUNED]['kept_gain_interval'])})",
        f"gains {number(drawn['gain'], 3)} in agreement, information {number(plain['best of 8']['gain'], 3)} ({prompts}, 20 steps)",
        f"condition_gap keeps {percent(gap['kept_gain'])} ({between(gap['kept_gain_interval'])}) at {gap['calls']:.0f} calls, "
        f"information {percent(asked['kept_gain'])} ({between(asked['kept_gain_interval'])}) at {asked['calls']:.0f}",
        f"{plain[PRUNED]['calls']:.0f} calls at CFG 1, where the best of 8 finished images costs {plain['best of 8']['calls']:.0f}",
        f"keeps about {percent(plain[PRUNED]['kept_gain'])} of what the best of 8 gains over one image (interval "
        f"{between(plain[PRUNED]['kept_gain_interval'])}, {prompts} at CFG 1)",
        f"`points` 0.5 keeps {percent(late['kept_gain'])} ({between(late['kept_gain_interval'])}) for {late['calls']:.0f} calls",
    ]


def of_photos(found: Results) -> list[str]:
    """Raises ValueError where trajectory no longer chooses worse than chance."""
    told, worse = [], []
    for name, row in found["candidates"].items():
        one, pruned, scale = row["plans"][ONE]["agreement"], row["plans"][PRUNED]["agreement"], name.removeprefix("20 steps, ")
        told.append(f"{percent(pruned)} instead of {percent(one)} at {scale}")
        drawn = row["plans"]["best of 8, trajectory"]
        if drawn["gain_interval"][1] >= 0:
            raise ValueError("On photos trajectory no longer chooses worse than chance: write the help page of Best of N anew.")
        worse.append(f"{percent(drawn['agreement'])} at {scale}")
    start = "On a small model of colour photos the defaults show what was asked for in"
    return [
        f"{start} {' and in '.join(told)} ({found['prompts']:,} prompts).{cfg_instead(found)}",
        f"On the photos trajectory chose worse than chance: the best of 8 by it show what was asked for in {' and in '.join(worse)}.",
    ]


def of_information(detection: Results, maps: Results) -> list[str]:
    asked = detection["default"]["information"]
    low, high = (f"{100 * bound:.0f}" for bound in asked["interval"])
    counted = f"({detection['images']} images, {detection['bad']} of them bad; 95 % interval {low} to {high})"
    spread = max(row["auroc"] for row in detection["default"]["V (denoised) and U (noise), each in its direction"].values())
    ause = [number(maps[name]["ause"], 2) for name in ("prompt information", "random", "denoised, conditional")]
    return [
        f"the bad one scores lower in {percent(asked['auroc'])} of all pairs {counted}",
        f"at the same price reaches {percent(spread)}, and joining the two by rank doesn't help ({percent(best_joined(detection))})",
        f"(AUSE, lower is better) is {ause[0]}, that of random numbers {ause[1]}, and that of Uncertainty Estimator's denoised {ause[2]}",
    ]


def best_joined(detection: Results) -> float:
    return max(row["auroc"] for row in detection["default"]["rank average of information with each"].values())


def joined(detection: Results) -> str:
    alone = detection["default"]["information"]["auroc"]
    return f"better than joined with an uncertainty score ({100 * alone:.0f} against {percent(best_joined(detection))})"


def of_generative(sweep: Results, filtering: Results) -> list[str]:
    long, short = (sweep[f"noise variance 1, prior precision 1, {steps} steps"]["auroc"] for steps in (10, 5))
    few = short["bundled features, by members"]
    first = long["bundled features, semantic variance 0.001"]["auroc"]
    settings = f"AUROC of {number(first, 2)}, 3 of 5 steps (20 calls) with {number(few['3']['auroc'], 2)}"
    row = filtering["methods"]["generative uncertainty"]
    return [
        f"{settings}, one of 5 steps (10 calls) with {number(few['1']['auroc'], 2)}",
        f"on {row['images']:,} others of 25 steps the first reaches {number(row['auroc']['auroc'], 2)}",
    ]


def of_free(found: Results) -> str:
    shares = [
        percent(row["auroc"]) for row in (found["costly"]["scores"][n] for n in ("trajectory", "condition gap", "prompt information"))
    ]
    return f"trajectory puts the bad one behind in {shares[0]} of all pairs, condition_gap in {shares[1]}, information in {shares[2]}"


def of_until(settings: Results) -> str:
    row = settings["20 steps, CFG 1"]["50"]
    return (
        f"accepting the best half gives the digit asked for in {percent(row['agreement'])} of {row['runs']:,} runs, for {row['calls']:.0f} "
        f"calls a run; one plain image of {row['plain_steps']} steps shows it in {percent(row['plain_agreement'])}"
    )


def of_steering_late(guided: Results) -> str:
    """Raises ValueError where it may no longer be said."""
    default, late = guided["posterior 0.02"], guided["forward 0.2, second half of the schedule"]
    if late["fid_gain"] < default["fid_gain"] or late["recall"] <= default["recall"]:
        raise ValueError("Late steering no longer gains as much at less loss of variety: write the help pages of the guidance nodes anew.")
    start = "On the demo model mode `forward` at strength 0.2 from `start_percent` 0.5 on"
    return f"{start} gained as much as the default and lost less variety."


def of_steering_photos(found: Results) -> str:
    """Raises ValueError where it may no longer be said."""
    rows = [found["settings"]["posterior 0.02"], found["settings"][SCALED]]
    rows += [by[name.removesuffix(", posterior 0.02")] for name, by in found["beyond"].items() if name.startswith("CFG")]
    if any(row["fid_gain_interval"][1] >= 0 for row in rows):
        raise ValueError("Guidance no longer makes photos worse at every scale: write the help pages of the guidance nodes anew.")
    return (
        "On a small model of colour photos strength 0.02 made images worse at every cfg that we measured, and so did Epsilon Scaling at "
        "0.99: compare with images drawn without them."
    )


def main() -> None:
    for name, absent in lacking().items():
        print(f"UQ_{name}.md", *absent, sep="\n  ")


if __name__ == "__main__":
    main()
