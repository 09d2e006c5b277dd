"""Image-to-image jobs for a web UI under test."""

from __future__ import annotations

import base64
import io
from typing import Any

from PIL import Image

from forge_server import Drawn, Forge


def encoded(image: Image.Image) -> str:
    file = io.BytesIO()
    image.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def inputs(whole: bool) -> dict[str, Any]:
    gradient = Image.linear_gradient("L").resize((64, 64)).convert("RGB")
    mask = Image.new("L", (64, 64), 0)
    mask.paste(255, (32, 0, 64, 64))
    masked = {"mask": encoded(mask), "mask_blur": 0, "inpaint_full_res": whole, "inpainting_fill": 1}
    return {"init_images": [encoded(gradient)], "denoising_strength": 0.7, **masked}


def settled(forge: Forge, job: dict[str, Any]) -> Drawn:
    """Forge's VAE encodes with torch's own random numbers, which the generation before has seeded: it must have been the same job."""
    forge.draw(**job)
    return forge.draw(**job)
