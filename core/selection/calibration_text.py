"""What a calibration holds, in lines for people."""

from __future__ import annotations

from .calibration import Calibration
from .settings import HOST

ENOUGH = 30  # scores, for percentiles in the middle to mean something


def describe(history: Calibration, again: int = 0) -> list[str]:
    """again: how many images of the latest run were in it already."""
    lines = [f"{len(history)} {'score' if len(history) == 1 else 'scores'} of {history.quantity}"]
    if history.seen > len(history):
        lines.append(f"They are a random sample of the {history.seen} scores that were collected.")
    if again:
        images, were = ("image", "was") if again == 1 else ("images", "were")
        lines.append(f"{again} {images} of this run {were} in the file already and {'is' if again == 1 else 'are'} not counted again.")
    if len(history) < ENOUGH:
        lines.append(f"These are few. Judge images by them once there are about {ENOUGH}.")
    if (early := history.early_stop()) is not None:
        lines.append(f"An early stop is learned from {', '.join(early.names)}, for all that can stop images on their way.")
    return lines + [f"{name}: {value}" for name, value in history.settings.items() if name != HOST]


def describe_promise(history: Calibration, bad_share: float, confidence: float) -> list[str]:
    """What the labels allow to promise; nothing without labels."""
    if not len(history.labelled):
        return []
    told = f"{len(history.labelled)} labelled images, {int(history.bad.sum())} of them bad."
    try:
        threshold = history.risk_threshold(bad_share, confidence)
    except ValueError as error:
        return [told, str(error)]
    found = history.risk(bad_share, confidence)
    return [
        told,
        f"At most {bad_share:g} % of the images that pass {threshold:.4g} are bad, with {confidence:g} % confidence: "
        f"{found.passing} of the labelled images pass it, {found.bad} of them bad.",
    ]
