"""A real ComfyUI for tests: started in a directory of its own with the pack linked in, and killed at the end."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import tiny_checkpoints
from comfy_client import Client, ComfyError
from comfy_installations import Installation, installations

HERE = Path(__file__).resolve().parent
PACKS = {"uncertainty-nodes": HERE.parents[2], "uq-test-nodes": HERE / "comfy_test_nodes"}


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server(Client):
    """``with Server(base) as comfy: comfy.run(graph)``.

    base: models, input, output, custom_nodes and the log live there; made when missing.
    packs: name under custom_nodes -> folder to link.
    arguments: appended to main.py's command line.
    copy: the ComfyUI to start; the first there is when left out.
    """

    def __init__(
        self, base: Path, packs: Mapping[str, Path] = PACKS, arguments: tuple[str, ...] = (), copy: Installation | None = None
    ) -> None:
        self.base, self.packs, self.arguments, self.port = base, packs, arguments, free_port()
        self.copy = copy or installations()[0]
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
            self.process = subprocess.Popen(self.command(), cwd=self.copy.home, env=environment, start_new_session=True, **streams)
        try:
            self.wait_until_ready(timeout)
        except BaseException:
            self.stop()
            raise
        return self

    def command(self) -> list[str]:
        place = ["--listen", "127.0.0.1", "--port", str(self.port), "--base-directory", str(self.base)]
        alone = ["--database-url", "sqlite:///:memory:", "--disable-auto-launch", "--disable-api-nodes"]
        return [self.copy.python, "main.py", "--cpu", *place, *alone, "--preview-method", "latent2rgb", *self.arguments]

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
def with_tiny_models(base: Path, copy: Installation) -> Iterator[Server]:
    """A running server that has every tiny checkpoint; its models are deleted afterwards, log and output stay."""
    try:
        with ThreadPoolExecutor(1) as pool:
            made = pool.submit(tiny_checkpoints.make, copy.home, copy.python, base / "models")
            with Server(base, copy=copy) as server:
                made.result()
                yield server
    finally:
        shutil.rmtree(base / "models", ignore_errors=True)
