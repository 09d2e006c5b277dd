"""One real Forge for all tests of this folder; they are skipped, with the reason, where there is none."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from forge_server import Forge, why_not


@pytest.fixture(scope="session")
def forge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forge]:
    if reason := why_not():
        pytest.skip(reason)
    with Forge(tmp_path_factory.mktemp("forge")) as server:
        yield server
