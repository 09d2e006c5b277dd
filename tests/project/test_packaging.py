"""The root folder is the package: built by pip without the tests, loaded by ComfyUI under any folder name."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import uncertainty_nodes

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ["cli", "core", "hosts", "nodes", "demo_model", "web", "locales", "example_workflows"]
SUFFIXES = {".py", ".html", ".safetensors", ".json", ".md", ".js", ".png", ".jpg"}


def test_the_tests_see_this_checkout():
    found = Path(uncertainty_nodes.__file__).resolve().parent
    assert found == ROOT, f"uncertainty_nodes comes from {found}: run `make test`, or `pip install -e .` in {ROOT}"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> set[str]:
    """Names in the wheel built from a copy, so that nothing is left in the checkout."""
    copy = tmp_path_factory.mktemp("build") / "copy"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "out", "build", "dist", "*.egg-info", "__pycache__"))
    build = "import setuptools.build_meta; print(setuptools.build_meta.build_wheel('dist'))"
    done = subprocess.run([sys.executable, "-c", build], cwd=copy, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(next((copy / "dist").glob("*.whl"))) as archive:
        return set(archive.namelist())


def test_the_wheel_has_all_that_a_run_reads(wheel):
    files = {p for folder in SHIPPED for p in (ROOT / folder).rglob("*") if p.suffix in SUFFIXES and "__pycache__" not in p.parts}
    here = {p.relative_to(ROOT).as_posix() for p in files} | {p.name for p in ROOT.glob("*.py")}
    assert {"__init__.py", "core/__init__.py", "hosts/__init__.py", "web/icon.png"} <= here
    assert {f"uncertainty_nodes/{name}" for name in here} <= wheel


def test_the_wheel_has_nothing_else(wheel):
    modules = {f"uncertainty_nodes/{p.name}" for p in ROOT.glob("*.py")}
    others = {name for name in wheel - modules if ".dist-info/" not in name and name.split("/")[1] not in SHIPPED}
    assert not others


def module_name(folder: Path) -> str:
    return str(folder).replace(".", "_x_")


def load(folder: Path):
    """The way ComfyUI loads a custom node: as a package, under the name of its path."""
    name = module_name(folder)
    spec = importlib.util.spec_from_file_location(name, folder / "__init__.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def elsewhere(tmp_path):
    """The pack in a folder of another name, with a hyphen."""
    folder = tmp_path / "Uncertainty-Nodes-main"
    folder.mkdir()
    for name in ["__init__.py", "core", "hosts"]:
        (folder / name).symlink_to(ROOT / name)
    yield folder
    for name in [name for name in sys.modules if name.startswith(module_name(folder))]:
        del sys.modules[name]


def test_it_loads_under_a_folder_name_with_a_hyphen(elsewhere):
    module = load(elsewhere)
    assert (elsewhere / module.WEB_DIRECTORY).name == "web"
    options = importlib.import_module(f"{module.__name__}.core.options")
    import uncertainty_nodes.core.options as installed

    assert options is not installed


def test_a_failure_to_load_is_logged_with_its_traceback_and_not_swallowed(elsewhere, caplog):
    (elsewhere / "nodes").mkdir()
    (elsewhere / "nodes" / "__init__.py").write_text("raise RuntimeError('a bug in a node')")
    module = load(elsewhere)
    with caplog.at_level(logging.ERROR), pytest.raises(RuntimeError, match="a bug in a node"):
        asyncio.run(module.comfy_entrypoint())
    assert "a bug in a node" in caplog.text
    assert "Traceback" in caplog.text


def test_comfyui_serves_the_web_folder_once():
    """A web folder named in pyproject.toml as well as by WEB_DIRECTORY would be loaded twice."""
    comfy = (ROOT / "pyproject.toml").read_text(encoding="utf-8").split("[tool.comfy]")[1].split("\n[")[0]
    assert "web =" not in comfy
    assert (ROOT / uncertainty_nodes.WEB_DIRECTORY).is_dir()
