"""The report's sections on scores under classifier-free guidance: images, pixels, ensembles."""

from __future__ import annotations

from typing import Any

from uncertainty_nodes.benchmarks.report.markdown import interval, listed, number, paragraph, table

Results = dict[str, Any]
Leader = tuple[str, str, Results]
ASKED, NATURAL = "not_what_was_asked", "off_the_real_digits"
JUDGES = {ASKED: "not what was asked", NATURAL: "off the real digits"}


def section(found: Results) -> str:
    about = paragraph("""
        The images of the free scores' section. What costs calls is measured on all bad images and on every 14th (20th at CFG 1.5, 7th
        at the strong scale), which leaves an AUROC what it is. Two judges: *not what was asked*, the classifier gives the asked digit p
        < 0.5; *off the real digits*, the image lies outside of the third neighbour's distance of every real one in the classifier's
        features (as *precision* counts), on the images that were picked by number alone. *Conditional* redraws the conditional
        prediction, which is what the package measures; *mix* the one that the sampler follows, at twice the calls.
    """)
    parts = [about, advice(found)]
    for scale, row in found["scales"].items():
        counts = f"{row['images']} images, {row['bad']} not what was asked, {row['off_the_digits']} off the real digits"
        parts.append(f"**CFG {scale}**, {row['steps']} steps: {counts}.")
        free = {name: row["free_on_all"][name] for name in JUDGES if "scores" in row["free_on_all"][name]}
        if free:
            parts += ["On all of these images, the scores that cost nothing:", scores(free)]
        judged = {name: row[name] for name in JUDGES if "scores" in row.get(name, {})}
        few = [f"{JUDGES[name]}: {row[name]['bad']} bad of {row[name]['images']}" for name in JUDGES if name in row and name not in judged]
        if few:
            parts.append(f"Too few for an AUROC: {', '.join(few)}.")
        if judged:
            parts.append(scores(judged))
            parts.append(differences(judged))
        if row["gains"]:
            parts.append(gains(row["gains"]))
    return "\n\n".join(parts)


def scores(judged: dict[str, Results]) -> str:
    first = next(iter(judged.values()))
    order = sorted(first["scores"], key=lambda name: -first["scores"][name]["auroc"])
    header = ["score", "NFE"]
    for name, row in judged.items():
        header += [f"AUROC, {JUDGES[name]} ({row['bad']} of {row['images']})", "95 %"]
    cells = [
        [name, f"{first['scores'][name]['nfe']:g}"]
        + [text for row in judged.values() for text in (number(row["scores"][name]["auroc"], 3), interval(row["scores"][name]["interval"]))]
        for name in order
    ]
    return table(header, cells)


def differences(judged: dict[str, Results]) -> str:
    """What redrawing the mix adds to redrawing the conditional prediction."""
    first = next(iter(judged.values()))["mix_less_conditional"]
    header = ["AUROC of the mix less that of the conditional prediction"]
    for name in judged:
        header += [JUDGES[name], "95 %"]
    cells = [
        [score]
        + [
            text
            for row in judged.values()
            for d in (row["mix_less_conditional"][score],)
            for text in (number(d["difference"], 3, signed=True), interval(d["interval"], 3))
        ]
        for score in first
    ]
    return table(header, cells)


def gains(rows: Results) -> str:
    cells = [
        [name, r["images"], number(r["gain"], 2, signed=True), interval(r["gain_interval"])]
        + [number(r["gain_within_class"], 2, signed=True), number(r["recall"] - r["recall_random"], 3, signed=True)]
        for name, r in rows.items()
    ]
    title = "Filtering by a score that costs nothing, the best 5/6 kept"
    return table([title, "images", "FID gain", "95 %", "within each digit", "recall, less random"], cells)


def leaders(found: Results) -> tuple[list[Leader], list[Leader]]:
    """At each scale with enough bad images: its name, the score that finds most and its row; and the same of those that cost no call."""
    every = {scale: row[ASKED]["scores"] for scale, row in found["scales"].items() if "scores" in row.get(ASKED, {})}
    free = {scale: {name: row for name, row in scores.items() if row["nfe"] == 0} for scale, scores in every.items()}
    best, cheapest = (
        [(scale, *max(scores.items(), key=lambda item: item[1]["auroc"])) for scale, scores in among.items()] for among in (every, free)
    )
    return best, cheapest


def advice(found: Results) -> str:
    """Which score finds most under guidance, what the free ones find, and which prediction to measure."""
    best, free = leaders(found)
    if not best:
        return "Too few bad images at every scale."
    most = listed([f"at CFG {scale} by `{name}` ({told(top)}, {top['nfe']:g} calls)" for scale, name, top in best])
    start = f"Bad images are found best {most}; at no call by {listed([f'`{name}` ({told(top)})' for _, name, top in free])}."
    return f"{start} {which_prediction({scale: found['scales'][scale][ASKED] for scale, _, _ in best})}"


