"""WebUI host: where each setting stands in the accordion. Rows of settings; most are folded away under a title."""

from __future__ import annotations

SHOWN = (("score",), ("heatmaps", "passes"))
FOLDED = {
    "How it is measured": (("samples", "levels", "seed"), ("start_percent", "end_percent")),
    "Filter": (("rule", "value"), ("calibration", "rejected"), ("wanted",)),
    "Best of each batch": (("best", "at_once"), ("prune_at", "prune_to")),
    "Guidance": (("strength", "guidance_samples", "percentile"), ("guidance_start", "guidance_end"), ("mode",), ("units", "preset")),
    "Ensemble of LoRAs": (("members", "branch"),),
}
