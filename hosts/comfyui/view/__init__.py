"""What nodes show in ComfyUI: charts, reports, sweeps and their grids."""
