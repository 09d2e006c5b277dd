"""Files of prompts in each form that people have them in, and the sentence for each bad one."""

from __future__ import annotations

import pytest

from uncertainty_nodes.cli.shared.inputs.prompts import read_prompts
from uncertainty_nodes.core.options import Request, parse_size

BOTH = [Request("a cat, sleeping", "blurry", 7, (768, 512)), Request("a dog")]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", 'prompt,negative,seed,size\n"a cat, sleeping",blurry,7,768x512\n\na dog,,,\n'),
        ("b.csv", 'width,height,Negative_Prompt,Prompt ,seed,more\n768,512,blurry,"a cat, sleeping",7,x\n,,,a dog,,\n'),
        ("c.jsonl", '{"prompt": "a cat, sleeping", "negative": "blurry", "seed": 7, "size": [768, 512]}\n\n{"prompt": "a dog"}\n'),
        ("d.ndjson", '{"prompt": "a cat, sleeping", "negative_prompt": "blurry", "seed": 7, "width": 768, "height": 512}\n"a dog"\n'),
    ],
)
def test_each_line_may_have_a_seed_a_size_and_a_negative_prompt(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert read_prompts(tmp_path / name) == BOTH


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_plain_text_is_a_prompt_a_line(tmp_path, encoding):
    (tmp_path / "a.txt").write_text("a café, big\n\n  two \n", encoding=encoding)
    assert read_prompts(tmp_path / "a.txt") == [Request("a café, big"), Request("two")]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.txt", "\n \n", "There is no prompt in"),
        ("a.csv", "prompt\n", "There is no prompt in"),
        ("a.csv", "text,seed\na,1\n", "must name the columns, one of them prompt, got 'text, seed'"),
        ("a.csv", "prompt,seed\na,-1\n", "Line 2 of .*seed must be a whole number, got '-1'"),
        ("a.csv", "prompt,size\na,64x\n", "Line 2 of .*size must be width x height in pixels, such as 768x512"),
        ("a.csv", "prompt,size\na,63x64\n", "width must be a multiple of 8, got 63"),
        ("a.csv", "prompt,width\na,64\n", "width and height belong together"),
        ("a.jsonl", '{"prompt": "a"}\n{', "Line 2 of .* is no JSON"),
        ("a.jsonl", '{"text": "a"}', 'Line 1 of .* has no "prompt"'),
        ("a.jsonl", "[1]", 'Line 1 of .* has no "prompt"'),
        ("a.jsonl", '{"prompt": "a", "negative": 3}', "negative must be a text, got 3"),
        ("a.jsonl", '{"prompt": "a", "seed": 18446744073709551616}', "seed must be"),
        ("a.jsonl", '{"prompt": "a", "seed": true}', "seed must be a whole number, got True"),
    ],
)
def test_a_bad_file_is_one_sentence(tmp_path, name, text, words):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=words):
        read_prompts(tmp_path / name)


def test_other_bytes_and_a_missing_file_are_one_sentence(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xff\xfa\x00")
    with pytest.raises(ValueError, match="can't be read as text"):
        read_prompts(tmp_path / "a.txt")
    with pytest.raises(FileNotFoundError, match="one prompt a line, a CSV or JSON lines"):
        read_prompts(tmp_path / "b.txt")


def test_one_number_is_a_square():
    assert parse_size("64") == parse_size("64x64") == parse_size("64 X 64") == (64, 64)
    for text in ("", "x", "64x64x64", "0", "-8", "99999999"):
        with pytest.raises(ValueError, match="size must be|width must be|height must be"):
            parse_size(text)
