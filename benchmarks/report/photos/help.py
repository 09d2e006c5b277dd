"""What the nodes' help pages say of scores and maps on colour photos."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from uncertainty_nodes.benchmarks.report.markdown import listed, number, table
from uncertainty_nodes.benchmarks.report.photos.tables import CHANCE, finds, share

Results = dict[str, Any]
START = "On a small model of colour photos"
NAMES = {  # of filtering_colour.json -> on a help page
    "prompt information": "prompt information",
    "generative uncertainty": "generative uncertainty",
    "denoised": "denoised",
    "denoised, finished image": "denoised",
    "noise": "noise",
    "trajectory": "trajectory",
    "condition gap": "condition gap",
    "MC dropout": "MC dropout",
    "BayesDiff": "BayesDiff",
    "DECU": "an ensemble's disagreement",
}
ALL = tuple(name for name in NAMES if name != "denoised, finished image")


@dataclass(frozen=True)
class Scores:
    """The results of filtering photos without guidance, and under it."""

    plain: Results
    guided: Results

    def rows(self, name: str) -> dict[str, Results]:
        """By scale, where the score was measured."""
        return {f"{found['cfg']:g}": found["methods"][name] for found in (self.plain, self.guided) if name in found["methods"]}

    def aurocs(self, name: str) -> str:
        return " and ".join(f"{number(row['auroc']['auroc'], 2)} at cfg {scale}" for scale, row in self.rows(name).items())

    def told(self, label: str, name: str) -> str:
        """One score, by itself."""
        rows = list(self.rows(name).values())
        if finds(rows):
            within = " and ".join(number(row["auroc_within_class"], 2) for row in rows)
            return f"{START} {label} finds bad images (AUROC {self.aurocs(name)}, among images of one class {within}; 0.5 is chance)."
        verb = "does not tell bad images from good ones"
        if all(row["auroc"]["interval"][1] < CHANCE for row in rows):
            verb = "points the wrong way, calling good images the worse ones"
        return f"{START} {label} {verb} (AUROC {self.aurocs(name)}; 0.5 is chance)."

    def compared(self, names: tuple[str, ...]) -> str:
        """Those that find bad images, and those that don't."""
        holding = [name for name in names if finds(self.rows(name).values())]
        found, others = (
            listed([f"{NAMES[name]} ({self.aurocs(name)})" for name in names if (name in holding) is wanted]) for wanted in (True, False)
        )
        return (
            f"{START} bad images are found by {found}. Among images of one class, hardly any are found by {others}. The numbers are "
            "AUROC over all classes: 0.5 is chance, and below it a score points the wrong way."
        )

    def table(self, names: tuple[str, ...]) -> str:
        """All of them, one a line, the best first."""
        scales = [f"{found['cfg']:g}" for found in (self.plain, self.guided)]
        cells = []
        for name in sorted(names, key=lambda n: -max(row["auroc"]["auroc"] for row in self.rows(n).values())):
            rows = self.rows(name)
            aurocs = [number(rows[scale]["auroc"]["auroc"], 2) if scale in rows else "-" for scale in scales]
            cells.append([NAMES[name], *aurocs, "yes" if finds(rows.values()) else "no"])
        header = ["score", *(f"AUROC at cfg {scale}" for scale in scales), "finds bad images of one class"]
        return f"{START}, AUROC: 0.5 is chance, and below it a score points the wrong way.\n\n{table(header, cells)}"


def of_map(photos: Results, digits: Results) -> str:
    """Raises ValueError where denoised is no longer the best map."""
    maps = {n: r for n, r in photos["methods"].items() if n not in ("oracle", "random") and "other way" not in n}
    if min(maps, key=lambda n: maps[n]["ause"]) != "denoised":
        raise ValueError("On photos denoised is no longer the best map: write the help page of Uncertainty Estimator anew.")
    ours, theirs = (f"{100 * share(found['methods']['denoised']):.0f} %" for found in (photos, digits))
    start = "The map of denoised shows errors in photos better than other maps"
    return f"{start}, but only {ours} of what a perfect map would: on digits {theirs}."


def of_scarce(found: Results) -> str:
    default = found["branches"][f"{found['default']['branch']:g}"][found["default"]["moment"]]["information"]["scarce_against_full"]
    return f"It does tell images of classes that were seldom trained (AUROC {number(default['auroc'], 2)})."
