"""The price of guidance in the page and in Python is one rule."""

from __future__ import annotations

import json
import random
import subprocess
from dataclasses import asdict
from pathlib import Path

import pytest

from node_js import NODE, has_modules
from uncertainty_nodes.core.guidance.price import Evaluation, price
from uncertainty_nodes.core.options import DrawOptions, GuidanceMode, GuidanceOptions, StepWindow

RULE = Path(__file__).parents[2] / "web" / "js" / "guidance" / "price.js"
ASK = """
const { priceOf } = await import(process.argv[1]);
let text = "";
for await (const part of process.stdin) text += part;
console.log(JSON.stringify(JSON.parse(text).map(([evaluations, settings]) => priceOf(evaluations, settings))));
"""


def random_case(generator: random.Random) -> tuple[list[Evaluation], GuidanceOptions]:
    start, end = sorted(generator.randrange(101) / 100 for _ in range(2))
    places = [generator.randrange(101) / 100 for _ in range(generator.randrange(12))]
    evaluations = [Evaluation(at + 1e-6, at - 1e-6, generator.randint(1, 3), generator.randint(0, 2)) for at in places]
    mode, draws = generator.choice(list(GuidanceMode)), DrawOptions(samples=generator.randint(2, 9))
    return evaluations, GuidanceOptions(generator.choice([0.0, 0.02, -1.0]), draws=draws, window=StepWindow(start, end), mode=mode)


@pytest.mark.skipif(not has_modules(), reason="no Node 20.19 or newer: apt-get install nodejs")
def test_page_and_python_agree() -> None:
    cases = [random_case(random.Random(seed)) for seed in range(300)]
    sent = []
    for evaluations, o in cases:
        window = {"start_percent": o.window.start, "end_percent": o.window.end}
        settings = {"strength": o.strength, "samples": o.draws.samples, "mode": o.mode.value, **window}
        sent.append([[[e.latest_start, e.earliest_end, e.plain, e.drawn] for e in evaluations], settings])
    command = [NODE, "--no-warnings", "--input-type=module", "-e", ASK, RULE.as_uri()]
    done = subprocess.run(command, input=json.dumps(sent), capture_output=True, text=True, check=True)
    expected = [price(*case) for case in cases]
    assert json.loads(done.stdout) == [{**asdict(each), "times": each.times} for each in expected]
    assert len({each.guiding for each in expected}) > 20
