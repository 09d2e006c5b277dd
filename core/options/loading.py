"""How a model is loaded: names that hosts translate into their own."""

from __future__ import annotations

from enum import Enum


class SchedulerName(str, Enum):
    """Samplers by the names that people know them by."""

    DDIM = "ddim"
    DDPM = "ddpm"
    EULER = "euler"
    EULER_ANCESTRAL = "euler_a"
    DPMPP_2M = "dpmpp_2m"
    DPMPP_2M_KARRAS = "dpmpp_2m_karras"
    UNIPC = "unipc"
    LCM = "lcm"


class Precision(str, Enum):
    """Numbers that a model computes in."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"
