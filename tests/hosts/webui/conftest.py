"""One real Forge for all tests of this folder; they are skipped, with the reason, where there is none."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from forge_server import WEB_UI, Forge, why_not
from web_ui import WebUI


@pytest.fixture(scope="session")
def forge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forge]:
    if reason := why_not():
        pytest.skip(reason)
    with Forge(tmp_path_factory.mktemp("forge")) as server:
        yield server


@pytest.fixture
def patcher(forge: Forge) -> None:
    """For tests of what Forge's model patcher alone can do."""
    if WEB_UI is WebUI.A1111:
        pytest.skip("A1111 has no model patcher")
