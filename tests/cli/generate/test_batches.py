"""Which images share a batch: by one process, by workers that end in any order, and after stops, the same."""

from __future__ import annotations

import random

import pytest

from uncertainty_nodes.cli.generate.drawings import Drawing
from uncertainty_nodes.cli.generate.options import GenerateOptions
from uncertainty_nodes.cli.generate.plans import FixedCount, UntilAccepted
from uncertainty_nodes.cli.generate.search import SearchOptions
from uncertainty_nodes.core.options import FilterRule


def drawing(number):
    return Drawing(number, 0, random.Random(number).random(), 1.0, 0.0)


def until(wanted, calibrate):
    rule = {"calibrate_with": calibrate} if calibrate else {"rule": FilterRule.THRESHOLD, "value": 0.6}
    search = SearchOptions(until_kept=wanted, max_attempts=60, **rule)
    return UntilAccepted.load(GenerateOptions(search=search))


def run(plan, batch, workers=1, seed=0, stop_after=None):
    """The batches that were done, in the order in which they ended. stop_after: batches; what is being drawn then is lost."""
    moments, begun, ended = random.Random(seed), [], []
    while stop_after is None or len(ended) < stop_after:
        while len(begun) < workers and (numbers := plan.next_numbers(batch)):
            begun.append(tuple(numbers))
        if not begun:
            return ended
        numbers = begun.pop(moments.randrange(len(begun)))
        for number in numbers:
            plan.add(drawing(number))
        ended.append(numbers)
    return ended


PLANS = {
    "number": lambda: FixedCount(37, 20, each=False),
    "threshold": lambda: until(9, 0),
    "calibrated": lambda: until(9, 7),
    "never enough": lambda: until(60, 7),
}


@pytest.mark.parametrize("kind", PLANS)
@pytest.mark.parametrize("batch", [1, 3, 4, 50])
def test_batches_are_the_same_with_any_number_of_workers_and_after_any_stop(kind, batch):
    whole = run(PLANS[kind](), batch)
    numbers = [number for batch in whole for number in batch]
    assert numbers == list(range(len(numbers)))
    for seed in range(20):
        assert sorted(run(PLANS[kind](), batch, workers=5, seed=seed)) == whole
        done = run(PLANS[kind](), batch, workers=5, seed=seed, stop_after=seed % len(whole))
        resumed = PLANS[kind]()
        for number in sorted(number for batch in done for number in batch):
            resumed.add(drawing(number))
        assert sorted([*done, *run(resumed, batch, workers=1 + seed % 3, seed=seed)]) == whole


@pytest.mark.parametrize("kind", ["threshold", "calibrated"])
def test_no_image_is_drawn_that_is_not_judged(kind):
    plan = PLANS[kind]()
    drawn = sum(len(batch) for batch in run(plan, 4, workers=5))
    assert plan.run.done and plan.run.succeeded and plan.run.attempts == drawn
