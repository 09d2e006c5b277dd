"""The sections of the report: a few sentences around each table, filled from the results."""

from __future__ import annotations

import statistics
from typing import Any

from uncertainty_nodes.benchmarks.report import tables, verdicts
from uncertainty_nodes.benchmarks.report.markdown import interval, number, paragraph, picture, table

Results = dict[str, Any]

PREFACE = paragraph("""
    Made by `python benchmarks/report/write_report.py` from `benchmarks/results/*.json`; `make bench` measures and writes it all anew. Every
    figure is of the bundled digit model, unless a section says otherwise: it shows which way a method points and what it costs,
    not how well it works on large models.

    *Bad* image: the bundled classifier gives the asked digit p < 0.5. *FID*, *precision*, *recall*: in the features of that
    classifier, `digit-cnn-64`, against the 10,000 MNIST training digits that it was not trained on (the denoiser was); not
    comparable with Inception FID. Judge and yardstick are thus one network: what it overlooks, no figure here shows. *NFE*:
    network calls per image. Intervals are 95 %, by bootstrap over images.
""")
CLAIMS_PREFACE = paragraph("""
    Sign and rank only: other models, data and features forbid comparing sizes. *yes*: the interval keeps clear of none (or of
    the rival's); *in sign only*: within the error; *no*: not even the sign, within the error; *the other way round*: clearly
    so.
""")
LIMITS = paragraph("""
    Limits: small models, that of shapes a poor one, and judges trained on the same data sets but for the shapes' rule. The denoiser has
    seen the whole MNIST training split, so no bundled digit is new to it; the judge has not seen its 10,000. Large models, Inception
    features and speed on an accelerator were not measured. The paper's 60,000 images were drawn on a GPU; 103 of the 200 chunks of best
    of N and 4 of the 10 of the search on another processor than the rest: bfloat16 rounds otherwise there.
""")


def filtering(found: Results) -> str:
    bad = found["methods"]["denoised"]
    percent = 100 * bad["bad"] / bad["images"]
    about = paragraph(f"""
        {found["images"]} images, {len(found["seeds"])} seeds, {found["steps"]} DDIM steps, the network in {found["precision"]},
        the same noises and labels for every method; {percent:.1f} % are bad. Each method keeps the best
        {found["kept_share"]:.1%} of each seed's images;
        *gain* is how much lower the FID of the kept is than that of random subsets of the same size (mean ± standard
        deviation over 20); *within class*: scores standardised within each digit, and the best kept of each digit; in
        brackets, precision and recall less those of random subsets. Every score is turned the way it is known to point:
        `noise` high is good. `last steps` is the aleatoric paper's window. NFE and processor seconds are beyond plain
        sampling; memory is that of tensors made for 8 images, beside
        {found["plain_sampling"]["peak_mb"]:.0f} MB and {found["plain_sampling"]["seconds"]:.2f} s an image for plain
        sampling.
    """)
    controls = paragraph("""
        `ink` is how much is drawn, which knows nothing of the model. `classifier` is the judge's own doubt: the ceiling,
        not a method. A score that filters whole digits away, or only the plainest of each in, makes the kept alike, and FID worse.
        `generative uncertainty` compares images in the features of that same classifier, so a part of its
        figure is the judge's own knowledge. `DECU`'s members saw most classes seldom (see below), so its score differs
        between classes before anything else.
    """)
    joined = "The rank averages join the methods of highest AUROC on the *other* seeds, so that none is picked by what it is judged on:"
    figures = [
        picture("AUROC and FID gain of every method against its network calls", "results/cost.png"),
        picture("Share of bad images by tenth of each score's ranking", "results/calibration.png"),
    ]
    return "\n\n".join([about, tables.filtering(found), controls, f"{joined}\n\n{tables.combined(found)}", *figures])


def pixels(found: Results) -> str:
    about = paragraph(f"""
        {found["images"]} real digits are noised to the middle of the schedule and sampled from there with the second half
        of {found["steps"]} DDIM steps; the error is that of each pixel (mean RMSE {number(found["rmse"], 3)} in [-1, 1]).
        AUSE: 0 is the oracle; AURG: 0 is a random order. *The other way up*: the same map with its sign turned.
    """)
    return "\n\n".join([about, tables.pixels(found)])


