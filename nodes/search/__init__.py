"""Keeping the best of several tries: Sample Until Accepted, Best of N and Best of N Sampler."""

from __future__ import annotations

from . import best_of, until

NODES = [*until.NODES, *best_of.NODES]
