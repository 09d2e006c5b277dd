"""Keeping the good images: Sample Filter, and Rank Folder for those on disk."""

from __future__ import annotations

from . import rank_folder, sample_filter

NODES = [*sample_filter.NODES, *rank_folder.NODES]
