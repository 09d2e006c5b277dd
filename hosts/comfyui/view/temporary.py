"""Files for the front-end in ComfyUI's temporary folder, which it empties when it starts; a page fetches them by /view."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path

import folder_paths
from PIL import Image
from torch import Tensor

from ....core.files import replacing

File = dict[str, str]  # what /view is asked with, and what stands under "images" in the ``ui`` of a node
LONGEST_SIDE = 1536  # of a picture that is looked at in a node


def write_temporary(suffix: str, write: Callable[[Path], None]) -> File:
    name = f"uncertainty_{uuid.uuid4().hex[:12]}{suffix}"
    with replacing(Path(folder_paths.get_temp_directory()) / name) as path:
        write(path)
    return {"filename": name, "subfolder": "", "type": "temp"}


def write_picture(picture: Tensor) -> File:
    """One picture (H, W, 3) of an IMAGE as JPEG, shrunk where it is larger than a node is: to be looked at, not to be kept."""
    image = Image.fromarray((picture.detach().float().nan_to_num().clamp(0, 1) * 255).round().byte().cpu().numpy())
    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
    return write_temporary(".jpg", lambda path: image.save(path, "JPEG", quality=92))
