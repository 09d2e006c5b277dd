"""Sampling runs of ComfyUI: those that we start, those that we measure in, what they record, and gradients inside of them."""
