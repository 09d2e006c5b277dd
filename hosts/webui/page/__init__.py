"""What a person sees: the accordion, the infotext and the notes in files, heatmaps, axes of the X/Y/Z plot."""
