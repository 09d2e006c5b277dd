"""ComfyUI. Imports nothing by itself."""
