"""Which image of a batch a file holds, after what happens to images between a filter and a file."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from uncertainty_nodes.core.options import Direction
from uncertainty_nodes.core.view.notes import Note
from uncertainty_nodes.core.view.notes.looks import look_of, notes_of_image


def pictures(count=4, side=64):
    rng = np.random.default_rng(0)
    coarse = rng.random((count, 6, 6, 3))
    return [np.asarray(Image.fromarray((c * 255).astype("uint8")).resize((side, side), Image.Resampling.BICUBIC)) / 255 for c in coarse]


def notes_for(images, quantity="noise"):
    return [Note(quantity, Direction.LOW_IS_BAD, float(i), image=i, look=look_of(image)) for i, image in enumerate(images)]


def as_jpeg(image):
    file = io.BytesIO()
    Image.fromarray((image * 255).astype("uint8")).save(file, "JPEG", quality=40)
    return np.asarray(Image.open(file)) / 255


def enlarged(image):
    return np.asarray(Image.fromarray((image * 255).astype("uint8")).resize((200, 150), Image.Resampling.LANCZOS)) / 255


@pytest.mark.parametrize("change", [lambda image: image, as_jpeg, enlarged])
def test_each_image_finds_its_note(change):
    images = pictures()
    notes = notes_for(images)
    for number, image in enumerate(images):
        assert notes_of_image(notes, look_of(change(image))) == [notes[number]]


def test_look_is_the_mean_of_blocks():
    image = np.random.default_rng(1).random((16, 24, 3)).astype("float32")
    saved = (image * 255).astype("uint8")
    means = saved.mean(axis=2).reshape(8, 2, 8, 3).mean(axis=(1, 3))
    assert bytes.fromhex(look_of(image)) == np.rint(means).astype("uint8").tobytes() == bytes.fromhex(look_of(saved / 255))


def test_another_image_has_no_note_and_a_batch_of_one_is_no_exception():
    first, *_, other = pictures()
    assert notes_of_image(notes_for([first]), look_of(other)) == []
    assert len(notes_of_image(notes_for([first]), look_of(first))) == 1


def test_twins_are_not_told_apart():
    first = pictures()[0]
    twins = notes_for([first, np.clip(first + 0.01, 0, 1)])
    assert notes_of_image(twins, look_of(np.clip(first + 0.005, 0, 1))) == []


def test_a_second_filter_speaks_last_and_other_quantities_speak_too():
    images = pictures()
    first, second, third = notes_for(images), notes_for(images[2:]), notes_for(images, "denoised")
    assert notes_of_image([*first, *second, *third], look_of(images[3])) == [second[1], third[3]]
    assert notes_of_image([*first, *second], look_of(images[0])) == [first[0]]


def test_notes_of_the_file_alone_need_no_look():
    own = Note("noise", Direction.LOW_IS_BAD, 1.0)
    assert notes_of_image([own, *notes_for(pictures())]) == [own]
    assert notes_of_image([own, *notes_for(pictures())], "spoiled") == [own]
