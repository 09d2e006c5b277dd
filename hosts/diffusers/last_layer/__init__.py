"""diffusers: the Bayesian last layer."""
