"""At the end of a run: each reason for which tests were skipped, once, with how many, so that it can be put right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest


def count_reasons(reports: Iterable[Any]) -> list[str]:
    """A line a reason, the most frequent first. pytest reports a skip as (file, line, "Skipped: reason")."""
    reasons = Counter(str(report.longrepr[2]).removeprefix("Skipped: ") for report in reports if isinstance(report.longrepr, tuple))
    return [f"{count} skipped: {how_to_run(reason)}" for reason, count in reasons.most_common()]


def how_to_run(reason: str) -> str:
    """``pytest.importorskip`` names the module alone; `make test` installs all that it can."""
    return f"{reason}; `make test` installs it" if reason.startswith("could not import") else reason


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if lines := count_reasons(terminalreporter.stats.get("skipped", [])):
        terminalreporter.section("skipped, and how to run it")
        for line in lines:
            terminalreporter.write_line(line)
