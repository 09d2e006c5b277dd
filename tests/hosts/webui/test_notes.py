"""The note in saved files: read back as the command line shows it, for each format, with what became of the image."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from forge_server import Forge
from uncertainty_nodes.cli import main
from uncertainty_nodes.core.options import Direction
from uncertainty_nodes.core.view.notes import read_notes
from uncertainty_nodes.hosts.webui.page.notes import note_of

SCORE = {"score": "denoised", "samples": 2}
GRID = {"return_grid": True, "grid_save": True}
TEXT = """a cat, "Uncertainty: 9" in the prompt
Negative prompt: blurry
Steps: 4, Sampler: Euler, CFG scale: 5, Seed: 7, Size: 64x64, Uncertainty: 0.25, Uncertainty calls: 12, """
SETTINGS = 'Uncertainty settings: "score=noise; samples=3; seed=5", '


def saved(forge: Forge, settings: dict, suffix: str = "png", **parameters) -> list[Path]:
    before = files_of(forge)
    options = {"samples_format": suffix, "grid_format": suffix, **parameters.pop("options", {})}
    forge.draw(settings, save_images=True, override_settings=options, **parameters)
    return sorted(files_of(forge) - before)


def files_of(forge: Forge) -> set[Path]:
    return {path for folder in ("output", "outputs") for path in forge.base.glob(f"{folder}/**/*.*")}


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_each_saved_image_tells_its_own_score_and_a_grid_none(forge: Forge, suffix: str) -> None:
    files = saved(forge, SCORE, suffix, batch_size=2, options=GRID)
    assert len(files) == 3
    scores = forge.draw(SCORE, batch_size=2, override_settings={"return_grid": False}).scores()
    notes = {path: read_notes(path) for path in files}
    (grid,) = (path for path in files if "grid" in path.name)
    assert notes.pop(grid) == []
    assert sorted(note.score for (note,) in notes.values()) == sorted(scores)
    for (note,) in notes.values():
        assert (note.quantity, note.direction, note.model_calls) == ("denoised", Direction.HIGH_IS_BAD, 2)
        assert scores[note.seed - 1] == note.score
        assert note.method.startswith("host: webui; score=denoised; samples=2")
    for path in files:
        Image.open(path).load()


def test_accepted_and_rejected_say_so(forge: Forge) -> None:
    files = saved(forge, {**SCORE, "rule": "keep_best_count", "value": 1}, batch_size=3)
    notes = {path: read_notes(path)[0] for path in files}
    assert [note.accepted for path, note in notes.items() if path.parent.name != "rejected" and "rejected" not in path.parts] == [True]
    assert [note.accepted for path, note in notes.items() if "rejected" in path.parts] == [False, False]


def test_the_command_line_shows_it(forge: Forge, capsys: pytest.CaptureFixture[str]) -> None:
    (path,) = saved(forge, SCORE)
    main(["show", str(path)])
    shown = capsys.readouterr().out
    assert "denoised: " in shown and "2 model calls, seed 1" in shown


def test_an_image_that_was_not_measured_has_none(forge: Forge) -> None:
    (path,) = saved(forge, None)
    assert read_notes(path) == []


def test_a_note_says_what_the_infotext_says() -> None:
    note = note_of(TEXT + SETTINGS + 'Uncertainty verdict: "Rejected: score 0.25, the worst of 2.", Version: 1')
    assert note is not None
    assert (note.quantity, note.direction, note.score, note.accepted) == ("noise", Direction.LOW_IS_BAD, 0.25, False)
    assert (note.why, note.model_calls, note.seed) == ("score 0.25, the worst of 2.", 12, 7)
    assert note.method.endswith("Sampler: Euler; Steps: 4; CFG scale: 5; Size: 64x64")


@pytest.mark.parametrize("text", ["", "a cat", TEXT, TEXT + 'Uncertainty settings: "score=beauty"', TEXT + "Uncertainty settings: ?"])
def test_a_text_that_tells_no_score_gives_no_note(text: str) -> None:
    assert note_of(text) is None
