"""Ensembles: training, sampling from a shared start, and how far the members part (DECU)."""
