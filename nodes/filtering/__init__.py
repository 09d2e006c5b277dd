"""Keeping the good images: Sample Filter."""

from __future__ import annotations

from . import sample_filter

NODES = [*sample_filter.NODES]
