"""ComfyUI host: the best of N candidates with early pruning, and sampling until images are good."""
