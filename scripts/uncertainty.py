"""Forge and A1111 load this file by itself, whatever the folder of the extension is called; the package is the folder above it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

NAME = "uncertainty_nodes_webui"  # of its own: pip may have installed the package too, and folders have any name


def load_package(root: Path) -> ModuleType:
    """The package anew: "Reload UI" runs this file again, after an update of the extension with other code."""
    for name in [name for name in sys.modules if name.partition(".")[0] == NAME]:
        del sys.modules[name]
    spec = importlib.util.spec_from_file_location(NAME, root / "__init__.py", submodule_search_locations=[str(root)])
    assert spec is not None and spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = package
    spec.loader.exec_module(package)
    return package


load_package(Path(__file__).resolve().parents[1])
webui = importlib.import_module(f"{NAME}.hosts.webui.script")
webui.register_callbacks()
UncertaintyScript = webui.UncertaintyScript
