"""The algorithms: what uncertainty is, how it is measured and what is done with it. Knows no host."""
