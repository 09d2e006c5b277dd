"""Which web UI the tests were given, and how each is started on a processor without anything from the network."""

from __future__ import annotations

from enum import Enum
from pathlib import Path

QUIET = ("--skip-prepare-environment", "--skip-install", "--skip-torch-cuda-test")
OF_A1111 = ("--skip-python-version-check", "--skip-version-check", "--no-download-sd-model")


class WebUI(Enum):
    FORGE = "Forge"
    NEO = "Forge Neo"
    A1111 = "A1111"

    @staticmethod
    def at(home: Path) -> WebUI:
        """By what is in its folder."""
        arguments = home / "modules" / "cmd_args.py"
        if not (home / "backend").is_dir():
            return WebUI.A1111
        return WebUI.NEO if arguments.is_file() and "--ckpt-dirs" in arguments.read_text(encoding="utf-8") else WebUI.FORGE

    @property
    def on_processor(self) -> tuple[str, ...]:
        """The arguments that its modules read before anything else, as on its command line."""
        return {WebUI.FORGE: ("--always-cpu",), WebUI.NEO: ("--cpu",), WebUI.A1111: ("--use-cpu", "all")}[self]

    @property
    def arguments(self) -> list[str]:
        precise = () if self is WebUI.NEO else ("--no-half", "--no-hashing")
        return [*QUIET, *(OF_A1111 if self is WebUI.A1111 else ()), *self.on_processor, *precise]

    @property
    def checkpoints(self) -> str:
        """The name of the argument for the folder of checkpoints."""
        return "--ckpt-dirs" if self is WebUI.NEO else "--ckpt-dir"
