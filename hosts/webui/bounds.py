"""WebUI host: what each setting that is a number may be."""

from __future__ import annotations

from ...core.options import BestOfOptions, DrawOptions, GuidanceOptions, StepWindow, bounds, limits

BOUNDS = {
    "samples": bounds(DrawOptions, "samples"),
    "start_percent": bounds(StepWindow, "start"),
    "end_percent": bounds(StepWindow, "end"),
    "levels": limits.LEVELS,
    "seed": limits.SEED,
    "strength": bounds(GuidanceOptions, "strength"),
    "percentile": bounds(GuidanceOptions, "percentile"),
    "guidance_samples": bounds(DrawOptions, "samples"),
    "guidance_start": bounds(StepWindow, "start"),
    "guidance_end": bounds(StepWindow, "end"),
    "value": limits.FILTER_VALUE,
    "wanted": limits.KEEP,
    "best": limits.KEEP,
    "prune_at": bounds(StepWindow, "start"),
    "prune_to": bounds(StepWindow, "start"),
    "branch": bounds(StepWindow, "start"),
    "at_once": bounds(BestOfOptions, "micro_batch"),
}
