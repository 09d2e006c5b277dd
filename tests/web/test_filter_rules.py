"""The rules in the page decide as those in core: on random batches, in Node."""

from __future__ import annotations

import json
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from node_js import NODE, has_modules
from uncertainty_nodes.core.options import Direction, FilterRule
from uncertainty_nodes.core.selection.calibration import Calibration
from uncertainty_nodes.core.selection.filtering import decide
from uncertainty_nodes.core.view.filtered import describe_filter
from uncertainty_nodes.core.view.summary import summarize_scores

RULES = (FilterRule.DROP_WORST_PERCENT, FilterRule.KEEP_BEST_COUNT, FilterRule.THRESHOLD, FilterRule.CALIBRATED)
DECIDE = Path(__file__).parents[2] / "web" / "js" / "filter" / "decide.js"
SCRIPT = f"""
import {{ decide }} from {json.dumps(DECIDE.as_uri())};
let text = "";
for await (const chunk of process.stdin) text += chunk;
const answers = JSON.parse(text).map(({{ batch, choice }}) => {{
  const found = decide(batch, choice);
  return {{ accepted: found.passes.flatMap((passes, i) => (passes ? [i] : [])), order: found.order, line: found.line }};
}});
console.log(JSON.stringify(answers));
"""


def one(draw: random.Random) -> tuple[dict[str, Any], Any]:
    """What the page gets, and what core decides. Scores are coarse, so that many are equal, or lie on the line."""
    size, rule, direction = draw.randint(1, 12), draw.choice(RULES), draw.choice(list(Direction))
    coarse = draw.random() < 0.5
    pick = (lambda: float(draw.randint(-3, 3)) / 4) if coarse else (lambda: draw.gauss(0, 1))
    failing = lambda: draw.choice([float("nan"), float("inf"), -float("inf")]) if draw.random() < 0.1 else pick()  # noqa: E731
    scores = torch.tensor([failing() for _ in range(size)])
    history = Calibration.fit([torch.tensor([pick() for _ in range(draw.randint(1, 40))])], direction, "denoised")
    extra, weight = None, 0.0
    if rule in RULES[:2]:
        value = float(draw.randint(0, size + 2)) if rule is RULES[1] else draw.choice([0.0, 100.0, 100 / 3, 50.0, draw.uniform(0, 100)])
        if draw.random() < 0.5:
            extra = torch.tensor([failing() for _ in range(size)], dtype=torch.float64)
            weight = draw.choice([0.0, 0.05, 0.3, 0.5, 1.0])
    else:
        value = draw.choice([0.0, 25.0, 50.0, 97.5, 100.0, draw.uniform(0, 100)]) if rule is RULES[3] else pick()
    decision = decide(scores, direction, rule, value, history, extra, weight, quantity="denoised")
    batch = summarize_scores(scores, direction, "denoised") | describe_filter(rule, value, extra, weight, history)
    return {"batch": batch, "choice": {"rule": rule.value, "value": value, "weight": weight}}, decision


@pytest.mark.skipif(not has_modules(), reason="no Node 20.19 or newer: apt-get install nodejs")
def test_page_and_core_decide_the_same() -> None:
    draw = random.Random(1)
    cases = [one(draw) for _ in range(2000)]
    told = json.dumps([case for case, _ in cases], allow_nan=False)
    command = [NODE, "--no-warnings", "--input-type=module", "-e", SCRIPT]
    answers = json.loads(subprocess.run(command, input=told, capture_output=True, text=True, check=True).stdout)
    for (case, decision), answer in zip(cases, answers, strict=True):
        assert answer["accepted"] == list(decision.accepted), case
        assert answer["order"] == list(decision.order), case
        if case["choice"]["rule"] in ("threshold", "calibrated"):
            assert answer["line"] == pytest.approx(decision.threshold, rel=1e-12, abs=1e-12), case
    assert sum(len(decision.accepted) for _, decision in cases) > 1000
