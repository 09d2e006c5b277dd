"""The papers' claims beside our figures: which reproduce in sign and rank on the bundled model, and why not where that is known."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from uncertainty_nodes.benchmarks.report.markdown import interval, listed, number, paragraph, table
from uncertainty_nodes.benchmarks.report.verdicts import CONTRARY, LEANING, PROVEN, REFUTED, SETTINGS, UNTESTED, is_guidance, sign
from uncertainty_nodes.core.options import GuidanceMode

Results = dict[str, Any]
Verdict = tuple[str, str]  # ours, and whether the claim holds
LAST, LAST_TURNED = "noise, last steps", "noise, last steps, the other way up"
ALEATORIC, GENERATIVE, DECU = "De Vita & Belagiannis 2024", "Jazbec et al. 2025", "Berry et al. 2024"
LAW = "law of total variance: U is large where the network tells noise from image well, so high U marks sure pixels"


@dataclass(frozen=True)
class Claim:
    """judge: from all results to our figures and the verdict; a KeyError is a figure that is not there."""

    source: str
    claim: str
    theirs: str
    judge: Callable[[dict[str, Results]], Verdict]
    why: str = ""


def table_of_claims(results: dict[str, Results]) -> str:
    cells = []
    for c in CLAIMS:
        try:
            ours, verdict = c.judge(results)
        except (KeyError, TypeError):  # the latter: no bad images, no AUROC
            ours, verdict = "-", UNTESTED
        cells.append([c.source, c.claim, c.theirs, ours, verdict, c.why if verdict in (LEANING, REFUTED, CONTRARY) else ""])
    return table(["paper", "claim", "theirs", "ours", "holds here", "why not, where known"], cells)


def gain_of(name: str, protocol: str = "paper", pool: str = "filtering") -> Callable[[dict[str, Results]], Verdict]:
    """Filtering by a score lowers FID."""

    def judge(results: dict[str, Results]) -> Verdict:
        whole = results.get(protocol) if name == LAST else None  # the paper's own protocol, where it was run
        row = whole["selection"] if whole else results[pool]["methods"][name]
        percent = 100 * row["gain"] / row["fid_random"]
        ours = f"{number(row['fid_random'], 3)} -> {number(row['fid'], 3)} ({number(-percent, 1, signed=True)} %)"
        return ours, sign(row["gain"], row["gain_interval"])

    return judge


def better_filter(name: str, other: str) -> Callable[[dict[str, Results]], Verdict]:
    """One score filters better than another: by FID gained, each over random subsets of its own images."""

    def judge(results: dict[str, Results]) -> Verdict:
        a, b = (results["filtering"]["methods"][n] for n in (name, other))
        ours = f"gain {number(a['gain'], 3, signed=True)} against {number(b['gain'], 3, signed=True)}; "
        ours += f"AUROC {number(a['auroc']['auroc'], 2)} against {number(b['auroc']['auroc'], 2)}"
        return ours, ranked(a["gain"], a["gain_interval"], b["gain"], b["gain_interval"])

    return judge


def better_map(name: str, other: str) -> Callable[[dict[str, Results]], Verdict]:
    """One map has the lower AUSE and the higher AURG."""

    def judge(results: dict[str, Results]) -> Verdict:
        rows = results["pixels"]["methods"]
        if "paper" in results and {name, other} <= set(MAPS.values()):
            rows = {key: results["paper"]["pixels"]["methods"][title] for title, key in MAPS.items()}
        a, b = rows[name], rows[other]
        ours = f"{number(a['ause'], 3)} / {number(a['aurg'], 3)} against {number(b['ause'], 3)} / {number(b['aurg'], 3)}"
        return ours, ranked(a["aurg"], a["aurg_interval"], b["aurg"], b["aurg_interval"])

    return judge


def ranked(mine: float, mine_in: list[float], other: float, other_in: list[float]) -> str:
    if mine > other:
        return PROVEN if mine_in[0] > other_in[1] else LEANING
    return CONTRARY if mine_in[1] < other_in[0] else REFUTED


def guided(modes: tuple[GuidanceMode, ...]) -> Callable[[dict[str, Results]], Verdict]:
    """The best setting of these modes, of those that were run on most images."""

    def judge(results: dict[str, Results]) -> Verdict:
        found = results["guidance"]["settings"]
        settings = {n: r for n, r in found.items() if is_guidance(n) and SETTINGS[n].options.mode in modes}
        most = max((r["images"] for r in settings.values()), default=None)
        if most is None:
            raise KeyError("no guided setting")
        name, row = max(((n, r) for n, r in settings.items() if r["images"] == most), key=lambda item: item[1]["fid_gain"])
        ours = f"{number(row['fid'] + row['fid_gain'], 2)} -> {number(row['fid'], 2)} (`{name}`, {row['images']} images)"
        return ours, sign(row["fid_gain"], row["fid_gain_interval"])

    return judge


def papers_guidance(results: dict[str, Results]) -> Verdict:
    """The paper's own setting: top 5 % of pixels, raw strength 1."""
    row = results["guidance"]["settings"]["paper: autograd, raw 1, top 5 %, 5 draws"]
    ours = f"{number(row['fid'] + row['fid_gain'], 2)} -> {number(row['fid'], 2)} ({row['images']} images)"
    return ours, sign(row["fid_gain"], row["fid_gain_interval"])


