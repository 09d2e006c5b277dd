"""WebUI host: what the accordion says, in English; the web UI translates by the whole text."""

from __future__ import annotations

from ...core.options import GuidanceMode
from .settings import Settings

TITLE = "Uncertainty"  # the API's name of the script: it stays
HELP = (
    "Tells how unsure the model is of each image while it draws it. The score is written into the image's infotext and shown below the "
    "results. Measuring changes no image; guidance does."
)
LABELS = {
    "score": (
        "Score",
        "information: whether the image shows what the prompt asks for, low is bad. denoised: spread of the predicted image, high is bad. "
        "noise: spread of the predicted noise, low is bad. posterior: the squared error to expect, in the image's units, high is bad.",
    ),
    "samples": ("Samples", "Noise draws at each measured step or level."),
    "start_percent": ("Measure from", "Where measuring begins: 0 is pure noise, 1 is the clean image."),
    "end_percent": ("Measure to", "Where measuring ends."),
    "levels": ("Levels", "Noise levels at which information is measured. The other scores use the sampler's own steps."),
    "seed": ("Seed of the draws", "Of the noise for measuring and guidance, not of the image. Compare images under one seed."),
    "heatmaps": ("Show heatmaps behind the images", "Bright is where the model is unsure."),
    "passes": ("With hires fix", "Which of the two samplings are measured and steered."),
    "strength": ("Guidance strength", "0 is off. 0.02 suits the mode posterior, 0.1 suits forward."),
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
        "shown.",
    ),
    "wanted": (
        "Stop when so many are accepted",
        "0 draws every batch. With another number, drawing ends as soon as so many images are accepted, after all batches at the latest. "
        "Only for the rules threshold, calibrated and at_most_bad.",
    ),
}


def price(settings: Settings) -> str:
    """What an image will cost beyond its own model calls."""
    measuring, guide = settings.measuring(), settings.guidance()
    window = f"between {measuring.window.start:.0%} and {measuring.window.end:.0%} of the noise schedule"
    if settings.recording() == measuring:
        text = f"The score costs {measuring.draws.samples} further model calls per image at each step {window}, which is one step at least."
    else:
        text = f"The score costs {2 * measuring.draws.samples * settings.levels} further model calls per image, after the sampling."
    if guide is None:
        return text
    calls = guide.draws.samples * (2 if guide.mode is GuidanceMode.FORWARD else 1)
    window = f"between {guide.window.start:.0%} and {guide.window.end:.0%} of the noise schedule"
    backward = ", each with a backward pass, and 6 to check the gradient once" if guide.mode is GuidanceMode.AUTOGRAD else ""
    return f"{text} Guidance costs {calls} further model calls per image at each step {window}{backward}."
