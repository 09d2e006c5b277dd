"""Uncertainty per pixel from further evaluations of one model: aleatoric, MC dropout, prompt information."""
