"""Every test starts from the same seeds and leaves torch as it found it."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterator
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # a test that reaches for a download fails at once

import hypothesis
import numpy as np
import pytest
import torch

from comfy_fixture import comfy, pytest_collection_modifyitems, pytest_generate_tests  # noqa: F401  here, so that tests/hosts and tests/web share one server
from skip_reasons import pytest_terminal_summary  # noqa: F401

hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=25)
hypothesis.settings.load_profile("repeatable")

torch.set_num_threads(1)  # small tensors, often beside a server: further threads cost more than they bring

if homes := os.environ.get("COMFYUI_PATH"):
    sys.path.insert(0, homes.split(os.pathsep)[0])  # of several, the first: a process can import one ComfyUI only


@pytest.fixture(autouse=True)
def same_start() -> Iterator[None]:
    dtype, grad, threads = torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads()
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(dtype)
    torch.set_grad_enabled(grad)
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def demo() -> tuple[Any, Any]:
    """The bundled network and its DDIM scheduler, for tests that leave both as they were."""
    from uncertainty_nodes.hosts.diffusers.demo import load_demo

    return load_demo()
