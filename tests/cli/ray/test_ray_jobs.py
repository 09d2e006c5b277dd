"""Commands with Ray: the same results as one process, bit for bit, whatever dies meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image
from safetensors.torch import load_file

from bad_items import run, write_classes
from killing import rows_of, visible_files
from ray_jobs import RUNS, ray_session, workers_killed
from uncertainty_nodes.cli.train_ensemble.options import TrainOptions
from uncertainty_nodes.core.ensemble.file import EnsembleParameters

pytestmark = pytest.mark.filterwarnings("ignore")  # diffusers' use of numpy, Ray's of its own
PROGRAM = "import sys; from uncertainty_nodes.cli import main; sys.exit(main())"


@pytest.fixture(scope="module")
def ray():
    with ray_session() as ray:
        yield ray


def files_of(out):
    """Each picture's pixels, since what is told in the file has the seconds too, and each map."""
    pictures = {path.relative_to(out).as_posix(): Image.open(path).tobytes() for path in out.rglob("*.png")}
    return pictures | {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*.npy")}


def outcome(out):
    return rows_of(out), files_of(out)


@pytest.mark.parametrize(
    "more",
    [
        ["-n", 10, "--batch", 3],
        ["-n", 4, "--best-of", 2, "--scorer", "noise"],
        ["--until-kept", 5, "--calibrate-with", 5, "--batch", 2],
        ["--until-kept", 5, "--calibrate-with", 5, "--batch", 3],
    ],
)
def test_generate_gives_the_same_images_bit_for_bit(ray, tmp_path, more):
    cheap = ["--steps", 4, "--samples", 2, "--threads", 1, *more]
    for name, engine in (("one", []), ("two", RUNS)):
        assert run("generate", "--out", tmp_path / name, *cheap, *engine) == 0
    one, two = outcome(tmp_path / "one"), outcome(tmp_path / "two")
    assert one == two and len(one[0]) >= 4 and len(one[1]) == 2 * len(one[0])
    assert ("--until-kept" not in more) or len(list((tmp_path / "two" / "kept").iterdir())) == 5


def test_score_gives_the_same_scores_bit_for_bit_and_either_goes_on_with_the_other(ray, tmp_path, caplog):
    folder = write_classes(tmp_path / "all")
    (folder / "3" / "0.png").write_text("no image")
    cheap = ["--samples", 2, "--levels", 2, "--batch", 2, "--threads", 1]
    for name, engine in (("one", []), ("two", RUNS)):
        assert run("score", folder, *cheap, "--out", tmp_path / f"{name}.json", *engine) == 0
    assert rows_of(tmp_path / "one.json") == rows_of(tmp_path / "two.json") and len(rows_of(tmp_path / "one.json")) == 7
    caplog.clear()
    caplog.set_level("INFO")
    assert run("score", folder, *cheap, "--out", tmp_path / "one.json", *RUNS) == 0
    assert "Nothing was left to score; left out: 1" in caplog.text


def parameters_of(path):
    return {name: value.tolist() for name, value in load_file(path).items()}


def train(folder, out, *more):
    return run("train-ensemble", folder, "--out", out, "--batch", 2, "--threads", 1, *more)


def test_train_ensemble_gives_the_same_members_bit_for_bit_and_goes_on_with_what_one_process_began(ray, tmp_path, caplog):
    folder, asked = write_classes(tmp_path / "all"), ["--members", 3, "--steps", 6]
    one, two, mixed = (tmp_path / f"{name}.safetensors" for name in ("one", "two", "mixed"))
    assert train(folder, one, *asked) == train(folder, two, *asked, *RUNS) == 0
    assert parameters_of(one) == parameters_of(two)
    assert EnsembleParameters.load(one).provenance == EnsembleParameters.load(two).provenance
    with pytest.MonkeyPatch.context() as patch:  # stopped after its first member, as it seems
        patch.setattr(EnsembleParameters, "save", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert train(folder, mixed, *asked) == 130
    for member in (1, 2):
        TrainOptions(folder, mixed).checkpoint(member).unlink()
    caplog.set_level("INFO")
    assert train(folder, mixed, *asked, *RUNS) == 0
    assert "Going on with 1 members of 3 that an earlier run began" in caplog.text
    assert parameters_of(mixed) == parameters_of(one)
    assert sorted(path.name for path in tmp_path.glob("*.safetensors")) == ["mixed.safetensors", "one.safetensors", "two.safetensors"]


def test_an_error_of_training_is_one_sentence_from_a_worker_too(ray, tmp_path, caplog):
    folder = write_classes(tmp_path / "all")
    assert train(folder, tmp_path / "a.safetensors", "--members", 2, "--steps", 6, "--learning-rate", 1e30, *RUNS) == 1
    assert "uncertainty-nodes: " in caplog.text and "Traceback" not in caplog.text and not (tmp_path / "a.safetensors").exists()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kills processes as Linux does")
def test_workers_that_are_killed_at_random_moments_lose_and_double_nothing(ray, tmp_path):
    """Of a job that draws, and of one that trains."""
    drawing = ["-n", 12, "--batch", 2, "--steps", 4, "--samples", 2, "--method", "noise", "--threads", 1]
    assert run("generate", "--out", tmp_path / "one", *drawing) == 0
    with workers_killed(3) as killed:
        assert run("generate", "--out", tmp_path / "two", *drawing, *RUNS) == 0
    assert outcome(tmp_path / "two") == outcome(tmp_path / "one") and killed
    folder, asked = write_classes(tmp_path / "all"), ["--members", 3, "--steps", 40]
    assert train(folder, tmp_path / "one.safetensors", *asked) == 0
    with workers_killed(3, seed=1) as killed:
        assert train(folder, tmp_path / "two.safetensors", *asked, *RUNS) == 0
    assert parameters_of(tmp_path / "two.safetensors") == parameters_of(tmp_path / "one.safetensors") and killed


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kills processes as Linux does")
def test_a_driver_that_is_killed_leaves_what_the_next_one_goes_on_with(tmp_path):
    pytest.importorskip("ray", reason="Ray is not installed: pip install ray")
    asked = ["-n", "16", "--batch", "2", "--steps", "4", "--samples", "2", "--method", "noise", "--threads", "1"]
    assert run("generate", "--out", tmp_path / "one", *asked) == 0
    out, environment = tmp_path / "two", {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-c", PROGRAM, "generate", "--out", str(out), *asked, *map(str, RUNS)]
    for wanted in (2, 8):  # killed as soon as so many images are there
        with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as driver:
            while driver.poll() is None and count(out) < wanted:
                time.sleep(0.02)
            driver.kill()
    assert count(out) >= 2
    subprocess.run(command, env=environment, check=True, stderr=subprocess.DEVNULL)
    assert outcome(out) == outcome(tmp_path / "one") and visible_files(out) == visible_files(tmp_path / "one")


def count(out: Path) -> int:
    return len(rows_of(out)) if (out / "results.sqlite").exists() and (out / "new").exists() else 0
