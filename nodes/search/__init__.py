"""Keeping the best of several tries: Sample Until Accepted, Best of N, drafts to choose from."""

from __future__ import annotations

from . import best_of, drafts, until

NODES = [*until.NODES, *best_of.NODES, *drafts.NODES]
