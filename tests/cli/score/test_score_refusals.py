"""What the score command does not take, and what it says then."""

from __future__ import annotations

import json

import pytest

import tiny_text
from tiny_images import write_blank
from uncertainty_nodes.cli import main
from uncertainty_nodes.cli.score import worker as score


def run(*arguments):
    return main(["score", *map(str, arguments)])


@pytest.fixture
def one(tmp_path):
    return write_blank(tmp_path / "one")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--seed", "0"], "name the class of all images with --class, or sort them into such folders"),
        (["--prompt", "a cat"], "The demo model knows no prompts"),
        (["--model", "nowhere", "--prompt", "x"], "There is no diffusers pipeline in 'nowhere'"),
        (["--model", "nowhere"], "There is no diffusers pipeline in 'nowhere'"),
        (["--lora", "a.safetensors"], "--lora is for other models than demo: name one with --model"),
        (["--dtype", "float16"], "--dtype is for other models than demo"),
        (["--model", "a.ckpt"], "'a.ckpt' is a pickled checkpoint"),
        (["--model", "nowhere", "--class", "1"], "--class is for the demo model"),
        (["--class", "1", "--samples", "3"], "samples must be even for antithetic draws"),
        (["--class", "1", "--start-percent", "0.9"], "start_percent must not exceed end_percent"),
        (["--class", "1", "--end-percent", "nan"], "end_percent must be"),
        (["--class", "1", "--device", "abacus"], "device 'abacus' is not available here"),
        (["--class", "1", "--out", "scores.csv"], "out must be a folder, or a file that ends in .json, got 'scores.csv'"),
    ],
)
def test_bad_values_are_one_sentence_and_write_nothing(one, caplog, arguments, words):
    assert run(one, *arguments) == 1
    assert words in caplog.text
    assert [path.name for path in one.iterdir()] == ["a.png"]


def test_negative_is_for_information(one, tmp_path, caplog):
    tiny_text.make("sd", tmp_path / "words").save_pretrained(tmp_path / "sd")
    assert run(one, "--model", tmp_path / "sd", "--prompt", "x", "--by", "noise", "--negative", "y") == 1
    assert "leave it out for noise" in caplog.text


def test_other_pipelines_are_refused_by_name(one, tmp_path, caplog):
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "FluxPipeline"}))
    assert run(one, "--model", tmp_path, "--prompt", "x") == 1
    assert "holds a FluxPipeline, which is not supported" in caplog.text


def test_a_broken_pipeline_is_one_sentence_and_stands_in_no_way(one, tmp_path, caplog):
    (tmp_path / "model_index.json").write_text(
        json.dumps({"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"]})
    )
    assert run(one, "--model", tmp_path, "--prompt", "x") == 1
    assert "can't be loaded" in caplog.records[-1].message and "\n" not in caplog.records[-1].message
    assert run(one, "--by", "noise", "--levels", "1", "--class", "1") == 0


def test_a_place_that_cannot_be_written_to_shows_before_the_work(one, caplog, monkeypatch):
    monkeypatch.setattr(score, "measure", None)
    assert run(one, "--class", 1, "--out", one / "a.png" / "x.json") == 1
    assert "Could not write" in caplog.text


def test_folders_with_nothing_in_them(tmp_path, one, caplog):
    assert run(tmp_path / "missing", "--class", 1) == 1
    assert "is not a folder" in caplog.text
    (tmp_path / "empty").mkdir()
    assert run(tmp_path / "empty", "--class", 1) == 1
    assert "There is no image in" in caplog.text
    assert not list((tmp_path / "empty").iterdir())
    (one / "a.png").write_text("")
    assert run(one, "--class", 1) == 1
    assert "None of the images in" in caplog.text


@pytest.mark.parametrize(
    "content", ['{"mine": 1}', "[]", '{"kind": "uncertainty-nodes scores"', '{"kind": "uncertainty-nodes scores", "version": 9}']
)
def test_a_file_of_something_else_is_left_alone(one, caplog, content):
    (one / "uncertainty.json").write_text(content)
    assert run(one, "--class", 1) == 1
    assert "holds no scores of this command" in caplog.text
    assert (one / "uncertainty.json").read_text() == content


def test_images_without_a_prompt_say_where_it_may_come_from(one, tmp_path, caplog):
    tiny_text.make("sd", tmp_path / "words").save_pretrained(tmp_path / "sd")
    assert run(one, "--model", tmp_path / "sd") == 1
    assert "The prompt is missing: give the one that the images were made from with --prompt, a CSV" in caplog.text


def test_the_table_never_takes_the_place_of_the_list(one, caplog):
    (one / "list.csv").write_text("image\na.png\n")
    assert run(one / "list.csv", "--class", "1", "--out", one / "list.json") == 1
    assert "would take the place of" in caplog.text and (one / "list.csv").read_text() == "image\na.png\n"
