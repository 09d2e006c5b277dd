"""A run whose own scores are added to the calibration that it goes by: it ends as if nobody had touched that file."""

from __future__ import annotations

import pickle
import shutil

import pytest

from bad_items import run
from drawing_runs import draw, kept, outputs, rows, saved, stop_after
from uncertainty_nodes.cli.generate import run as generate_run
from uncertainty_nodes.cli.generate.models import fingerprint
from uncertainty_nodes.cli.generate.search import SearchOptions
from uncertainty_nodes.core.options import SearchMode
from uncertainty_nodes.core.selection.calibration import Calibration

pytestmark = pytest.mark.filterwarnings("ignore")  # diffusers' use of numpy
IMAGES = 8


@pytest.fixture(scope="module")
def drafts(tmp_path_factory):
    out = tmp_path_factory.mktemp("drafts") / "out"
    assert draw(out, "-n", 6, "--seed", 1, "--early-at", 0.5) == 0
    return out


def told(out):
    """All that results.json says, but for times and the other file that the two runs were given."""
    whole = {name: value for name, value in saved(out).items() if name not in ("seconds", "calibrations", "images")}
    whole["skipped"] = {key: {**record, "seconds": 0} for key, record in whole.get("skipped", {}).items()}
    return whole, outputs(out)


@pytest.mark.parametrize("early", [True, False])
def test_a_stopped_run_goes_on_by_what_the_file_was(drafts, tmp_path, monkeypatch, caplog, early):
    flags, name = (["--early"], "early_calibration") if early else ([], "calibration")
    assert run("calibrate", drafts, *flags, "--out", tmp_path / "whole.safetensors") == 0
    shutil.copy(tmp_path / "whole.safetensors", tmp_path / "parts.safetensors")
    stop, keep = ["-n", IMAGES, "--mode", "stop", "--early-limit", 50], ["--until-kept", 3, "--value", 50]

    def asked(file):
        return [*(stop if early else keep), f"--{name.replace('_', '-')}", tmp_path / f"{file}.safetensors"]

    assert draw(tmp_path / "whole", *asked("whole")) == 0
    parts, grown = tmp_path / "parts", tmp_path / "parts.safetensors"
    with monkeypatch.context() as patch:
        stop_after(patch, 4 if early else 1)
        assert draw(parts, *asked("parts")) == 130
    before = Calibration.load(grown)
    assert run("calibrate", parts, *flags, "--out", grown) == 0
    after = Calibration.load(grown)
    assert len(after) > len(before) == 6 and after.threshold_at(50) != before.threshold_at(50)
    assert draw(parts, *asked("parts")) == 0
    assert "parts.safetensors holds other scores than when" in caplog.text and f"{name}_used.safetensors" in caplog.text
    assert told(parts) == told(tmp_path / "whole")
    assert run("calibrate", parts, *flags, "--out", grown) == 0
    assert Calibration.load(grown).seen == 6 + len(rows(parts)) + len(saved(parts).get("skipped", {}))


def test_another_file_is_not_taken_for_it_but_its_copy_is(drafts, tmp_path, caplog):
    file, other, out = tmp_path / "a.safetensors", tmp_path / "b.safetensors", tmp_path / "out"
    assert run("calibrate", drafts, "--early", "--out", file) == 0
    assert draw(out, "-n", 2, "--mode", "stop", "--early-calibration", file) == 0
    history = Calibration.load(file)
    history.merge(history).save(other)
    assert draw(out, "-n", 2, "--mode", "stop", "--early-calibration", other) == 1
    assert "made with other options (early_calibration);" in caplog.text
    assert draw(out, "-n", 2, "--mode", "stop", "--early-calibration", out / "early_calibration_used.safetensors") == 0


def test_another_rule_or_a_deleted_copy_judges_by_the_file_of_now(drafts, tmp_path):
    file, out = tmp_path / "c.safetensors", tmp_path / "out"
    assert run("calibrate", drafts, "--out", file) == 0
    asked = ["--until-kept", 2, "--calibration", file, "--value"]
    assert draw(out, *asked, 50) == 0
    before = saved(out)["until"]["limit"]
    assert run("calibrate", out, "--out", file) == 0
    history = Calibration.load(file)
    assert before != history.threshold_at(50)
    assert draw(out, *asked, 50) == 0 and saved(out)["until"]["limit"] == before
    assert draw(out, *asked, 60) == 0 and saved(out)["until"]["limit"] == pytest.approx(history.threshold_at(60))
    assert run("calibrate", out, "--out", file) == 0
    (out / "calibration_used.safetensors").unlink()
    assert draw(out, *asked, 60) == 0
    limit = Calibration.load(file).threshold_at(60)
    assert saved(out)["until"]["limit"] == pytest.approx(limit)
    assert kept(out) == [number for number, row in sorted(rows(out).items()) if row["score"] >= limit][:2]


def test_a_file_that_grows_while_the_run_begins_is_told_and_nothing_is_lost(drafts, tmp_path, caplog, monkeypatch):
    file = tmp_path / "c.safetensors"
    assert run("calibrate", drafts, "--early", "--out", file) == 0
    asked = ["-n", 1, "--mode", "stop", "--early-limit", 100, "--early-calibration", file]

    def growing(options):
        code, history = fingerprint(options), Calibration.load(file)
        history.merge(history).save(file)
        return code

    with monkeypatch.context() as patch:
        patch.setattr(generate_run, "fingerprint", growing)
        assert draw(tmp_path / "out", *asked) == 1
    assert "c.safetensors' was written while the run began; start it again." in caplog.text
    assert draw(tmp_path / "out", *asked) == 0 and sorted(rows(tmp_path / "out")) == [0]


def test_other_machines_need_no_file(drafts, tmp_path):
    file = tmp_path / "c.safetensors"
    assert run("calibrate", drafts, "--early", "--out", file) == 0
    options = SearchOptions(mode=SearchMode.STOP, early_calibration=file)
    (before,) = options.stop_calibrations
    sent = pickle.dumps(options)
    file.unlink()
    there = pickle.loads(sent)  # noqa: S301 - as Ray does it
    (after,) = there.stop_calibrations
    assert after.scores.tolist() == before.scores.tolist() and there.stop_options() == options.stop_options()
