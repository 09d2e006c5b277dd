"""The bars that diffusers and transformers draw while they load."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging


@contextmanager
def loading_bars(shown: bool) -> Iterator[None]:
    """Whether diffusers and transformers draw their bars while they load inside the block; afterwards they are as they were."""
    hidden = [] if shown else [host for host in (diffusers_logging, transformers_logging) if host.is_progress_bar_enabled()]
    for host in hidden:
        host.disable_progress_bar()
    try:
        yield
    finally:
        for host in hidden:
            host.enable_progress_bar()
