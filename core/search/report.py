"""What a search did, in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .best_of import Round, Search


def describe(search: Search, kept: Sequence[int], seeds: Mapping[int, int]) -> list[str]:
    """One paragraph for each comparison, then what was kept and what it cost. Candidates are counted from 1; seeds: by row, of
    a copy that of the candidate it was copied from.
    """
    lines = [line for each in search.rounds for line in describe_round(each, search)]
    names = ", ".join(f"candidate {row + 1} ({origin(search, row, seeds)})" for row in kept)
    lines.append(f"Kept: {names}." if kept else "Every candidate was stopped.")
    lines.append(f"Network passes: {search.network_rows} for sampling, {search.scoring_rows} for comparing.")
    return lines


def origin(search: Search, row: int, seeds: Mapping[int, int]) -> str:
    if row not in search.copies:
        return f"seed {seeds[row]}"
    return f"a copy of candidate {search.lineage[row] + 1}, seed {seeds[row]}, with fresh noise since then: no seed draws it again"


def describe_round(decided: Round, search: Search) -> list[str]:
    names = " and ".join(scorer.value for scorer in search.options.scorers)
    at = "When they were finished" if decided.percent == 1 else f"At {decided.percent:.0%} of the schedule"
    lines = [f"{at}, {len(decided.compared)} candidates were compared by {names}: {len(decided.rows)} kept."]
    return lines + [f"  Candidate {row + 1}: {reason}" for row, reason in zip(decided.compared, decided.reasons, strict=True)]
