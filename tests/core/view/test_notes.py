"""Notes in image files, read back by Pillow's own readers; Pillow is the reference for all three formats."""

from __future__ import annotations

import json
import os
import struct

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from uncertainty_nodes.core.options import Direction
from uncertainty_nodes.core.view.notes import Note, parse_notes, read_notes, to_text, write_note, write_notes

NOTE = Note(
    "information", Direction.LOW_IS_BAD, 12.5, 0.5, 75.0, True, 'Kept: "above" the limit <b>', 8, 0.25, 2**63, "8 calls", "0123abcd"
)
OTHER = Note("noise", Direction.LOW_IS_BAD, None)
FORMATS = {"png": {}, "jpg": {"quality": 90}, "webp": {"quality": 90}, "lossless.webp": {"lossless": True}}


def picture(mode="RGB", size=(17, 23)):
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], len(mode)), dtype=np.uint8)
    return Image.fromarray(pixels.squeeze(), mode)


def pixels_of(path):
    with Image.open(path) as file:
        return np.asarray(file.convert("RGBA"))


@pytest.fixture(params=FORMATS)
def path(request, tmp_path):
    path = tmp_path / f"a.{request.param}"
    picture().save(path, **FORMATS[request.param])
    return path


def test_a_note_comes_back_and_the_pixels_stay(path):
    before = pixels_of(path)
    assert read_notes(path) == []
    os.utime(path, ns=(1, 2_000_000_001))
    write_note(path, NOTE)
    assert read_notes(path) == [NOTE]
    assert np.array_equal(pixels_of(path), before) and path.stat().st_mtime_ns == 2_000_000_001
    write_note(path, OTHER)
    assert read_notes(path) == [NOTE, OTHER]
    newer = Note("information", Direction.LOW_IS_BAD, 3.0)
    write_note(path, newer)
    assert read_notes(path) == [OTHER, newer]


def test_pillow_sees_the_same_text(path):
    write_note(path, NOTE)
    with Image.open(path) as file:
        text = file.text["uncertainty"] if path.suffix == ".png" else file.getexif()[0x010D].removeprefix("uncertainty:")
    (content,) = json.loads(text)
    assert content == json.loads(to_text([NOTE]))[0]
    assert content["version"] == 1 and content["direction"] == "low_is_bad" and content["why"] == NOTE.why


def test_writing_again_and_again_doesnt_grow_the_file(path):
    write_note(path, NOTE)
    size = path.stat().st_size
    for _ in range(5):
        write_note(path, OTHER)
        write_notes(path, [NOTE])
    assert path.stat().st_size == size
    same = path.stat().st_ino
    write_notes(path, [NOTE])
    assert path.stat().st_ino == same  # nothing changed, nothing written


def test_taken_out_the_rest_is_as_before(path):
    before = path.read_bytes()
    write_notes(path, [])
    assert path.read_bytes() == before
    write_note(path, NOTE)
    write_notes(path, [])
    assert read_notes(path) == []
    if path.suffix == ".png":
        assert path.read_bytes() == before


def test_other_text_of_a_png_stays(tmp_path):
    path, info = tmp_path / "a.png", PngImagePlugin.PngInfo()
    info.add_text("prompt", '{"3": {}}')
    info.add_text("parameters", "a café\nSteps: 20", zip=True)
    info.add_itxt("uncertainty", "[]", zip=True)
    picture().save(path, pnginfo=info)
    assert read_notes(path) == []
    write_note(path, NOTE)
    with Image.open(path) as file:
        assert file.text["prompt"] == '{"3": {}}' and file.text["parameters"] == "a café\nSteps: 20"
    assert read_notes(path) == [NOTE] and path.read_bytes().count(b"uncertainty") == 1


@pytest.mark.parametrize("zipped", [False, True])
def test_notes_are_read_from_every_kind_of_text_chunk(tmp_path, zipped):
    for number, add in enumerate(("add_text", "add_itxt")):
        path, info = tmp_path / f"{number}.png", PngImagePlugin.PngInfo()
        getattr(info, add)("uncertainty", to_text([NOTE]), zip=zipped)
        picture().save(path, pnginfo=info)
        assert read_notes(path) == [NOTE]


