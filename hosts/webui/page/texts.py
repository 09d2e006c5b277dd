"""WebUI host: what the accordion says, in English; the web UI translates by the whole text."""

from __future__ import annotations

from html import escape
from typing import Any

from ....core.options import EnsembleOptions, FreeOptions, GuidanceMode, Scorer
from ..settings import Settings, parse_members
from ..support import has_patcher

TITLE = "Uncertainty"  # the API's name of the script: it stays
HELP = (
    "Tells how unsure the model is of each image while it draws it. The score is written into the image's infotext and shown below the "
    "results. Measuring changes no image; guidance does."
)
LABELS = {
    "score": (
        "Score",
        "information: whether the image shows what the prompt asks for, low is bad. denoised: spread of the predicted image, high is bad. "
        "noise: spread of the predicted noise, low is bad. posterior: the squared error to expect, in the image's units, high is bad. "
        "trajectory: how far the predicted image moves while it is drawn, high is bad. condition_gap: how far the predictions with and "
        "without the prompt are apart, low is bad. These two cost no model call. ensemble: how far LoRAs part, high is bad.",
    ),
    "samples": ("Samples", "Noise draws at each measured step or level."),
    "start_percent": ("Measure from", "Where measuring begins: 0 is pure noise, 1 is the clean image."),
    "end_percent": ("Measure to", "Where measuring ends."),
    "levels": ("Levels", "Noise levels at which information is measured. The other scores use the sampler's own steps."),
    "seed": ("Seed of the draws", "Of the noise for measuring and guidance, not of the image. Compare images under one seed."),
    "heatmaps": ("Show heatmaps behind the images", "Bright is where the model is unsure."),
    "passes": ("With hires fix", "Which of the two samplings are measured and steered."),
    "strength": (
        "Guidance strength",
        "0 is off. 0.02 suits the mode posterior, 0.1 suits forward. On a small model of photos it made images worse: compare with 0.",
    ),
    "percentile": ("Guide pixels above percentile", "0 moves every pixel, 95 the 5 % with the highest noise uncertainty."),
    "guidance_samples": ("Guidance samples", "Noise draws at each guided step."),
    "guidance_start": ("Guide from", "Where guidance begins: 0 is pure noise, 1 is the clean image."),
    "guidance_end": ("Guide to", "Where guidance ends."),
    "mode": (
        "Guidance mode",
        "posterior mixes the predictions by their certainty and costs least. forward follows the gradient of the uncertainty by finite "
        "differences. autograd follows the exact gradient.",
    ),
    "units": ("Guidance units", "relative: 0.02 moves a step by 2 % of the predicted noise. raw: the lambda of the paper."),
    "preset": ("Guidance preset", "measured uses the values above. paper uses the paper's in their place, where strength is not 0."),
    "rule": (
        "Keep",
        "keep_all: every image. keep_best_count and drop_worst_percent compare all images of the job. threshold compares each score with "
        "the value. calibrated accepts what is at least as good as that percentage of earlier scores. at_most_bad accepts as many as "
        "leave at most that percentage of bad ones among them, by the judgements in the calibration.",
    ),
    "value": ("Value of the rule", "A percentage, a number of images or a score, depending on the rule."),
    "calibration": (
        "Calibration",
        "A file of models/uncertainty/calibration, as ComfyUI's node Calibrate writes it. For the rules calibrated and at_most_bad.",
    ),
    "rejected": (
        "Rejected images",
        "folder: saved in the folder rejected beside the others. gallery: shown behind the accepted. Where images are not saved, they are "
        "shown. In a plot they are saved in any case, since it shows only the accepted.",
    ),
    "wanted": (
        "Stop when so many are accepted",
        "0 draws every batch. With another number, drawing ends as soon as so many images are accepted, after all batches at the latest. "
        "Only for the rules threshold, calibrated and at_most_bad.",
    ),
    "best": (
        "Keep the best of each batch",
        "0 keeps all. With another number, the images of a batch are candidates: they are compared once while they are drawn, the worst "
        "end there, and of those that are finished so many are kept, the best by their score. The batch size says how many candidates "
        "there are.",
    ),
    "prune_at": ("Compare at", "How much of the noise schedule has passed when the candidates are compared: 0 is pure noise."),
    "prune_to": ("Part that goes on", "0.25 finishes two of eight candidates. 1 finishes all of them."),
    "at_once": (
        "Candidates in one call",
        "1 draws each candidate exactly as a batch of its own would. More are faster on a graphics card, and may change the last digits.",
    ),
    "members": (
        "LoRAs to compare",
        "For the score ensemble: names as in the prompt, with commas between, each with or without a strength: one, two:0.8. Each is put "
        "on the model by itself, and draws the end of every image again; the image stays as it is.",
    ),
    "branch": ("They part at", "Up to this part of the noise schedule all LoRAs share what the model has drawn; 0 is from the start."),
}


def price(settings: Settings) -> str:
    """What an image will cost beyond its own model calls."""
    return " ".join(filter(None, [price_of_score(settings), price_of_search(settings), price_of_guidance(settings)]))


def price_of_score(settings: Settings) -> str:
    measuring = settings.measuring()
    if isinstance(measuring, FreeOptions):
        return "The score costs no further model call."
    if isinstance(measuring, EnsembleOptions):
        count = len(parse_members(settings.members))
        return f"The score draws what comes after {settings.branch:.0%} of the noise schedule {count} times more, once with each LoRA."
    window = f"between {measuring.window.start:.0%} and {measuring.window.end:.0%} of the noise schedule"
    if settings.recording() == measuring:
        return f"The score costs {measuring.draws.samples} further model calls per image at each step {window}, which is one step at least."
    return f"The score costs {2 * measuring.draws.samples * settings.levels} further model calls per image, after the sampling."


def price_of_search(settings: Settings) -> str:
    if not settings.best or settings.prune_to == 1 or not has_patcher():
        return ""
    options = settings.best_of(settings.best + 1)
    calls = 0 if options.scorer.free else options.draws.samples * (2 if options.scorer is Scorer.INFORMATION else 1)
    return (
        f"Comparing costs {calls} further model calls per candidate, once; only {settings.prune_to:.0%} of the candidates, but at least "
        f"{settings.best}, are drawn and scored beyond {settings.prune_at:.0%} of the noise schedule."
    )


def price_of_guidance(settings: Settings) -> str:
    guide = settings.guidance()
    if guide is None:
        return ""
    mode = GuidanceMode.FORWARD if guide.mode is GuidanceMode.AUTOGRAD and not has_patcher() else guide.mode
    calls = guide.draws.samples * (2 if mode is GuidanceMode.FORWARD else 1)
    window = f"between {guide.window.start:.0%} and {guide.window.end:.0%} of the noise schedule"
    backward = ", each with a backward pass, and 6 to check the gradient once" if mode is GuidanceMode.AUTOGRAD else ""
    return f"Guidance costs {calls} further model calls per image at each step {window}{backward}."


def tell_price(*values: Any) -> str:
    """HTML: what the components' values cost, or what is wrong with them. A person may have pasted them from a stranger's image."""
    try:
        return f"<p>{price(Settings.from_values(values))}</p>"
    except ValueError as error:
        return f"<p>{escape(str(error))}</p>"
