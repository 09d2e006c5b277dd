"""One real ComfyUI for all tests that ask for ``comfy``; they are skipped, with the reason once a file, where there is none.

Where COMFYUI_PATH names several copies, each of these tests runs with each. One server at a time is up: pytest groups what shares a
parameter of a session's fixture.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from comfy_installations import Installation, installations
from comfy_server import Server, with_tiny_models


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    several = installations()
    if "comfy" in metafunc.fixturenames and len(several) > 1:
        metafunc.parametrize("comfy", several, indirect=True, ids=lambda copy: copy.version, scope="session")


@pytest.fixture(scope="session")
def comfy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    copy = getattr(request, "param", None) or installations()[0]
    with with_tiny_models(tmp_path_factory.mktemp("comfyui"), copy) as server:
        yield server


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reasons = {copy: copy.why_not() for copy in installations()} if any(map(wants_comfy, items)) else {}
    for item in filter(wants_comfy, items):
        if reason := reasons[chosen(item)]:
            item.add_marker(pytest.mark.skip(reason=reason))


def wants_comfy(item: pytest.Item) -> bool:
    return "comfy" in getattr(item, "fixturenames", ())


def chosen(item: pytest.Item) -> Installation:
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    return parameters.get("comfy") or installations()[0]
