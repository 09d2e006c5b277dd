"""Figures about methods: AUROC, Frechet distance, sparsification."""
