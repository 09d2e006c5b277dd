"""The report's page in a real browser: counts, groups, hostile names, the saved list, and 20,000 images."""

from __future__ import annotations

import json

import pytest

import report_page
from browser import Browser, why_not
from uncertainty_nodes.cli import main

HOSTILE = '<img src=x onerror="document.title=1">'
PROMPTS = ["a red fox", HOSTILE, "</script><b>café</b>"]
SET = "const [id, value] = given, e = document.getElementById(id); e.value = value; (e.oninput || e.onchange)({ target: e });"
TEXT = "return document.getElementById(given).textContent;"
CELLS = "return [...document.querySelectorAll('#grid .cell')].map(c => [c.querySelector('.card').title, c.classList.contains('rejected')]);"
SAVED = """
const saved = new Promise(done => { URL.createObjectURL = blob => { blob.text().then(done); return '#'; }; });
document.querySelector(`.save[data-as=${given}]`).click();
return await saved;
"""

if reason := why_not():
    pytest.skip(reason, allow_module_level=True)


def open_page(folder, *arguments):
    assert main(["report", str(folder), *arguments]) == 0
    return Browser((folder / "report/index.html").resolve().as_uri(), ready=report_page.READY)


def ranked(folder):
    return json.loads((folder / "results.json").read_text())["images"]


def test_the_page_tells_and_saves_what_is_kept(tmp_path):
    folder = report_page.write_results(tmp_path / "a #1%", 30, PROMPTS, maps=True)
    names = [row["file"] for row in ranked(folder)]
    with open_page(folder, "--keep", "50") as page:
        assert page.run(TEXT, "live").startswith("Kept 15 of 30, rejected 15")
        assert page.run(CELLS)[:2] == [[names[0], False], [names[1], False]]
        page.run(SET, ["keep", 20])
        assert page.run(TEXT, "live").startswith("Kept 6 of 30")
        page.run("document.querySelectorAll('.mark')[0].click(); document.querySelectorAll('.mark')[7].click();")
        assert page.run(SAVED, "txt").split("\n") == [*names[1:6], names[7], ""]
        assert page.run(SAVED, "csv").split("\n")[0] == "file,rank,score,prompt,seed"
        page.run(SET, ["order", "prompt"])
        heads = page.run("return [...document.querySelectorAll('.head')].map(h => h.firstChild.textContent);")
        assert sorted(heads) == sorted(PROMPTS)
        shown = "return [...document.querySelectorAll('.cell img')].every(i => !i.complete || i.naturalWidth > 0);"
        page.run("document.getElementById('heat').click(); document.querySelector('.card').click();")
        page.wait_for("return document.getElementById('large').naturalWidth === 24")  # the path holds signs that a link must not
        assert page.run(shown) and page.run("return document.title;") == "Uncertainty Nodes: report"
        assert not page.errors()


def test_twenty_thousand_images_stay_usable(tmp_path):
    folder = report_page.write_results(tmp_path / "many", 20, PROMPTS)
    assert main(["report", str(folder)]) == 0
    data = folder / "report/data.js"
    content = json.loads(data.read_text().removeprefix("window.REPORT = ").rstrip(";\n"))
    many = {name: value * 1000 if isinstance(value, list) and name != "prompts" else value for name, value in content.items()}
    many["score"] = sorted((20_000 - i for i in range(20_000)), reverse=True)
    data.write_text(f"window.REPORT = {json.dumps(many)};")
    with Browser((folder / "report/index.html").resolve().as_uri(), ready=report_page.READY) as page:
        assert page.run(TEXT, "live").startswith("Kept 15,000 of 20,000, rejected 5,000, scores down to 5001")
        for order in ("best", "worst", "prompt"):
            page.run(SET, ["order", order])
            for place in (0, 0.5, 1):
                page.run("scrollTo(0, given * document.body.scrollHeight); await new Promise(requestAnimationFrame);", place)
                assert 0 < page.run("return document.querySelectorAll('#grid .cell').length;") < 400
        page.run(SET, ["keep", 0.5])
        assert page.run(TEXT, "live").startswith("Kept 100 of 20,000")
        page.run(SET, ["show", "kept"])
        assert len(page.run(SAVED, "txt").split()) == 100
        assert not page.errors()


def test_noted_images_of_any_folder_are_shown(tmp_path):
    folder = report_page.write_results(tmp_path / "a", 4, PROMPTS)
    rows = ranked(folder)
    report_page.write_notes_into(folder, rows)
    for path in [*folder.glob("results.*")]:
        path.unlink()
    with open_page(folder) as page:
        assert [name for name, _ in page.run(CELLS)] == [row["file"] for row in rows]
        assert not page.errors()


def test_a_folder_without_results_is_one_sentence(tmp_path, caplog):
    assert main(["report", str(tmp_path / "gone")]) == 1
    assert "There are no results in" in caplog.text
    (tmp_path / "empty").mkdir()
    assert main(["report", str(tmp_path / "empty")]) == 1
    assert "There is no image in" in caplog.text