def guidance(found: Results) -> str:
    about = paragraph(f"""
        {found["steps"]} DDIM steps, {found["draws"]} draws unless named, the same noises and labels at every setting; gains
        are over plain sampling of the same images, in agreement (share of images that show the asked digit) and in FID
        (lower FID is a gain). FID falls with the number of images, so compare rows of equal count only. `eps x`, `random
        direction`, `plain, .. steps` and `best of` are controls: what guidance must beat to be worth its calls.
    """)
    drawn = picture("FID gained against agreement and recall, by mode and strength, beside the controls", "results/guidance.png")
    parts = [about, drawn, verdicts.of_default(found["settings"]), tables.guidance(found)]
    if not any(found["beyond"].values()):
        return "\n\n".join(parts)
    against = paragraph("""
        What guidance adds beyond each control, on the same images: FID gain (the control's FID less that of guidance), then
        agreement gained; above 0 guidance is better. In brackets the 95 % interval of the difference, image pairs resampled.
    """)
    return "\n\n".join([*parts, against, tables.beyond(found, "fid_gain", 2), tables.beyond(found, "agreement_gain", 3)])


def early_signal(direction: Results, information: Results) -> str:
    about = paragraph(f"""
        AUROC of one step alone, {direction["images"]} images, {direction["bad"]} bad ({direction["sampling"]}); prompt
        information at 4 NFE a level. The default windows were picked on these images; the filtering table above is of other
        ones.
    """)
    detection = information["detection"]["default"]
    window = direction["window"]
    cells = [
        ["prompt information, default window", number(detection["information"]["auroc"], 3), interval(detection["information"]["interval"])]
    ] + [[name, number(row["auroc"], 3), interval(row["interval"])] for name, row in window.items()]
    turned = "Raw scores: below 0.5 means that low is bad."
    return "\n\n".join(
        [
            about,
            picture("AUROC for bad images by noise level", "results/signal_by_step.png"),
            table(["score", "AUROC", "95 %"], cells),
            turned,
        ]
    )


def bayesian(found: Results) -> str:
    """Only the columns that stand for a choice: the encoders at the paper's semantic variance."""
    wanted = [f"{name}, semantic variance 0.001" for name in ("bundled features", "bundled convolutions", "pixels")]
    cells = [
        [name, f"{row['nfe']:g}", *(f"{number(row['auroc'][w]['auroc'], 3)} ({interval(row['auroc'][w]['interval'])})" for w in wanted)]
        for name, row in found["generative"].items()
    ]
    generative = table(["generative uncertainty", "NFE", "in the judge's features", "in its convolutions", "in pixels"], cells)
    others = [
        [f"BayesDiff, {name}, {pooling}", f"{row['nfe']:g}", number(a["auroc"], 3), interval(a["interval"])]
        for name, row in found["bayesdiff"].items()
        for pooling, a in row["auroc"].items()
    ]
    dropout = found["mc dropout"]["auroc_per_window"]
    others += [[f"MC dropout, {name} of the schedule", "-", number(a["auroc"], 3), interval(a["interval"])] for name, a in dropout.items()]
    about = f"AUROC for bad images, {found['images']} images, {found['bad']} of them bad; {found['sampling']}."
    return "\n\n".join([about, generative, table(["method", "NFE", "AUROC", "95 %"], others)])


def ensemble(found: Results) -> str:
    counts = ", ".join(str(c) for c in found["training_digits"])
    about = paragraph(f"""
        {found["members"]} members with class embeddings of their own, trained on {counts} images of the digits 0 to 9;
        {found["images_per_class"]} images a class, {found["steps"]} steps. Rank correlation of each class's mean score with
        its number of training images (the claim: negative), and AUROC of scarce against full classes, by branch and moment;
        distance is the raw mean distance between members.
    """)
    cells = [
        [branch, moment, quantity, f"{row['NFE']:g}", number(told["spearman_of_class_means"], 2, signed=True)]
        + [number(told["scarce_against_full"]["auroc"], 3), interval(told["scarce_against_full"]["interval"])]
        for branch, row in found["branches"].items()
        for moment in ("first", "last", "mean")
        for quantity, told in row[moment].items()
    ]
    drawn = picture("Uncertainty of each digit against the number of its training images", "results/classes.png")
    return "\n\n".join([about, drawn, table(["branch", "moment", "score", "NFE", "rank correlation", "AUROC", "95 %"], cells)])


