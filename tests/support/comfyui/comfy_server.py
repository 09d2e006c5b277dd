"""A real ComfyUI for tests: started in a directory of its own with the pack linked in, and killed at the end."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import tiny_checkpoints
from comfy_client import Client, ComfyError

HERE = Path(__file__).resolve().parent
PACKS = {"uncertainty-nodes": HERE.parents[2], "uq-test-nodes": HERE / "comfy_test_nodes"}
NEEDED = ("aiohttp", "alembic", "torchsde", "torchvision", "comfyui_frontend_package")
HOW_TO_GET = (
    "git clone https://github.com/comfyanonymous/ComfyUI ~/comfy/ComfyUI (or set COMFYUI_PATH), "
    "install its requirements.txt, and set COMFYUI_PYTHON to that Python"
)


def find_comfy() -> Path:
    """COMFYUI_PATH, else where comfy-cli puts it."""
    return Path(os.environ.get("COMFYUI_PATH", "~/comfy/ComfyUI")).expanduser().resolve()


def find_python() -> str:
    """COMFYUI_PYTHON, else the one that runs the tests."""
    return os.path.expanduser(os.environ.get("COMFYUI_PYTHON", sys.executable))


def why_not() -> str | None:
    """One line that says what is missing for a ComfyUI to test with, and how to get it; None when nothing is."""
    if not (find_comfy() / "main.py").is_file():
        return f"no ComfyUI at {find_comfy()}: {HOW_TO_GET}"
    probe = f"from importlib.util import find_spec; print(*[n for n in {NEEDED} if find_spec(n) is None])"
    found = subprocess.run([find_python(), "-c", probe], capture_output=True, text=True)
    if found.returncode or found.stdout.strip():
        return f"{find_python()} lacks {found.stdout.strip() or 'a working interpreter'} for ComfyUI: {HOW_TO_GET}"
    return None


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server(Client):
    """``with Server(base) as comfy: comfy.run(graph)``.

    base: models, input, output, custom_nodes and the log live there; made when missing.
    packs: name under custom_nodes -> folder to link.
    arguments: appended to main.py's command line.
    """

    def __init__(self, base: Path, packs: Mapping[str, Path] = PACKS, arguments: tuple[str, ...] = ()) -> None:
        self.base, self.packs, self.arguments, self.port = base, packs, arguments, free_port()
        self.process: subprocess.Popen[bytes] | None = None
        super().__init__(f"http://127.0.0.1:{self.port}")

    def __enter__(self) -> Server:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, timeout: float = 180) -> Server:
        """Returns when the server answers. Raises ComfyError with the end of the log when it doesn't."""
        for name in ("models", "custom_nodes", "input", "output", "temp", "user"):
            (self.base / name).mkdir(parents=True, exist_ok=True)
        for name, pack in self.packs.items():
            link = self.base / "custom_nodes" / name
            if not link.is_symlink():
                link.symlink_to(pack, target_is_directory=True)
        # One thread: sums are added in one order, so that two runs can be compared bit for bit.
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}
        with open(self.base / "comfyui.log", "ab") as log:
            streams = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": subprocess.STDOUT}
            self.process = subprocess.Popen(self.command(), cwd=find_comfy(), env=environment, start_new_session=True, **streams)
        try:
            self.wait_until_ready(timeout)
        except BaseException:
            self.stop()
            raise
        return self

    def command(self) -> list[str]:
        place = ["--listen", "127.0.0.1", "--port", str(self.port), "--base-directory", str(self.base)]
        alone = ["--database-url", "sqlite:///:memory:", "--disable-auto-launch", "--disable-api-nodes"]
        return [find_python(), "main.py", "--cpu", *place, *alone, "--preview-method", "latent2rgb", *self.arguments]

    def wait_until_ready(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            self.check_alive()
            try:
                self.get("/system_stats")
                return
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.1)
        raise ComfyError(f"ComfyUI was not ready after {timeout:g} s:\n{self.log()[-3000:]}")

    def check_alive(self) -> None:
        if self.process is None or self.process.poll() is not None:
            raise ComfyError(f"ComfyUI is not running:\n{self.log()[-3000:]}")

    def stop(self) -> None:
        """Ends the server and whatever it started."""
        process, self.process = self.process, None
        for sign in (signal.SIGTERM, signal.SIGKILL):
            if process is None or process.poll() is not None:
                return
            os.killpg(process.pid, sign)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                continue

    def log(self) -> str:
        """All that ComfyUI printed so far."""
        path = self.base / "comfyui.log"
        return path.read_text(errors="replace") if path.exists() else ""


@contextmanager
def with_tiny_models(base: Path) -> Iterator[Server]:
    """A running server that has every tiny checkpoint; its models are deleted afterwards, log and output stay."""
    try:
        with ThreadPoolExecutor(1) as pool:
            made = pool.submit(tiny_checkpoints.make, find_comfy(), find_python(), base / "models")
            with Server(base) as server:
                made.result()
                yield server
    finally:
        shutil.rmtree(base / "models", ignore_errors=True)
