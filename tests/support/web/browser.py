"""ComfyUI's real front-end in a headless Chromium, driven from Python."""

from __future__ import annotations

import json
import os
import shutil
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

OURS = "/extensions/uncertainty-nodes/"
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1600,1000")
# Until a workflow is open and the wheel is gone, the front-end may still put its own workflow in place of ours.
READY = """
const host = window.app?.extensionManager;
return !!(window.LiteGraph?.registered_node_types?.KSampler && host?.workflow.activeWorkflow && !host.spinner);
"""
# Values cross as JSON text, because the driver turns undefined into null and the front-end minds.
PROMISE = """
const [text, done] = arguments;
(async given => { BODY })(JSON.parse(text))
    .then(ok => done(JSON.stringify({ ok })), error => done(JSON.stringify({ error: String(error) })));
"""
FORBIDDEN = "Content Security Policy"
KEEP = "performance.setResourceTimingBufferSize(10000)"  # the default of 250 is less than ComfyUI 0.3.64 fetches
MISSING = """
const types = graph => graph.nodes.flatMap(node => [node.type, ...(node.subgraph ? types(node.subgraph) : [])]);
return [...new Set(types(app.graph))].filter(type => !(type in LiteGraph.registered_node_types));
"""


def find_chromium() -> str | None:
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def why_not() -> str | None:
    """One line that says what is missing to drive a browser, and how to get it; None when nothing is."""
    if find_spec("selenium") is None:
        return "no selenium: pip install selenium"
    if find_chromium() is None or shutil.which("chromedriver") is None:
        return "no Chromium: apt-get install chromium chromium-driver"
    return None


class Browser:
    """``with Browser(comfy.url) as page: page.load(workflow)``. Each has a fresh profile."""

    def __init__(self, url: str, timeout: float = 90, ready: str = READY) -> None:
        from selenium.webdriver import Chrome, ChromeOptions
        from selenium.webdriver.chrome.service import Service

        os.environ["SE_OFFLINE"] = "true"  # else selenium asks the network for a newer driver
        options = ChromeOptions()
        options.binary_location = find_chromium()
        for flag in FLAGS:
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = Chrome(options=options, service=Service(shutil.which("chromedriver")))
        try:
            self.driver.set_script_timeout(timeout)
            self.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": KEEP})
            self.driver.get(url)
            self.wait_for(ready, timeout)
        except BaseException:
            self.driver.quit()
            raise

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self.driver.quit()

    def wait_for(self, script: str, timeout: float = 30) -> Any:
        """The first true value that the script returns. Raises TimeoutError after ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if found := self.driver.execute_script(script):
                return found
            time.sleep(0.1)
        raise TimeoutError(f"not true within {timeout:g} s: {script}")

    def run(self, body: str, given: Any = None) -> Any:
        """Runs the body of an async function of ``given`` in the page. Raises RuntimeError with what it threw."""
        reply = json.loads(self.driver.execute_async_script(PROMISE.replace("BODY", body), json.dumps(given)))
        if "error" in reply:
            raise RuntimeError(f"the page threw {reply['error']}")
        return reply.get("ok")

    def load(self, workflow: dict[str, Any]) -> None:
        """Opens a workflow as the front-end's menu does, and lets its widgets mount."""
        self.run("await app.loadGraphData(given); await new Promise(done => setTimeout(done, 300));", workflow)

    def missing_types(self) -> list[str]:
        """Types in the opened workflow, subgraphs included, that no node is registered for."""
        return self.run(MISSING)

    def serialized(self) -> dict[str, Any]:
        """The opened workflow as Save would write it."""
        return self.run("return app.graph.serialize();")

    def prompt(self) -> dict[str, Any]:
        """The opened workflow in API format, as Run would queue it."""
        return self.run("return (await app.graphToPrompt()).output;")

    def scripts(self) -> set[str]:
        """Paths of our scripts that the page has fetched."""
        names = self.run("return performance.getEntriesByType('resource').map(entry => new URL(entry.name).pathname);")
        return {name for name in names if OURS in name and name.endswith(".js")}

    def screenshot(self, path: Path) -> None:
        """Writes what is seen as a PNG."""
        path.write_bytes(self.driver.get_screenshot_as_png())

    def errors(self) -> list[str]:
        """What went wrong since the last call: in any script, or with a file of ours.

        Missing user.css and the like are the host's. So is what the host forbids itself: on 0.33.0 its page asks other sites for the
        sizes of the models of its default workflow, at any time after the start, and its server has told it not to.
        """
        severe = [entry for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]
        return [entry["message"] for entry in severe if OURS in entry["message"] or is_broken(entry)]


def is_broken(entry: dict[str, str]) -> bool:
    """Whether a line of the browser's log tells of an error in a script, as far as the host doesn't do it to itself."""
    return entry["source"] in ("javascript", "console-api") and FORBIDDEN not in entry["message"]
