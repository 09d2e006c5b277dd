"""Forge's page in a real browser: the accordion opens, takes what is pasted, tells the price, and the results tell the scores."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator
from typing import Any

import pytest

import browser
from forge_server import Forge, why_not

INFOTEXT = (
    "a cat\nSteps: 3, Sampler: Euler, Schedule type: Automatic, CFG scale: 5, Seed: 1, Size: 64x64, Uncertainty settings: "
    '"score=denoised; samples=3; heatmaps=True; rule=keep_best_count; value=1.0; rejected=gallery"'
)
TYPE = """
const [selector, value] = arguments, input = gradioApp().querySelector(selector);
const prototype = input.tagName === "TEXTAREA" ? HTMLTextAreaElement : HTMLInputElement;
Object.getOwnPropertyDescriptor(prototype.prototype, "value").set.call(input, value);
for (const kind of ["input", "change"]) input.dispatchEvent(new Event(kind, { bubbles: true }));
"""
ACCORDION = "gradioApp().querySelector('#script_txt2img_uncertainty_enabled')"
CHECKED = "!!gradioApp().querySelector('#script_txt2img_uncertainty_enabled-checkbox input')?.checked"
RESULTS = "gradioApp().querySelector('#txt2img_results')"


class ForgePage:
    def __init__(self, url: str) -> None:
        from selenium.webdriver import Chrome, ChromeOptions
        from selenium.webdriver.chrome.service import Service

        os.environ["SE_OFFLINE"] = "true"  # else selenium asks the network for a newer driver
        options = ChromeOptions()
        options.binary_location = browser.find_chromium()
        for flag in browser.FLAGS:
            options.add_argument(flag)
        self.driver = Chrome(options=options, service=Service(shutil.which("chromedriver")))
        self.driver.set_script_timeout(180)  # the page is busy with itself for long where the machine is slow
        self.driver.get(f"{url}?__theme=light")
        self.wait_for(f"typeof gradioApp !== 'undefined' && !!{ACCORDION}")
        self.wait_for("window.localization !== undefined && !!gradioApp().querySelector('#txt2img_prompt textarea')")

    def ask(self, script: str, *given: Any) -> Any:
        return self.driver.execute_script(script, *given)

    def wait_for(self, expression: str, timeout: float = 90) -> Any:
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if found := self.ask(f"return {expression}"):
                return found
            time.sleep(0.2)
        raise TimeoutError(f"not true within {timeout:g} s: {expression}")

    def paste(self, infotext: str) -> None:
        """Again until it is taken: the page shows itself before it listens, and tells its server what is typed after a moment."""
        for _ in range(20):
            self.choose("#txt2img_prompt textarea", infotext)
            time.sleep(2)
            self.ask("gradioApp().querySelector('#paste').click()")
            time.sleep(4)
            if self.ask(f"return {CHECKED}"):
                return
        raise TimeoutError("The page did not take the infotext.")

    def choose(self, selector: str, value: str) -> None:
        self.ask(TYPE, selector, value)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForgePage]:
    if reason := why_not() or browser.why_not():
        pytest.skip(reason)
    with Forge(tmp_path_factory.mktemp("forge_page"), page=True) as forge:
        opened = ForgePage(forge.url)
        try:
            yield opened
        finally:
            opened.driver.quit()


def test_the_accordion_takes_an_infotext_and_the_results_tell_the_scores(page: ForgePage) -> None:
    text = f"{ACCORDION}.innerText"
    page.paste(INFOTEXT)
    page.ask(f"for (const each of {ACCORDION}.querySelectorAll('.label-wrap:not(.open)')) each.click()")
    page.wait_for(f"/Keep the best of each batch/.test({text})")
    page.wait_for(f"/The score costs 3 further model calls per image at each step between 60% and 75%/.test({text})")
    page.choose("#txt2img_batch_size input[type=number]", "2")
    time.sleep(2)
    page.ask("gradioApp().querySelector('#txt2img_generate').click()")
    page.wait_for(f"/1 of 2 images were accepted/.test({RESULTS}.innerText)")
    told = page.ask(f"return {RESULTS}.innerText")
    assert "Uncertainty (denoised; 3 further model calls per image):" in told
    assert len(re.findall(r"seed [12]: [\d.e-]+ Accepted: ", told)) == 1
    assert len(re.findall(r"seed [12]: [\d.e-]+ Rejected: ", told)) == 1
    page.wait_for(f"{RESULTS}.querySelectorAll('.thumbnail-item').length >= 3")  # the best, its heatmap, and the other