def gradient(found: Results) -> str:
    return paragraph(f"""
        Cosine between guidance's `forward` direction and the exact gradient, {found["images"]} images, {found["sampling"]}:
        {number(found["cosine_mean"], 3)} on average, {number(found["cosine_worst_step"], 3)} at the worst step.
    """)


def scaling(found: Results) -> str:
    law, rows = found["law"], found["features"].values()
    share = 100 * max(row["outside_network"] for row in rows)
    about = paragraph(f"""
        {found["steps"]} steps, batch {found["batch"]}, {found["provenance"]["threads"]} thread. Fitted law: seconds an
        image = {number(law["a"], 4)} + {number(law["b"], 5)} NFE, R² = {law["r_squared"]}. Time outside the network is
        {share:.1f} % at most; of one image alone, with 2 draws at every step, {100 * found["by_batch"]["1"]["outside_network"]:.1f} %.
    """)
    return "\n\n".join([about, tables.scaling(found), tables.growth(found)])


def speed(found: Results) -> str:
    time = found["estimation_time"]
    about = paragraph(f"""
        Sampling with estimation takes {number(time["time_ratio_median"], 2)} times as long as without, for
        {time["call_ratio"]:g} times the calls (median of {len(time["time_ratios"])} pairs). Peak memory of a guided step,
        batch {found["step_memory"]["batch"]}:
    """)
    return "\n\n".join([about, tables.memory(found), *beside_straightforward(found.get("beside_straightforward", []))])


def speed_gpu(found: Results) -> str:
    """Time alone: memory is a matter of the network, not of what computes it."""
    time = found["estimation_time"]
    about = paragraph(f"""
        {found["provenance"]["device"]}, the bundled model, batch {time["batch"]}: sampling with estimation takes
        {number(time["time_ratio_median"], 2)} times as long as without, for {time["call_ratio"]:g} times the calls (median of {
        len(time["time_ratios"])
    } pairs). A network this small leaves a GPU waiting for its next call, so calls count, not images.
    """)
    return "\n\n".join([about, *beside_straightforward(found["beside_straightforward"])])


def beside_straightforward(rows: list[dict[str, Any]]) -> list[str]:
    """A paragraph on draws that share calls, where that was timed."""
    if not rows:
        return []
    each = ", ".join(f"{number(row['time_ratio_median'], 2)} of its time with a batch of {row['batch']}" for row in rows)
    return [
        paragraph(f"""
        Beside a straightforward scheduler that calls the network once for every draw, at the same {rows[0]["measured_steps"]} steps and
        {rows[0]["draws"]} draws in the same run: {each} (median of {len(rows[0]["time_ratios"])}). Draws share calls as memory allows.
    """)
    ]


def comfyui(found: Results) -> str:
    ratio = number(statistics.median(found["time_ratios"]), 2)
    return f"ComfyUI {found['comfyui']}: {ratio} times the time for {found['call_ratio']:g} times the calls."


def made(results: dict[str, Results]) -> str:
    """The exact commands, with versions and hardware."""
    header = ["results", "command", "Python", "torch", "diffusers", "threads", "device"]
    cells = []
    for name, found in results.items():
        p = found["provenance"]
        drawn = f"images on {found['drawn_on']}, table on " if found.get("drawn_on", p["device"]) != p["device"] else ""
        cells.append(
            [
                f"`{name}.json`",
                f"`{p['command']}`",
                p["python"],
                p["torch"],
                p["diffusers"],
                p["threads"],
                f"{drawn}{p['device']} ({p['processor']})",
            ]
        )
    return table(header, cells)
