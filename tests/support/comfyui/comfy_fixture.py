"""One real ComfyUI for all tests that ask for ``comfy``; they are skipped, with the reason once a file, where there is none."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from comfy_server import Server, why_not, with_tiny_models


@pytest.fixture(scope="session")
def comfy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with with_tiny_models(tmp_path_factory.mktemp("comfyui")) as server:
        yield server


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    wanting = [item for item in items if "comfy" in getattr(item, "fixturenames", ())]
    if wanting and (reason := why_not()):
        for item in wanting:
            item.add_marker(pytest.mark.skip(reason=reason))
