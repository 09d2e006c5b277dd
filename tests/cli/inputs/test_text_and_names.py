"""Text as people write it, names that are no text, and pictures that one sees through."""

from __future__ import annotations

import csv
import json
import os
import sys

import numpy as np
import pytest
from PIL import Image

from tiny_images import write_pictures
from uncertainty_nodes.cli import main
from uncertainty_nodes.cli.generate.options import GenerateOptions
from uncertainty_nodes.cli.shared.pictures import find_images, read_picture, with_captions
from uncertainty_nodes.cli.shared.text import printable, read_text
from uncertainty_nodes.core.last_layer.laplace import Laplace

CHEAP = ["--samples", "2", "--levels", "1", "--class", "3"]
ENCODINGS = {"plain": "utf-8", "marked": "utf-8-sig", "wide": "utf-16"}
needs_bytes = pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="file names are text on this system")


def run(*arguments):
    return main([str(argument) for argument in arguments])


@pytest.mark.parametrize("encoding", ENCODINGS.values(), ids=list(ENCODINGS))
def test_a_windows_mark_is_no_part_of_a_prompt(tmp_path, encoding):
    (tmp_path / "prompts.txt").write_bytes("a café\r\n\r\na dog\r\n".encode(encoding))
    options = GenerateOptions(model="folder", prompts=tmp_path / "prompts.txt", out=tmp_path / "out")
    assert options.conditions() == ["a café", "a dog"]


@pytest.mark.parametrize("encoding", ENCODINGS.values(), ids=list(ENCODINGS))
def test_a_windows_mark_is_no_part_of_a_caption(tmp_path, encoding):
    write_pictures(tmp_path, 1, 8)
    (tmp_path / "0.txt").write_bytes("a café\r\n".encode(encoding))
    assert [caption for _, caption in with_captions(find_images(tmp_path, None, by_class=False), "")] == ["a café"]


@pytest.mark.parametrize("encoding", ENCODINGS.values(), ids=list(ENCODINGS))
def test_results_that_were_saved_again_by_an_editor_are_gone_on_with(tmp_path, encoding, caplog):
    write_pictures(tmp_path, 2, 32)
    assert run("score", tmp_path, *CHEAP) == 0
    results = tmp_path / "uncertainty.json"
    results.write_bytes(results.read_text(encoding="utf-8").encode(encoding))
    caplog.set_level("INFO")
    assert run("score", tmp_path, *CHEAP) == 0
    assert "Nothing was left to score" in caplog.text


def test_other_bytes_are_refused_by_the_file_s_name(tmp_path):
    (tmp_path / "latin.txt").write_bytes("café".encode("latin-1"))
    with pytest.raises(ValueError, match=r"latin.txt' is not UTF-8 text \(unexpected end of data at byte 3\); save it again as UTF-8"):
        read_text(tmp_path / "latin.txt")


def write_unprintable(folder):
    """Ten pictures, one under a name that is not UTF-8; returns how that is escaped."""
    write_pictures(folder, 9, 32)
    Image.new("L", (32, 32), 200).save(os.fsencode(str(folder)) + b"/5 \xff\xfe.png")
    return "5 \\xff\\xfe.png"


def test_a_name_becomes_text_that_any_file_can_hold():
    for name in ("plain.png", "ü 漢.png", "new\nline.png"):
        assert printable(name) == name
    assert printable(os.fsdecode(b"bad\xff.png")).encode("utf-8") == b"bad\\xff.png"


@needs_bytes
def test_an_image_is_scored_whatever_its_name(tmp_path, caplog):
    escaped = write_unprintable(tmp_path)
    assert run("score", tmp_path, *CHEAP) == 0
    rows = json.loads((tmp_path / "uncertainty.json").read_text())["rows"]
    assert len(rows) == 10 and escaped in [row["file"] for row in rows]
    with (tmp_path / "uncertainty.csv").open(encoding="utf-8") as file:
        assert [row["file"] for row in csv.DictReader(file)] == [row["file"] for row in rows]
    caplog.set_level("INFO")
    assert run("score", tmp_path, *CHEAP) == 0
    assert "Scored by an earlier run: 10 of 10" in caplog.text and "Nothing was left to score" in caplog.text


