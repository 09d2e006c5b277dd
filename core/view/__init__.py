"""What people look at: colour maps, heatmaps, summaries."""