def brief(found: Results) -> str:
    """The same for the README, with no intervals."""
    best, free = leaders(found)
    costly = listed([f"{name} at CFG {scale} (AUROC {number(top['auroc'], 2)}; {top['nfe']:g} calls)" for scale, name, top in best])
    cheap = listed([f"{name} at CFG {scale} (AUROC {number(top['auroc'], 2)})" for scale, name, top in free])
    most = max(d["difference"] for row in found["scales"].values() for d in row.get(ASKED, {}).get("mix_less_conditional", {}).values())
    return (
        f"The best sign is {costly}; of those that cost no call {cheap}. Measuring the mix that the sampler follows instead "
        f"of the conditional prediction costs twice the calls and adds at most {number(most, 2)}."
    )


def told(row: Results) -> str:
    return f"AUROC {number(row['auroc'], 2)}, {interval(row['interval'])}"


def which_prediction(rows: dict[str, Results]) -> str:
    """Whether redrawing the mix is shown to find more than redrawing the conditional prediction."""
    more, fewer = [], []
    for scale, row in rows.items():
        for score, d in row["mix_less_conditional"].items():
            text = f"`{score}` at CFG {scale} ({number(d['difference'], 3, signed=True)}, {interval(d['interval'], 3)})"
            if d["interval"] and d["interval"][0] > 0:
                more.append(text)
            if d["interval"] and d["interval"][1] < 0:
                fewer.append(text)
    start = "Redrawing the mix that the sampler follows costs twice the calls of redrawing the conditional prediction"
    if not more:
        return f"{start} and is not shown to find more: measure the conditional one."
    text = f"{start} and finds a little more by {listed(more)}"
    count = sum(len(row["mix_less_conditional"]) for row in rows.values())
    return f"{text}, of {count} comparisons" + (f", but fewer by {listed(fewer)}." if fewer else ".") + " Measure the conditional one."


def pixels(found: Results) -> str:
    scale = max(found["scales"], key=float)
    about = paragraph(f"""
        {found["images"]} digits as above, without guidance and at CFG {scale}. *Trajectory* and *condition gap* cost no call: here they
        are of the steps after the middle of the schedule, which is all that a reconstruction has.
    """)
    parts = [about, pixel_advice(found)]
    for each, row in found["scales"].items():
        rows = sorted(row["methods"].items(), key=lambda item: item[1]["ause"])
        cells = [
            [
                n,
                f"{r['nfe']:g}",
                number(r["ause"], 4),
                interval(r["ause_interval"], 4),
                number(r["aurg"], 4),
                interval(r["aurg_interval"], 4),
            ]
            for n, r in rows
        ]
        parts += [f"**CFG {each}**, RMSE {number(row['rmse'], 3)}", table(["map", "NFE", "AUSE ↓", "95 %", "AURG ↑", "95 %"], cells)]
    return "\n\n".join(parts)


def pointing(row: Results) -> Leader:
    """The calls of the map that points at errors best, its name, and its row."""
    rows = {n: r for n, r in row["methods"].items() if n not in ("oracle", "random") and "other way" not in n}
    name = min(rows, key=lambda n: rows[n]["ause"])
    return f"{rows[name]['nfe']:g}", name, rows[name]


def gap_points(row: Results) -> float | None:
    """The AUSE of the condition gap's map, where it is shown to point at errors."""
    gap = row["methods"].get("condition gap of images")
    return gap["ause"] if gap is not None and gap["aurg_interval"][0] > 0 else None


def pixel_advice(found: Results) -> str:
    """Whether the map that costs nothing points at errors as well as the best of the others."""
    lines = []
    for scale, row in found["scales"].items():
        (calls, best, top), free = pointing(row), row["methods"]["trajectory"]
        lines.append(
            f"At CFG {scale} `{best}` points at errors best (AUSE {number(top['ause'], 3)}, "
            f"{interval(top['ause_interval'], 3)}; {calls} calls), and the trajectory, at no call, has "
            f"{number(free['ause'], 3)} ({interval(free['ause_interval'], 3)})."
        )
        if (gap := gap_points(row)) is not None:
            lines.append(
                "The condition gap's map points the other way than its score: where the predictions with and without the prompt are apart, "
                f"the errors are (AUSE {number(gap, 3)}), and heatmaps are bright there."
            )
    return " ".join(lines)


def pixel_brief(found: Results) -> str:
    """The same for the README, with no intervals."""
    lines, gaps = [], []
    for scale, row in found["scales"].items():
        calls, best, top = pointing(row)
        free = number(row["methods"]["trajectory"]["ause"], 3)
        lines.append(f"{free} at CFG {scale}, where {best} has {number(top['ause'], 3)} for {calls} calls")
        if (gap := gap_points(row)) is not None:
            gaps.append(f" The condition gap is high where the errors are ({number(gap, 3)}), though among images low is bad.")
    return f"The trajectory points at errors too (AUSE {'; '.join(lines)}).{''.join(gaps)}"


def ensembles(found: Results) -> str:
    about = f"The default branch under classifier-free guidance, {found['images_per_class']} images a class, {found['steps']} steps."
    cells = []
    for scale, branches in found["scales"].items():
        for branch, row in branches.items():
            for quantity, told in row[found["default"]].items():
                scarce = told["scarce_against_full"]
                cells.append([scale, branch, quantity, f"{row['NFE']:g}", number(told["spearman_of_class_means"], 2, signed=True)])
                cells[-1] += [number(scarce["auroc"], 3), interval(scarce["interval"])]
    return "\n\n".join([about, table(["CFG", "branch", "score", "NFE", "rank correlation", "AUROC", "95 %"], cells)])
