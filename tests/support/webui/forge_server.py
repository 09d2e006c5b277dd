"""A real Forge or A1111 for tests: started with a data folder of its own and the pack linked in as an extension, and killed at the end."""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

import forge_checkpoint
from comfy_server import free_port
from web_ui import WebUI

HERE = Path(__file__).resolve().parent
EXTENSIONS = {"uncertainty-nodes": HERE.parents[2], "uq-probe": HERE / "forge_probe"}


def home() -> Path | None:
    path = os.environ.get("FORGE_PATH")
    return Path(path) if path else None


WEB_UI = WebUI.at(path) if (path := home()) is not None else WebUI.FORGE
PLAIN = {"prompt": "a cat", "width": 64, "height": 64, "steps": 4, "seed": 1, "sampler_name": "Euler", "cfg_scale": 5}
HIRES = {
    "enable_hr": True,
    "hr_scale": 2,
    "hr_upscaler": "None" if WEB_UI is WebUI.NEO else "Latent",  # Neo enlarges pictures, never latents
    "denoising_strength": 0.6,
    **({} if WEB_UI is WebUI.A1111 else {"hr_cfg": 5, "hr_additional_modules": ["Use same choices"]}),
}


def why_not() -> str:
    if (path := home()) is None or not (path / "launch.py").is_file():
        return "no Forge: set FORGE_PATH to the folder that holds launch.py, its own or A1111's, and FORGE_PYTHON to its Python"
    return ""


@dataclass(frozen=True)
class Drawn:
    """What the API answered. pixels: of each picture; infotexts: of each, and fields: what they say; info: the rest."""

    pixels: list[bytes]
    images: list[Image.Image]
    infotexts: list[str]
    info: dict[str, Any]

    def field(self, name: str, index: int = 0) -> str | None:
        """The value of an infotext's entry, without quotes."""
        _, found, rest = "".join(self.infotexts[index].splitlines()[-1:]).partition(f"{name}: ")
        if not found:
            return None
        return json.loads(rest[: rest.index('"', 1) + 1]) if rest.startswith('"') else rest.partition(",")[0]

    def scores(self) -> list[float]:
        return [float(self.field("Uncertainty", i) or "nan") for i in range(len(self.infotexts))]


class Forge:
    """``with Forge(base) as forge: forge.draw({"score": "noise"})``. base: data, extensions, checkpoints and the log live there.

    page: with its page in a browser, not the API alone.  path, python: of another web UI than FORGE_PATH's.
    While one works on a test, FORGE_PORT and FORGE_BASE may name a running one that was started in this way, for its start takes long;
    FORGE_PAGE_PORT one with its page.
    """

    def __init__(
        self,
        base: Path,
        python: str | None = None,
        page: bool = False,
        path: Path | None = None,
        extensions: Mapping[str, Path] = EXTENSIONS,
    ) -> None:
        self.running, self.page = None if path else os.environ.get("FORGE_PAGE_PORT" if page else "FORGE_PORT"), page
        self.base = Path(os.environ["FORGE_BASE"]) if self.running and not page else base
        self.port = int(self.running) if self.running else free_port()
        self.home = path or home() or Path()
        self.extensions = extensions
        self.python = python or os.environ.get("FORGE_PYTHON", "python")
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Forge:
        if self.running:
            return self
        for name in ("extensions", "checkpoints"):
            (self.base / name).mkdir(parents=True, exist_ok=True)
        for name, folder in self.extensions.items():
            if not (link := self.base / "extensions" / name).is_symlink():
                link.symlink_to(folder, target_is_directory=True)
        checkpoint = self.base / "checkpoints" / forge_checkpoint.NAME
        if not checkpoint.exists():
            forge_checkpoint.make(self.home, self.python, checkpoint)
        # One thread: sums are added in one order, so that two runs can be compared bit for bit.
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}
        web_ui = WebUI.at(self.home)
        folders = ["--data-dir", str(self.base), web_ui.checkpoints, str(checkpoint.parent)]
        place = ["--server-name", "127.0.0.1", "--port", str(self.port), *folders]
        with open(self.base / "forge.log", "ab") as log:
            streams = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": subprocess.STDOUT}
            interface = ["--gradio-allowed-path", str(self.home)] if self.page else ["--nowebui"]
            command = [self.python, "launch.py", *web_ui.arguments, "--api", *interface, *place]
            self.process = subprocess.Popen(command, cwd=self.home, env=environment, start_new_session=True, **streams)
        try:
            self.wait_until_ready(600)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def wait_until_ready(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline and self.process is not None and self.process.poll() is None:
            try:
                self.get("/sdapi/v1/progress")  # the probe has nothing to tell before a model is loaded
                return
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.2)
        raise RuntimeError(f"Forge was not ready after {timeout:g} s:\n{self.log()[-3000:]}")

    def stop(self) -> None:
        process, self.process = self.process, None
        for sign in (signal.SIGTERM, signal.SIGKILL):
            if process is None or process.poll() is not None:
                return
            os.killpg(process.pid, sign)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                continue

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    @property
    def models(self) -> Path:
        return self.base / "models"

    def log(self) -> str:
        path = self.base / "forge.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=300) as answer:
            return json.load(answer)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", json.dumps(body).encode(), {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=600) as answer:
            return json.load(answer)

    def draw(
        self, settings: dict[str, Any] | None = None, probe: list[float] | None = None, mode: str = "txt2img", **parameters: Any
    ) -> Drawn:
        """settings: the dictionary of the extension's API; None leaves the extension out. probe: [call to fail at, seconds a call]."""
        scripts = ({"Uncertainty": {"args": [settings]}} if settings is not None else {}) | ({"Probe": {"args": probe}} if probe else {})
        answer = self.post(f"/sdapi/v1/{mode}", {**PLAIN, **parameters, "alwayson_scripts": scripts})
        # Forge hides the infotext of pictures that it saves in their transparency
        images = [Image.open(io.BytesIO(base64.b64decode(image))).convert("RGB") for image in answer["images"]]
        info = json.loads(answer["info"])
        return Drawn([image.tobytes() for image in images], images, info["infotexts"], info)
