"""ComfyUI: the Bayesian last layer."""
