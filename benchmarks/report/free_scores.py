"""The report's sections on what costs no call, from results/free_scores.json, and on error bars, from results/posterior.json."""

from __future__ import annotations

from typing import Any

from uncertainty_nodes.benchmarks.report.markdown import interval, number, paragraph, table

Results = dict[str, Any]


def section(found: Results) -> str:
    parts = [
        paragraph("""
            Scores that a sampling gives at no further model call. *Trajectory*: variance over the steps of the sampler's own predictions
            of the image; high = bad. *Condition gap*: squared difference of the predictions with and without the condition, per step in
            units of the noise (*of images*: of the image); low = bad; undefined without classifier-free guidance. The numbers are the
            window, in parts of the noise schedule. An AUROC below 0.5 points the other way than the score is typed. *Both, by
            rank*: of the two default windows; *all*: a logistic regression of all windows, learned on the other seeds.
        """)
    ]
    for scale, row in found["scales"].items():
        parts.append(f"**CFG {scale}**, {row['steps']} DDIM steps: {row['images']} images, {row['bad']} bad.")
        if "scores" not in row:
            parts.append("Too few bad images for an AUROC: the judge finds (almost) nothing wrong at this scale.")
            continue
        within = {"trajectory, 0.5 to 1": "trajectory", "condition gap, 0 to 0.35": "condition gap"}
        cells = [
            [name, "0", number(r["auroc"], 3), interval(r["interval"]), *within_class(row, within.get(name, name))]
            for name, r in row["scores"].items()
        ]
        parts.append(table(["score", "NFE", "AUROC", "95 %", "within class", "95 %"], cells))
        if "costly" in row:
            costly = row["costly"]
            cells = [[name, r["nfe"], number(r["auroc"], 3), interval(r["interval"])] for name, r in costly["scores"].items()]
            note = "Beside scores that cost calls, on all bad images and every seventh good one"
            parts += [f"{note} ({costly['images']}, {costly['bad']} bad):", table(["score", "NFE", "AUROC", "95 %"], cells)]
        parts += ["Learned early stop, free scores alone, held out by seed:", early_stop(row["early_stop"])]
        if "early_stop_with_calls" in row:
            with_calls = early_stop(row["early_stop_with_calls"])
            parts += ["The same with the cheap scores at that point beside them (6 calls, which *saved* leaves out):", with_calls]
    return "\n\n".join(parts)


def within_class(row: Results, name: str) -> list[str]:
    found = row["within_class"].get(name)
    return ["-", "-"] if found is None else [number(found["auroc"], 3), interval(found["interval"])]


def early_stop(rows: Results) -> str:
    """saved: the share of all sampling calls; asked: how many good images might be lost."""
    cells = [
        [point, number(r["auroc"], 3), interval(r["interval"]), f"{float(lost):.0%}"]
        + [f"{100 * at[name]:.1f} %" for name in ("lost", "caught", "saved")]
        for point, r in rows.items()
        for lost, at in r["at"].items()
    ]
    return table(["at", "AUROC", "95 %", "good that may be lost", "good lost", "bad caught", "calls saved"], cells)


def posterior(found: Results) -> str:
    about = paragraph(f"""
        Is the error of a prediction as large as the model's own draws say? {found["images"]} real digits are noised to each level and
        predicted once; the squared error of the prediction is regressed on the posterior variance C, from {found["draws"]} draws. Slope 1
        and ratio 1 (mean squared error over mean C): C is the variance of the error, and its root an error bar in grey levels of
        [-1, 1]. *At the prediction*: draws as algorithm 1 makes them; *at the sample*: draws a tenth as wide around the noisy sample.
        Each half of the draws is the instrument of the other; *ordinary*: without, which noise in C pulls to 0. *Of images*: the slope
        of an image's mean error on its mean C.
    """)
    cells = []
    for level, row in found["levels"].items():
        for where in ("prediction", "sample"):
            r = row[where]
            slopes = [
                text for name in ("slope", "ratio", "slope_of_images") for text in (number(r[name], 2), interval(r[f"{name}_interval"]))
            ]
            cells.append([level, number(row["sigma_over_alpha"], 2), where, number(r["error"], 4), number(r["c"], 4), *slopes[:2]])
            cells[-1] += [number(r["ordinary_slope"], 2), *slopes[2:]]
    header = ["t", "sigma / alpha", "draws at the", "error²", "C", "slope", "95 %", "ordinary", "ratio", "95 %", "of images", "95 %"]
    return "\n\n".join([about, calibrated(found), table(header, cells)])


def calibrated(found: Results) -> str:
    """Up to which level slope and ratio are within a tenth and an eighth of 1."""
    levels = found["levels"].values()
    good = [r["sigma_over_alpha"] for r in levels if abs(r["prediction"]["slope"] - 1) < 0.1 and abs(r["prediction"]["ratio"] - 1) < 0.125]
    if not good:
        return "At no level is it calibrated."
    return (
        f"Calibrated, to a tenth in slope and an eighth in ratio, up to sigma / alpha = {max(good):.2f}. Noisier levels say too much: "
        "there a prediction is a blur, its redrawn copies are no samples of the process, and the mean over them is not the variance at x."
    )
