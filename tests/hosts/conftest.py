"""One real ComfyUI for all tests that ask for it; they are skipped where there is none."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from comfy_server import Server, why_not, with_tiny_models


@pytest.fixture(scope="session")
def comfy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if reason := why_not():
        pytest.skip(reason)
    with with_tiny_models(tmp_path_factory.mktemp("comfyui")) as server:
        yield server
