"""Imports point downward only: scripts, nodes, cli -> hosts -> core -> nothing. No host is needed to import core or the package."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIBRARIES = {"torch", "numpy", "einops", "safetensors"}
COMFYUI = {
    "aiohttp",
    "comfy",
    "comfy_api",
    "comfy_execution",
    "comfy_extras",
    "folder_paths",
    "latent_preview",
    "node_helpers",
    "nodes",
    "server",
}
DIFFUSERS = {"diffusers", "transformers", "peft", "accelerate", "huggingface_hub", "open_clip"}
WEBUI = {"modules", "modules_forge", "backend", "ldm_patched", "k_diffusion", "gradio"}
HOST_OF = {**dict.fromkeys(COMFYUI, "ComfyUI"), **dict.fromkeys(DIFFUSERS, "diffusers"), **dict.fromkeys(WEBUI, "the WebUI")}
# layer: (what it may import beside the standard library, which other layers of ours it may import)
RULES = {
    "__init__": (set(), {".nodes"}),
    "scripts": (set(), set()),  # Forge loads it as a file outside of any package: it finds ours by its path
    "nodes": ({"comfy_api"}, {".hosts", ".core"}),
    "cli": (LIBRARIES | {"PIL", "tqdm", "ray"}, {".hosts", ".core"}),
    "hosts": (LIBRARIES | {"PIL", "tqdm"} | HOST_OF.keys(), {".core"}),
    "core": (LIBRARIES, set()),
}
HOSTS = {p.parent.name for p in ROOT.glob("hosts/*/__init__.py")}
SOURCES = sorted(p for pattern in ["*.py", *(f"{layer}/**/*.py" for layer in RULES)] for p in ROOT.glob(pattern))


def place(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def layer_of(path: Path) -> str:
    return place(path).split("/")[0].removesuffix(".py")


def full_imports(source: str, package: list[str]) -> set[str]:
    """Dotted names of all that a module inside ``package`` imports, wherever in it; those of ours begin with a dot."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.append(node.module)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1]
            base = ".".join([*above, *([node.module] if node.module else [])])
            found += [f".{base}.{alias.name}" if base else f".{alias.name}" for alias in node.names]
    return set(found)


def first(name: str) -> str:
    """``.hosts`` of ``.hosts.comfyui.batch``, ``torch`` of ``torch.nn``."""
    return "." + name[1:].split(".")[0] if name.startswith(".") else name.split(".")[0]


def imports(source: str, package: list[str]) -> set[str]:
    return {first(name) for name in full_imports(source, package)}


def other_hosts(source: str, package: list[str]) -> set[str]:
    """Packages of hosts, other than its own, that a module inside ``package`` imports from."""
    names = {name.split(".")[2] for name in full_imports(source, package) if name.startswith(".hosts.")}
    return (names & HOSTS) - set(package[1:2])


def imports_of(path: Path) -> set[str]:
    return imports(path.read_text(encoding="utf-8"), list(path.relative_to(ROOT).parent.parts))


def run_python(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_imports_are_read_in_every_form():
    source = "import a.b, c\nfrom d.e import f\ndef g():\n    from ..core.h import i\n    from . import j\n    from .. import nodes\n"
    assert imports(source, ["hosts"]) == {"a", "c", "d", ".core", ".hosts", ".nodes"}
    assert imports("from .core.x import y\nfrom . import cli", []) == {".core", ".cli"}
    assert imports("from ....core import a\nfrom ..batch import b", ["hosts", "comfyui", "ensemble"]) == {".core", ".hosts"}


def test_an_import_of_another_host_is_seen():
    inside = ["hosts", "comfyui", "ensemble"]
    for source in ["from ...diffusers.call import x", "from ...diffusers import x", "def f():\n    from ... import diffusers"]:
        assert other_hosts(source, inside) == {"diffusers"}
    assert not other_hosts("from ..batch import x\nfrom .. import files\nimport diffusers", inside)


@pytest.mark.parametrize("path", SOURCES, ids=place)
def test_imports_point_downward(path):
    assert layer_of(path) in RULES, f"{place(path)} belongs to no layer"
    libraries, layers = RULES[layer_of(path)]
    allowed = sys.stdlib_module_names | libraries | layers | {f".{layer_of(path)}"}
    assert imports_of(path) <= allowed, f"{place(path)} may not import {', '.join(sorted(imports_of(path) - allowed))}"


@pytest.mark.parametrize("path", [p for p in SOURCES if layer_of(p) == "hosts"], ids=place)
def test_an_adapter_knows_one_host(path):
    known = {HOST_OF[name] for name in imports_of(path) & HOST_OF.keys()}
    assert len(known) <= 1, f"{place(path)} knows {' and '.join(sorted(known))}"
    others = other_hosts(path.read_text(encoding="utf-8"), list(path.relative_to(ROOT).parent.parts))
    assert not others, f"{place(path)} imports from hosts/{', hosts/'.join(sorted(others))}: what two hosts share belongs in core/"


def test_core_imports_with_every_host_blocked():
    modules = ["uncertainty_nodes." + place(p).removesuffix(".py").replace("/", ".") for p in SOURCES if layer_of(p) == "core"]
    blocked = [*HOST_OF, "PIL", "tqdm", "scipy", "sklearn", "torchmetrics", "torchvision", "ray"]
    run_python(
        "import importlib, sys\n"
        f"sys.modules.update(dict.fromkeys({blocked}))\n"  # None in sys.modules makes the import fail
        f"for name in {modules}: importlib.import_module(name)\n"
    )


def test_the_package_itself_imports_no_host_and_nothing_heavy():
    heavy = {*HOST_OF, *LIBRARIES}
    run_python(f"import sys, uncertainty_nodes.hosts\nloaded = sys.modules.keys() & {heavy}\nassert not loaded, loaded\n")
