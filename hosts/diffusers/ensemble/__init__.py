"""diffusers: ensembles."""
