"""Draws share calls of the network as far as memory allows; what comes out does not depend on it."""

from __future__ import annotations

import logging
from contextlib import contextmanager

import pytest
import torch

import tiny_pipelines as tiny
from bayes_scenes import counting, laplace_of
from demo_draws import draw
from uncertainty_nodes.core.options import (
    AleatoricOptions,
    BayesDiffOptions,
    DrawOptions,
    GuidanceMode,
    GuidanceOptions,
    InformationOptions,
)
from uncertainty_nodes.core.options import StepWindow as Window
from uncertainty_nodes.hosts.diffusers import memory
from uncertainty_nodes.hosts.diffusers.attach import attach, score
from uncertainty_nodes.hosts.diffusers.demo import conditions
from uncertainty_nodes.hosts.diffusers.information import information
from uncertainty_nodes.hosts.diffusers.last_layer.bayesdiff import bayesdiff

pytestmark = pytest.mark.filterwarnings("ignore")  # diffusers' own deprecations
SAMPLES, IMAGES = 6, 2
ROW = memory.VALUES_PER_POSITION * 4  # bytes of one float32 position


def holding(monkeypatch, rows: float, positions: int) -> None:
    """Memory for so many rows of a float32 network."""
    monkeypatch.setattr(memory, "free_memory", lambda device: rows * positions * ROW)


@pytest.mark.parametrize(("rows", "at_once"), [(0.5, 1), (2.0, 1), (4.0, 2), (11.9, 5), (12.0, 6), (1e6, 6)])
def test_as_many_draws_share_a_call_as_memory_allows(monkeypatch, rows, at_once):
    holding(monkeypatch, rows * 1.0001, 64)
    x = torch.zeros(IMAGES, 4, 8, 8)
    assert memory.fit_draws(DrawOptions(samples=SAMPLES), x).micro_batch == at_once


def test_a_number_that_was_asked_for_is_taken(monkeypatch):
    holding(monkeypatch, 1, 64)
    asked = DrawOptions(samples=SAMPLES, micro_batch=4)
    assert memory.fit_draws(asked, torch.zeros(IMAGES, 4, 8, 8)) is asked


def test_half_precision_and_packed_latents_are_counted_as_what_they_are(monkeypatch):
    holding(monkeypatch, 4.001, 64)
    assert memory.fit_draws(DrawOptions(samples=SAMPLES), torch.zeros(IMAGES, 4, 8, 8, dtype=torch.float16)).micro_batch == 4
    assert memory.fit_draws(DrawOptions(samples=SAMPLES), torch.zeros(IMAGES, 16, 64)).micro_batch == 2
    assert memory.fit_draws(DrawOptions(samples=SAMPLES), torch.zeros(IMAGES, 4, 2, 8, 8)).micro_batch == 1


WATCHES = {
    "record": lambda draws: lambda pipe: attach(pipe, record=AleatoricOptions(draws, Window())),
    "bayesdiff": lambda draws: lambda pipe: bayesdiff(pipe, laplace_of(pipe.unet), options=BayesDiffOptions(draws)),
}


@pytest.mark.parametrize("cfg", [1.0, 4.0])
@pytest.mark.parametrize("name", WATCHES)
def test_scores_do_not_depend_on_how_many_share_a_call(name, cfg):
    pipe, results, sizes = tiny.sd(), [], []
    for micro_batch in (1, 0, 4):
        watch = WATCHES[name](DrawOptions(samples=SAMPLES, micro_batch=micro_batch))
        with watch(pipe.pipe) as run, counting_inside(pipe) as rows:
            pipe.draw(IMAGES, cfg)
        results.append(run.result())
        sizes.append(rows)
    sides = IMAGES * (2 if name == "bayesdiff" and cfg > 1 else 1)
    assert [max(rows) for rows in sizes] == [max(sides, sizes[0][0]), SAMPLES * sides, 4 * sides]
    assert len({sum(rows) for rows in sizes}) == 1
    for other in results[1:]:
        torch.testing.assert_close(other.scores, results[0].scores, rtol=1e-3, atol=1e-8)
        assert other.nfe == results[0].nfe


@contextmanager
def counting_inside(pipe: tiny.Tiny):
    with counting(pipe.network) as rows:
        yield rows


@pytest.mark.parametrize(
    ("mode", "checkpoint", "largest"), [(m, False, SAMPLES) for m in GuidanceMode] + [(GuidanceMode.AUTOGRAD, True, 1)]
)
def test_guidance_does_not_depend_on_it_either(mode, checkpoint, largest):
    """A checkpointed gradient keeps memory small by having one draw in hand."""
    pipe, images = tiny.sd(), []
    for micro_batch in (1, 0):
        draws = DrawOptions(samples=SAMPLES, micro_batch=micro_batch)
        guide = GuidanceOptions(strength=0.1, draws=draws, window=Window(0.5, 1.0), mode=mode, checkpoint=checkpoint)
        with attach(pipe.pipe, guide=guide), counting_inside(pipe) as rows:
            images.append(pipe.draw(IMAGES))
    assert max(rows) == IMAGES * largest
    torch.testing.assert_close(images[0], images[1], rtol=1e-2, atol=1e-3)


def test_finished_images_are_scored_so_too(demo):
    network, scheduler = demo
    latents = draw(network, scheduler, IMAGES, steps=5)
    cond, empty = conditions(torch.arange(IMAGES))
    measures = {
        "score": lambda draws: score(network, scheduler, latents, cond, AleatoricOptions(draws), 2),
        "information": lambda draws: information(network, scheduler, latents, cond, empty, InformationOptions(draws)).result,
    }
    for measure in measures.values():
        seen = []
        for micro_batch in (1, 0):
            with counting(network) as rows:
                seen.append(measure(DrawOptions(samples=SAMPLES, micro_batch=micro_batch)))
            assert set(rows) == {IMAGES * (1 if micro_batch else SAMPLES)}
        torch.testing.assert_close(seen[1].scores, seen[0].scores, rtol=1e-3, atol=1e-6)


def test_out_of_memory_halves_a_call_and_says_so(demo, caplog):
    network, scheduler = demo
    handle = network.conv_in.register_forward_pre_hook(too_large)
    try:
        with (
            caplog.at_level(logging.WARNING),
            attach(network, scheduler, record=AleatoricOptions(DrawOptions(samples=8), Window(0.4, 0.6))) as run,
        ):
            draw(network, scheduler, IMAGES, steps=5)
    finally:
        handle.remove()
    assert run.result().scores.isfinite().all()
    assert "going on with 4 draws per call" in caplog.text
    assert "going on with 2 draws per call" in caplog.text


def too_large(module: torch.nn.Module, args: tuple[torch.Tensor, ...]) -> None:
    if len(args[0]) > 2 * IMAGES:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory (simulated)")