def early(results: dict[str, Results]) -> Verdict:
    """The last steps are where uncertainty separates: their AUROC against that of the default window."""
    late, before = (results["filtering"]["methods"][n]["auroc"] for n in (LAST, "noise"))
    ours = f"AUROC {number(late['auroc'], 2)} in the last steps, {number(before['auroc'], 2)} at 60 to 75 % of the schedule"
    return ours, ranked(late["auroc"], late["interval"], before["auroc"], before["interval"])


def guided_photos(results: dict[str, Results]) -> Verdict:
    """The package's default on colour photos, without classifier-free guidance."""
    row = results["colour"]["settings"]["posterior 0.02"]
    ours = f"{number(row['fid'] + row['fid_gain'], 2)} -> {number(row['fid'], 2)} (`posterior 0.02`, {row['images']} images)"
    return ours, sign(row["fid_gain"], row["fid_gain_interval"])


def rare_classes(results: dict[str, Results]) -> Verdict:
    """Scarce classes (1 % of their digits) against full ones, at the default branch and moment."""
    found = results["ensemble"]
    row = found["branches"][f"{found['default']['branch']:g}"][found["default"]["moment"]]["information"]
    told = row["scarce_against_full"]
    ours = f"AUROC of scarce against full classes {number(told['auroc'], 2)} ({interval(told['interval'])}); "
    ours += f"rank correlation of class means {number(row['spearman_of_class_means'], 2, signed=True)}"
    return ours, sign(told["auroc"] - 0.5, [v - 0.5 for v in told["interval"]])


MAPS = {  # rows of the protocol -> of pixels.json, in the paper's window; high U is what the paper calls uncertain
    "U": LAST_TURNED,
    "U, low = unsure": LAST,
    "V": "denoised, last steps",
    "MC dropout": "MC dropout",
}
GREY_LEVELS = 127.5  # of 0 to 255, to one of [-1, 1]


def protocol(filtering: Results, pixels: Results, whole: Mapping[str, Results | None] | None = None) -> str:
    """Our figures beside the paper's, by its own protocol. whole: at the paper's 50 steps, by what the rows' names add."""
    about = paragraph(f"""
        The protocol of {ALEATORIC}, section 4: U summed over pixels and over steps 45 to 48 of 50, the 5/6 of highest U kept; images noised
        to T/2 and denoised, AUSE the area between the RMSE curve and the oracle's, AURG that between chance and the curve. Theirs are
        Inception's FID of CIFAR-10, ours that of our judges' features: set the signs and the shares beside each other, not the
        sizes. Their tables do not say in which units an error is; ours are in grey levels of 0 to 255, then of [-1, 1]. At
        {filtering["steps"]} steps the paper's window holds two of them.
    """)
    selection = [[f"{ALEATORIC}, 50 steps", "60000 to 50000", "20", "13.494", "13.416", "-0.6 %", "-"]]
    selection.append([f"ours, {filtering['steps']} steps", *selection_row(filtering["methods"][LAST])])
    header = ["selection by high U, last steps", "images", "NFE", "FID of a random 5/6", "FID of the kept", "change", "95 % of the gain"]
    cells = [
        [f"{ALEATORIC}, U", "-", "0.01", "18.48", "-", "-"],
        [f"{ALEATORIC}, MC dropout", "-", "1.27", "16.19", "-", "-"],
    ]
    cells += [map_row(f"ours, {name}, {pixels['steps']} steps", pixels["methods"][key]) for name, key in MAPS.items()]
    lines = []
    for what, found in (whole or {}).items():
        if found is not None:
            selection.append([f"ours, {found['steps']} steps{what}", *selection_row(found["selection"])])
            selection.append([f"ours by low V, {found['steps']} steps{what}", *selection_row(found["by_low_v"])])
            cells += [map_row(f"ours, {name}, {found['steps']} steps{what}", r) for name, r in found["pixels"]["methods"].items()]
            lines.append(protocol_verdict(what.removeprefix(", ") or "digits", found))
    maps = table(["map, T/2 to 0", "images", "AUSE ↓", "AURG ↑", "AUSE in [-1, 1]", "AURG in [-1, 1]"], cells)
    return "\n\n".join([about, *([" ".join(lines)] if lines else []), table(header, selection), maps])


