"""ComfyUI host: what searches for the best candidates of each image of a batch have found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ....core.options import SearchMode
from ....core.result import Uncertainty
from ....core.search.report import describe
from ....core.search.scoring import DIRECTION_OF_SCORER
from ....core.search.seeds import NO_SEED
from ....core.search.stopping import quantity_at
from .image_search import ImageSearch


@dataclass(frozen=True, eq=False)
class SearchOutcome:
    """chosen: the searches and rows of the images that come out, in their order; images: the place of each in the batch that went in.

    uncertainty: of these, by the last comparison that they were in; None where none is left.  compared: of all candidates at each point.
    seeds: those that draw the chosen alone, NO_SEED for copies.  report: in sentences.
    calls: network passes of all candidates, and of comparing them.
    """

    chosen: tuple[tuple[ImageSearch, int], ...]
    images: tuple[int, ...]
    uncertainty: Uncertainty | None
    compared: tuple[Uncertainty, ...]
    seeds: tuple[int, ...]
    report: str
    calls: int

    @classmethod
    def of(cls, searches: Sequence[ImageSearch], kept: Sequence[Sequence[int]]) -> SearchOutcome:
        provenance = searches[0].search.settings
        chosen = tuple((s, row) for s, rows in zip(searches, kept, strict=True) for row in rows)
        images = tuple(i for i, rows in enumerate(kept) for _ in rows)
        count = max(len(s.comparisons) for s in searches)
        compared = tuple(result_at(searches, k, provenance) for k in range(count))
        uncertainty = result_of(chosen, provenance) if chosen else None
        seeds = tuple(NO_SEED if row in s.search.copies else s.candidates[row].seed for s, row in chosen)
        report = "\n".join(lines(searches, kept))
        calls = sum(s.search.network_rows + s.search.scoring_rows for s in searches)
        return cls(chosen, images, uncertainty, compared, seeds, report, calls)


def result_at(searches: Sequence[ImageSearch], k: int, provenance: dict[str, str]) -> Uncertainty:
    """Every candidate in the k-th comparison of each image, by the first scorer."""
    found = [s.comparisons[k] for s in searches if len(s.comparisons) > k]
    scorer, count = searches[0].search.options.scorer, sum(len(c.rows) for c in found)
    scores, maps = (torch.cat([getattr(c.scores, name)[scorer] for c in found]).float() for name in ("by", "maps"))
    nfe, sigmas = sum(c.scores.rows for c in found) / count, torch.tensor([found[0].sigma])
    quantity, seconds = quantity_at(scorer, found[0].percent), sum(c.seconds for c in found)
    names = [s for s in found[0].scores.by if s is not scorer and all(s in c.scores.by for c in found)]
    further = {s.value: torch.cat([c.scores.by[s] for c in found]).float() for s in names}
    return Uncertainty(maps, scores, scores[None], sigmas, DIRECTION_OF_SCORER[scorer], quantity, nfe, seconds, provenance, further)


def result_of(chosen: Sequence[tuple[ImageSearch, int]], provenance: dict[str, str]) -> Uncertainty:
    scorer = chosen[0][0].search.options.scorer
    places = [[(c, c.rows.index(row)) for c, row in path(s, row)] for s, row in chosen]
    curve = torch.tensor([[float(c.scores.by[scorer][i]) for c, i in each] for each in places]).T
    maps = torch.stack([each[-1][0].scores.maps[scorer][each[-1][1]] for each in places]).float()
    last = places[0][-1][0]
    sigmas = torch.tensor([c.sigma for c, _ in places[0]])
    every = {id(s): s for s, _ in chosen}.values()
    nfe = sum(s.search.scoring_rows for s in every) / len(chosen)
    seconds = sum(c.seconds for s in every for c in s.comparisons)
    quantity = quantity_at(scorer, last.percent)
    return Uncertainty(maps, curve[-1], curve, sigmas, DIRECTION_OF_SCORER[scorer], quantity, nfe, seconds, provenance)


def path(search: ImageSearch, row: int) -> list[tuple]:
    """The comparisons that an image was in, and as which row: before it was copied, as its source's."""
    found = []
    for k in reversed(range(len(search.comparisons))):
        if k < len(search.search.rounds):
            decided = search.search.rounds[k]
            row = decided.sources[decided.rows.index(row)]
        found.append((search.comparisons[k], row))
    return found[::-1]


def lines(searches: Sequence[ImageSearch], kept: Sequence[Sequence[int]]) -> list[str]:
    found = []
    for i, (each, rows) in enumerate(zip(searches, kept, strict=True)):
        seeds = {row: candidate.seed for row, candidate in each.candidates.items()}
        found += [f"Image {i + 1}:"] if len(searches) > 1 else []
        each.search.network_rows = each.lane.passes
        found += describe(each.search, rows, seeds)
        whole = each.search.options.candidates * (len(each.lane.sigmas) - 1)
        saved = whole - each.lane.steps
        if saved > 0:
            seconds = saved * each.sampling_seconds / max(each.lane.steps, 1)
            found.append(f"{saved} of {whole} steps were not needed, about {seconds:.3g} seconds.")
        if each.micro_batch < each.asked_together:
            found.append(f"Memory was short: {each.micro_batch} candidates in a call, not {each.asked_together}.")
    if searches[0].search.options.mode is SearchMode.STOP and not any(kept):
        found.append("No candidate is left: what is wired to the latent is skipped.")
    return found
