"""ComfyUI: ensembles."""