def protocol_verdict(what: str, found: Results) -> str:
    """Whether the paper's map and its selection do at 50 steps what it says of them."""
    row, maps = found["selection"], found["pixels"]["methods"]
    low, high = row["gain_interval"]
    does = "lowers" if low > 0 else "raises" if high < 0 else "is not shown to change"
    points = {name: maps[name]["aurg_interval"] for name in ("U", "U, low = unsure", "V", "MC dropout")}
    away = [f"`{name}`" for name, pair in points.items() if pair[1] < 0]
    best = min(points, key=lambda name: maps[name]["ause"])
    verb = "points" if len(away) == 1 else "point"
    turned = f"{listed(away)} {verb} away from the errors, `{best}` points at them best" if away else f"`{best}` points at errors best"
    auroc = f"; as a sign of bad images its AUROC is {number(row['auroc']['auroc'], 2)}" if row["auroc"] else ""
    return (
        f"At the paper's own 50 steps ({what}): of the maps {turned}. Keeping the 5/6 of highest U of {row['images']:,} images {does} FID "
        f"(gain {number(row['gain'], 3, signed=True)}, {interval(row['gain_interval'], 3)}; within a class "
        f"{number(row['gain_within_class'], 3, signed=True)}){auroc}."
    )


def map_row(name: str, row: Results) -> list[str]:
    exact = [f"{number(row[m], 3)} ({interval(row[f'{m}_interval'], 3)})" for m in ("ause", "aurg")]
    return [name, row["images"], *(number(GREY_LEVELS * row[m], 2) for m in ("ause", "aurg")), *exact]


def selection_row(found: Results) -> list[str]:
    kept, percent = round(found["images"] * 5 / 6), 100 * found["gain"] / (found["fid_random"] or math.inf)
    cells = [f"{found['images']} to {kept}", f"{found['nfe']:.0f}", number(found["fid_random"], 3), number(found["fid"], 3)]
    return [*cells, f"{number(-percent, 1, signed=True)} %", interval(found["gain_interval"])]


CLAIMS = (
    Claim(
        ALEATORIC,
        "keeping the images of highest U lowers FID, at the last steps",
        "CIFAR-10 13.494 -> 13.416; ImageNet-64 3.289 -> 3.254; 128 8.21 -> 7.88, 8.50 -> 8.48; 256 7.88 -> 7.80; 512 16.47 -> 16.37",
        gain_of(LAST),
        "a weak signal at the last steps; see the early-signal figure",
    ),
    Claim(
        ALEATORIC,
        "the same on colour photos",
        "as above",
        gain_of(LAST, "paper_colour", "filtering_colour"),
    ),
    Claim(
        ALEATORIC,
        "the same at 60 to 75 % of the schedule (our window, not the paper's)",
        "-",
        gain_of("noise"),
        "the kept are more alike: precision rises and recall falls",
    ),
    Claim(
        ALEATORIC,
        "the last steps separate best",
        "its Fig. 3",
        early,
        "high frequencies are all that is still open at the end; what a digit is has been decided before",
    ),
    Claim(
        ALEATORIC,
        "U filters better than MC dropout",
        "CIFAR-10 13.416 against 13.435; ImageNet-64 3.254 against 3.268",
        better_filter(LAST, "MC dropout"),
    ),
    Claim(
        ALEATORIC,
        "U filters better than BayesDiff",
        "ImageNet-128 7.88 against 8.45, 8.48 against 9.67; 512 16.37 against 16.87; but 256 7.80 against 6.81",
        better_filter(LAST, "BayesDiff"),
    ),
    Claim(
        ALEATORIC,
        "per pixel, high U marks errors better than MC dropout (AUSE / AURG)",
        "CIFAR-10 0.01 / 18.48 against 1.27 / 16.19; ImageNet-64 74.48 / 5.05 against 84.94 / -4.85",
        better_map(LAST_TURNED, "MC dropout"),
        LAW,
    ),
    Claim(
        ALEATORIC,
        "the same, with U turned so that low marks errors",
        "-",
        better_map(LAST, "MC dropout"),
        "U is the weaker of the two spreads",
    ),
    Claim("(ours)", "per pixel, V marks errors better than MC dropout", "-", better_map("denoised", "MC dropout")),
    Claim(
        ALEATORIC,
        "guidance up the gradient of U lowers FID (best setting here)",
        "CIFAR-10 27.39 -> 26.45; ImageNet-64 24.16 -> 23.21; 128 45.10 -> 44.02; 256 51.45 -> 50.34; 512 60.72 -> 59.81",
        guided((GuidanceMode.FORWARD, GuidanceMode.AUTOGRAD)),
    ),
    Claim(
        ALEATORIC,
        "the same at the paper's own setting",
        "as above",
        papers_guidance,
        "a mask of 5 % of the pixels leaves next to nothing of the correction",
    ),
    Claim(ALEATORIC, "the mix of the published pipelines lowers FID (ours mixes x0)", "-", guided((GuidanceMode.POSTERIOR,))),
    Claim(ALEATORIC, "the same on colour photos", "-", guided_photos),
    Claim(GENERATIVE, "generative uncertainty filters better than U", "words only", better_filter("generative uncertainty", LAST)),
    Claim(
        GENERATIVE,
        "generative uncertainty filters better than BayesDiff",
        "words only",
        better_filter("generative uncertainty", "BayesDiff"),
    ),
    Claim(DECU, "classes with few training images have the higher I", "ImageNet, 1 to 1300 images a class", rare_classes),
)
