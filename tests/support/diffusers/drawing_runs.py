"""Runs of generate on the bundled model, in few steps, and what they leave."""

from __future__ import annotations

import functools
import json

import torch
from PIL import Image

from bad_items import run
from uncertainty_nodes.cli.generate import worker as generate
from uncertainty_nodes.hosts.diffusers.demo import load_demo, sample

STEPS = 4
CHEAP = ["--steps", STEPS, "--samples", 2]


def draw(out, *arguments):
    return run("generate", "--out", out, *CHEAP, *arguments)


def saved(out):
    return json.loads((out / "results.json").read_text())


def rows(out):
    return {row["image"]: row for row in saved(out)["images"]}


def kept(out):
    return sorted(int(path.stem) for path in (out / "kept").iterdir()) if (out / "kept").is_dir() else []


def outputs(out):
    """All but the time that it took."""
    return {i: {**row, "seconds": 0, "pixels": Image.open(out / row["file"]).tobytes()} for i, row in rows(out).items()}


def count_rows(monkeypatch, network):
    """The rows of every pass of a network, ours and the sampler's."""
    forward, seen = network.forward, []

    @functools.wraps(forward)  # its signature is looked at
    def counted(self, sample, *args, **kwargs):
        seen.append(len(sample))
        return forward(self, sample, *args, **kwargs)

    monkeypatch.setattr(network, "forward", counted)
    return seen


def drawn_alone(seed, label):
    """The picture that a seed gives without any search."""
    noise = torch.randn(1, 1, 32, 32, generator=torch.Generator().manual_seed(seed))
    image = sample(*load_demo(), noise, torch.tensor([label]), STEPS)[0, 0].add(1).div(2).clamp(0, 1)
    return (image * 255).round().byte().numpy()


def stop_after(monkeypatch, batches):
    draw_scored, calls = generate.draw_scored, []

    def stopping(drawer, numbers, *more):
        calls.append(numbers)
        if len(calls) > batches:
            raise KeyboardInterrupt
        return draw_scored(drawer, numbers, *more)

    monkeypatch.setattr(generate, "draw_scored", stopping)
    return calls
