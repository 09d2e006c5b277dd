"""Images of folders, lists and tables, and where their prompts are taken from."""

from __future__ import annotations

import pytest
from PIL import Image, PngImagePlugin

from bad_items import run
from report_page import write_results
from uncertainty_nodes.cli.shared.inputs.sources import find_sources, with_prompts


def write(path, parameters=None):
    info = PngImagePlugin.PngInfo()
    if parameters:
        info.add_text("parameters", parameters)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (8, 8)).save(path, pnginfo=info)


@pytest.fixture
def tree(tmp_path):
    for name in ("b.png", "a/c.png", "a/deep/d.png", ".hidden/e.png", "a/.thumbs/f.png"):
        write(tmp_path / name, "from the file" if name == "b.png" else None)
    (tmp_path / "a/c.txt").write_text("from beside\n")
    return tmp_path


def names(images):
    return [image.name for image in images]


def test_a_folder_is_searched_to_its_bottom_without_hidden_ones(tree):
    assert names(find_sources(tree)) == ["b.png", "a/c.png", "a/deep/d.png"]


@pytest.mark.parametrize(
    "text", ["image,prompt\na/c.png,from the list\nb.png,\n", "\ufefffile;x,Filename ,caption\n1,a/c.png,from the list\n2,b.png,\n"]
)
def test_a_csv_names_images_and_prompts(tree, text):
    (tree / "list.csv").write_text(text, encoding="utf-8")
    images = find_sources(tree / "list.csv")
    assert [(i.name, i.prompt) for i in images] == [("a/c.png", "from the list"), ("b.png", None)]


def test_text_and_json_lines_name_images(tree, caplog):
    (tree / "list.txt").write_text(f"b.png\n{tree / 'a/c.png'}\ngone.png\nlist.txt\n")
    assert names(find_sources(tree / "list.txt")) == ["b.png", str(tree / "a/c.png")]
    assert "Line 3, gone.png, is no image file and is left out." in caplog.text and "Line 4" in caplog.text
    (tree / "list.jsonl").write_text('{"image": "b.png", "prompt": "x"}\n"a/c.png"\n')
    assert [(i.name, i.prompt) for i in find_sources(tree / "list.jsonl")] == [("b.png", "x"), ("a/c.png", None)]


def test_the_nearest_prompt_counts(tree):
    (tree / "list.csv").write_text("image,prompt\na/c.png,from the list\nb.png,\na/c.png,\na/deep/d.png,\n")
    found = [(image.prompt, problem) for image, problem in with_prompts(find_sources(tree), None)]
    assert found[:2] == [("from the file", None), ("from beside", None)]
    assert found[2] == (None, "names no prompt, neither in itself nor in a .txt beside it")
    assert [image.prompt for image, _ in with_prompts(find_sources(tree), "for all")] == ["for all"] * 3


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.csv", "prompt\nx\n", "must name the columns, one of them image"),
        ("a.txt", "gone.png\n", "There is no image among those that"),
        ("a.txt", "", "There is no image in"),
        ("gone.txt", None, "There is no file"),
        ("gone", None, "is not a folder"),
    ],
)
def test_a_bad_list_is_one_sentence(tmp_path, name, text, words):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        find_sources(tmp_path / name)


def test_the_small_pictures_of_a_report_are_no_images(tmp_path):
    folder = write_results(tmp_path / "job", 3, ["a"], maps=True)
    (folder / "deep").mkdir()
    write(folder / "deep" / "a.png")
    before = [image.name for image in find_sources(folder)]
    assert before == ["deep/a.png", "kept/000000.png", "kept/000001.png", "kept/000002.png"]
    assert run("report", folder) == 0 and len(list((folder / "report").rglob("*.webp"))) == 6
    assert [image.name for image in find_sources(folder)] == before
    assert len(find_sources(folder / "report" / "thumbs")) == 6  # unless they are asked for
