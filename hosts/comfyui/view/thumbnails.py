"""Small pictures of a whole batch as one JPEG, which a page shows parts of."""

from __future__ import annotations

import math
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import folder_paths
import numpy as np
from PIL import Image
from torch import Tensor

from ....core.files import replacing

SIDE, MOST, QUALITY = 96, 256, 85  # pixels of the longer side; pictures; of the JPEG


def thumbnail_sheet(pictures: Sequence[Tensor]) -> dict[str, Any]:
    """Pictures (H, W, 3), each fitted into a cell of the size of the first. Where the file is, its columns, cell size and count."""
    pictures = pictures[:MOST]
    height, width = pictures[0].shape[:2]
    scale = SIDE / max(height, width)
    cell = max(1, round(width * scale)), max(1, round(height * scale))
    columns = math.ceil(math.sqrt(len(pictures)))
    sheet = Image.new("RGB", (columns * cell[0], math.ceil(len(pictures) / columns) * cell[1]))
    for place, picture in enumerate(pictures):
        pixels = (picture[..., :3].detach().float().nan_to_num().clamp(0, 1) * 255).round().byte().cpu().numpy()
        shrunk = Image.fromarray(np.ascontiguousarray(pixels)).resize(cell, Image.Resampling.LANCZOS)
        sheet.paste(shrunk, (place % columns * cell[0], place // columns * cell[1]))
    name = f"uncertainty_thumbnails_{uuid.uuid4().hex}.jpg"
    with replacing(Path(folder_paths.get_temp_directory()) / name) as path:
        sheet.save(path, "JPEG", quality=QUALITY)
    return {"filename": name, "subfolder": "", "type": "temp", "columns": columns, "cell": list(cell), "count": len(pictures)}
