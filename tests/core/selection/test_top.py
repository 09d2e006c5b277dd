"""The best of a stream, against sorting it whole."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from uncertainty_nodes.core.selection.top import Top

BADNESS = st.lists(st.one_of(st.integers(0, 4).map(float), st.floats(allow_nan=True, allow_infinity=True)), max_size=40)


@given(BADNESS, st.integers(0, 6))
def test_it_keeps_what_a_stable_sort_of_all_would(badness, keep):
    top, most = Top(keep), 0
    for number, value in enumerate(badness):
        top.offer(value, number)
        most = max(most, len(top.heap))
    finite = [(value, number) for number, value in enumerate(badness) if math.isfinite(value)]
    assert [item for _, item in top.best()] == [number for _, number in sorted(finite)[:keep]]
    assert top.seen == len(badness) and most <= keep


def test_it_says_whether_an_item_is_among_the_best_and_never_compares_items():
    top = Top(2)
    assert [top.offer(value, {"unordered": value}) for value in (3.0, 1.0, 2.0, 3.0, math.nan, 0.0)] == [
        True,
        True,
        True,
        False,
        False,
        True,
    ]
    assert [item["unordered"] for _, item in top.best()] == [0.0, 1.0]
