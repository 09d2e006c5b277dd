"""The command ``fit-laplace``."""
