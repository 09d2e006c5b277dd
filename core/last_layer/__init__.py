"""The Bayesian last layer: Laplace posterior, generative uncertainty, BayesDiff."""
