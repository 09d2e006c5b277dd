"""Whether all that a person can use in a part of the page has a name, is reached by Tab, and shows that it has the focus."""

from __future__ import annotations

import base64
import io
from typing import Any

from PIL import Image, ImageChops
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.common.by import By

from browser import Browser

MARGIN = 6  # pixels around an element in which its focus may show
# Marks what can be used in the element that the expression ROOT gives. Of a group that arrow keys walk, one has a tabindex of 0.
MARK = """
const root = ROOT;
const usable = "button, input, select, textarea, a[href], summary, [role=slider], [role=button], [tabindex]";
for (const old of document.querySelectorAll("[data-check]")) old.removeAttribute("data-check");
const all = [...root.querySelectorAll(usable)].filter(e => !e.disabled && e.checkVisibility() && !e.closest("[aria-hidden=true]"));
const group = e => e.parentElement?.matches("[role=group], [role=radiogroup], tbody") ? e.parentElement : null;
const walked = e => e.tabIndex < 0 && [...(group(e)?.children ?? [])].some(other => other.tabIndex === 0);
all.forEach((element, i) => element.setAttribute("data-check", i));
const told = e => `<${e.localName} class="${e.getAttribute("class") ?? ""}">`;
root.tabIndex = -1;
root.focus({ preventScroll: true });
return all.map(element => ({ told: told(element), walked: walked(element) }));
"""
FOCUS = """
const element = document.activeElement;
const { x, y, width, height } = element.getBoundingClientRect();
return { check: element.getAttribute("data-check"), box: { x, y, width, height } };
"""


def complaints(page: Browser, root: str) -> list[str]:
    """What is wrong in the element that the JavaScript expression gives; empty when nothing is. At least one thing must be usable."""
    marked = page.run(MARK.replace("ROOT", root))
    assert marked, f"nothing can be used in {root}"
    wrong = []
    for i, element in enumerate(marked):
        driven = page.driver.find_element(By.CSS_SELECTOR, f'[data-check="{i}"]')
        if not driven.accessible_name.strip():
            wrong.append(f"{element['told']} has no name")
        if driven.aria_role in ("generic", "none", "presentation"):
            wrong.append(f"{element['told']} has no role")
    reached, unseen = walk(page, root, len(marked))
    wrong += [f"{marked[i]['told']} is not reached by Tab" for i in range(len(marked)) if i not in reached and not marked[i]["walked"]]
    return wrong + [f"{marked[i]['told']} does not show that it has the focus" for i in unseen]


def walk(page: Browser, root: str, count: int) -> tuple[set[int], list[int]]:
    """What Tab comes to in that element, and of these what looks the same with the focus and without."""
    reached: set[int] = set()
    unseen = []
    page.run(f"{root}.focus({{ preventScroll: true }});")
    for _ in range(count + 1):
        ActionChains(page.driver).send_keys(Keys.TAB).perform()
        now = page.run(FOCUS)
        if now["check"] is None or int(now["check"]) in reached:
            break
        reached.add(int(now["check"]))
        focused = picture(page, now["box"])
        page.run("document.activeElement.blur();")  # Tab goes on from there
        if ImageChops.difference(focused, picture(page, now["box"])).getbbox() is None:
            unseen.append(int(now["check"]))
    return reached, unseen


def picture(page: Browser, box: dict[str, Any]) -> Image.Image:
    """What is seen of a part of the page and a little around it."""
    clip = {"x": box["x"] - MARGIN, "y": box["y"] - MARGIN, "width": box["width"] + 2 * MARGIN, "height": box["height"] + 2 * MARGIN}
    shot = page.driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png", "clip": {**clip, "scale": 1}})
    return Image.open(io.BytesIO(base64.b64decode(shot["data"]))).convert("RGB")
