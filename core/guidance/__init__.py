"""Steering a sampler by its uncertainty."""