@needs_bytes
def test_a_folder_is_scored_whatever_its_name(tmp_path, caplog):
    folder = tmp_path / os.fsdecode(b"bad \xff")
    write_pictures(folder, 1, 32)
    out = tmp_path / "scores"
    assert run("score", folder, *CHEAP, "--out", out) == 0
    caplog.set_level("INFO")
    assert run("score", folder, *CHEAP, "--out", out) == 0 and "Nothing was left to score" in caplog.text
    assert run("score", folder, *CHEAP) == 0 and (folder / "uncertainty.json").exists()


@needs_bytes
def test_an_image_is_fitted_and_trained_on_whatever_its_name(tmp_path):
    write_unprintable(tmp_path / "3")
    assert run("fit-laplace", tmp_path, "--draws", 1, "--out", tmp_path / "fit.safetensors") == 0
    assert Laplace.load(tmp_path / "fit.safetensors").samples == 10
    few = ["--members", 1, "--steps", 1, "--batch", 2]
    assert run("train-ensemble", tmp_path, *few, "--out", tmp_path / "ensemble.safetensors") == 0


def transparent(mode):
    """Black at the left, red at the right half; seen through, half seen through and solid, from top to bottom."""
    pixels = np.zeros((3, 2, 4), np.uint8)
    pixels[:, 1, 0] = 255
    pixels[:, :, 3] = [[0], [128], [255]]
    picture = Image.fromarray(pixels)
    return picture if mode == "RGBA" else picture.convert(mode)


def over_white(alpha, value):
    return (value * alpha + 255 * (255 - alpha)) / 255


@pytest.mark.parametrize(("mode", "name"), [("RGBA", "a.png"), ("RGBA", "a.webp"), ("LA", "a.png"), ("RGBA", "a.tif")])
def test_transparent_pictures_lie_on_a_white_page(tmp_path, mode, name):
    transparent(mode).save(tmp_path / name, **({"lossless": True, "exact": True} if name.endswith("webp") else {}))
    seen = np.asarray(read_picture(tmp_path / name)).astype(float)
    red = [255, 0, 0] if mode == "RGBA" else [76] * 3
    for row, alpha in enumerate((0, 128, 255)):
        assert np.abs(seen[row, 0] - over_white(alpha, 0)).max() <= 1
        assert np.abs(seen[row, 1] - [over_white(alpha, value) for value in red]).max() <= 1


def test_a_transparent_colour_of_a_palette_or_of_grey_is_white(tmp_path):
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putpixel((1, 0), 1)
    for name in ("a.png", "a.gif"):
        palette.save(tmp_path / name, transparency=0)
        assert np.asarray(read_picture(tmp_path / name)).tolist() == [[[255, 255, 255], [40, 50, 60]]]
    grey = Image.fromarray(np.array([[0, 9]], np.uint8))
    grey.save(tmp_path / "grey.png", transparency=0)
    assert np.asarray(read_picture(tmp_path / "grey.png")).tolist() == [[[255] * 3, [9] * 3]]


def test_a_solid_picture_keeps_its_colours_bit_for_bit(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (16, 16, 4), dtype=np.uint8)
    pixels[..., 3] = 255
    Image.fromarray(pixels).save(tmp_path / "solid.png")
    assert np.array_equal(np.asarray(read_picture(tmp_path / "solid.png")), pixels[..., :3])


def test_what_is_not_seen_changes_no_score(tmp_path):
    for name, colour in (("a", 0), ("b", 255)):
        Image.new("RGBA", (32, 32), (colour, colour, colour, 0)).save(tmp_path / f"{name}.png")
    assert run("score", tmp_path, *CHEAP) == 0
    scores = [row["score"] for row in json.loads((tmp_path / "uncertainty.json").read_text())["rows"]]
    assert scores[0] == scores[1]


@pytest.mark.parametrize("command", ["score", "fit-laplace", "train-ensemble"])
def test_the_help_says_what_lies_behind_transparent_images(command, capsys):
    with pytest.raises(SystemExit):
        run(command, "--help")
    assert "on a white page" in capsys.readouterr().out


@needs_bytes
@pytest.mark.parametrize("arguments", [["generate", "--prompt"], ["generate", "--negative"], ["score", "x", "--prompt"]])
def test_a_prompt_in_other_bytes_is_refused_by_its_option(arguments, capsys):
    with pytest.raises(SystemExit):
        run(*arguments, os.fsdecode(b"caf\xe9"))
    assert f"argument {arguments[-1]}: must be UTF-8 text, got 'caf\\\\xe9'" in capsys.readouterr().err