@pytest.mark.parametrize("suffix", ["jpg", "webp"])
def test_other_exif_stays(tmp_path, suffix):
    exif = Image.Exif()
    exif[0x0110], exif[0x010D], exif[0x0112] = "prompt:{}", "taken", 6
    exif.get_ifd(0x8769)[0x9286] = b"ASCII\0\0\0a cat\nSteps: 20"  # where A1111 has its parameters
    path = tmp_path / f"a.{suffix}"
    picture().save(path, exif=exif)
    for note in (NOTE, OTHER):
        write_note(path, note)
    with Image.open(path) as file:
        found = file.getexif()
        assert (found[0x0110], found[0x010D], found[0x0112]) == ("prompt:{}", "taken", 6)
        assert found.get_ifd(0x8769)[0x9286].endswith(b"a cat\nSteps: 20")
    assert read_notes(path) == [NOTE, OTHER]


def test_what_comfyui_writes_into_a_webp_is_read(tmp_path):
    """Its SaveAnimatedWEBP counts down from tag 0x010F with "key:JSON"."""
    exif = Image.Exif()
    exif[0x0110], exif[0x010F], exif[0x010E] = "prompt:{}", "workflow:{}", f"uncertainty:{to_text([NOTE])}"
    path = tmp_path / "a.webp"
    picture().save(path, exif=exif)
    assert read_notes(path) == [NOTE]
    write_note(path, OTHER)
    assert read_notes(path) == [NOTE, OTHER]
    with Image.open(path) as file:
        assert file.getexif()[0x010F] == "workflow:{}"


def test_transparency_and_animation_of_a_webp_stay(tmp_path):
    picture("RGBA").save(tmp_path / "clear.webp", lossless=True)
    picture().save(tmp_path / "moving.webp", save_all=True, append_images=[picture("L").convert("RGB")], duration=100)
    for path in tmp_path.iterdir():
        before = pixels_of(path)
        write_note(path, NOTE)
        with Image.open(path) as file:
            assert file.mode == ("RGBA" if path.stem == "clear" else "RGB") and file.n_frames == (2 if path.stem == "moving" else 1)
        assert np.array_equal(pixels_of(path), before)


@pytest.mark.parametrize("cut", [0, 1, 3, 11, 20, 40])
def test_a_cut_file_is_one_sentence_and_stays(path, cut):
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ValueError, match="is damaged or cut off|is no PNG, JPEG or WebP") as error:
        write_note(path, NOTE)
    assert repr(str(path)) in str(error.value) and path.stat().st_size == cut


def test_noise_never_makes_the_reader_fail_otherwise(path):
    rng = np.random.default_rng(1)
    write_note(path, NOTE)
    whole = bytearray(path.read_bytes())
    for _ in range(300):
        spoiled = bytearray(whole)
        for place in rng.integers(0, min(len(whole), 600), 4):
            spoiled[place] = rng.integers(0, 256)
        path.write_bytes(spoiled)
        try:
            notes = read_notes(path)
        except ValueError:
            continue
        assert all(isinstance(note, Note) for note in notes)


def test_a_full_jpeg_is_one_sentence(tmp_path):
    path = tmp_path / "a.jpg"
    picture().save(path)
    with pytest.raises(ValueError, match="a JPEG has room for 65,533 bytes .* use PNG or WebP"):
        write_note(path, Note("noise", Direction.LOW_IS_BAD, 1.0, why="x" * 70_000))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "something else under the same name"),
        ('[{"scores": [1]}]', "something else under the same name"),
        ("[" * 100_000, "something else under the same name"),
        ('[{"version": 2, "quantity": "noise", "direction": "low_is_bad", "score": 1}]', "in format 2, this version reads up to 1; update"),
        ('[{"version": 1, "quantity": "noise", "direction": "up", "score": 1}]', "'up' is not a valid Direction"),
        ('[{"version": 1, "quantity": "noise", "direction": "low_is_bad", "score": "x"}]', "score must be"),
        ('[{"version": 1, "quantity": "noise", "direction": "low_is_bad", "score": NaN}]', None),
    ],
)
def test_a_foreign_note_is_one_sentence(text, words):
    if words is None:
        assert parse_notes(text)[0].score is None
        return
    with pytest.raises(ValueError, match=words):
        parse_notes(text)


def test_a_length_that_lies_reads_no_more_than_there_is(tmp_path):
    path = tmp_path / "a.png"
    picture().save(path)
    image = path.read_bytes()
    path.write_bytes(image[:33] + struct.pack(">I4s", 2**31 - 1, b"tEXt") + image[33:])
    with pytest.raises(ValueError, match="is damaged or cut off"):
        read_notes(path)
