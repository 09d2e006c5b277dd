"""Which image of a batch a file holds, where the file has the notes of them all: told by what each looks like.

ComfyUI writes the same text into every image of a batch. An image is known again in 8 x 8 mean greys, which survive a lossy format, a new
size and a retouched face.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .note import Note

SIDE = 8
ROUNDING = 1e-3  # what reading a byte as a number in [0, 1] may lose
FARTHEST = 16.0  # mean difference of greys, 0 to 255, at which it may still be the same image
CLEARLY = 2.0  # how many times as far the next image must be


def look_of(pixels: Tensor | np.ndarray) -> str:
    """(H, W), or (H, W, C) of which the first three channels count, in [0, 1] -> 128 hexadecimal digits."""
    values = torch.as_tensor(pixels).detach().float().cpu().nan_to_num().clamp(0, 1)
    bytes_ = (values * 255 + ROUNDING).floor()  # as ComfyUI saves it, so that a PNG looks the very same
    grey = bytes_ if values.ndim == 2 else bytes_[..., :3].mean(dim=-1)
    return F.adaptive_avg_pool2d(grey[None, None], SIDE).round().byte().flatten().numpy().tobytes().hex()


def notes_of_image(notes: Sequence[Note], look: str | None = None) -> list[Note]:
    """The notes of this image: those of it alone, and of each quantity of a batch the one that looks like it.

    look: of the file's pixels. Without it, or where no image of the batch is clearly nearest, a batch has no note of this image.
    """
    own = [note for note in notes if note.image is None]
    batches: dict[str, list[Note]] = {}
    for note in notes:
        if note.image is not None:
            batches.setdefault(note.quantity, []).append(note)
    nearest = [_nearest(batch, look) for batch in batches.values()] if look else []
    return own + [note for note in nearest if note is not None]


def _nearest(batch: Iterable[Note], look: str) -> Note | None:
    latest = {note.look: note for note in batch}  # of two filters after each other, the second one decided
    far = sorted((_distance(other, look), other) for other in latest)
    (distance, nearest), rest = far[0], far[1:]
    if distance > FARTHEST or (rest and rest[0][0] <= CLEARLY * distance):
        return None
    return latest[nearest]


def _distance(one: str, other: str) -> float:
    try:
        a, b = (np.frombuffer(bytes.fromhex(look), dtype=np.uint8).astype(float) for look in (one, other))
    except ValueError:
        return float("inf")
    return float(np.abs(a - b).mean()) if len(a) == len(b) == SIDE * SIDE else float("inf")
