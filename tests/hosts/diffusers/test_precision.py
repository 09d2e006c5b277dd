"""Pipelines whose weights are in half precision or elsewhere than the sample, or whose network is compiled."""

from __future__ import annotations

import pytest
import torch
from accelerate import cpu_offload
from torch import Tensor

import tiny_pipelines as tiny
from uncertainty_nodes.core.options import (
    COARSE_STEP_SIZE,
    HALF_STEP_SIZE,
    AleatoricOptions,
    DrawOptions,
    GuidanceMode,
    GuidanceOptions,
    StepWindow,
)
from uncertainty_nodes.hosts.diffusers.attach import attach

RECORD = AleatoricOptions(draws=DrawOptions(samples=2), window=StepWindow())
pytestmark = pytest.mark.filterwarnings("ignore")  # diffusers' own deprecations


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("make", [tiny.sd, tiny.sd3, tiny.flux])
def test_pipelines_in_half_precision(make, dtype):
    pipe = make()
    pipe.pipe.to(dtype=dtype)
    half = {key: value.to(dtype) for key, value in pipe.inputs(2, 4.0).items() if isinstance(value, Tensor)}
    plain = pipe.draw(2, 4.0, **half)
    with attach(pipe.pipe, record=RECORD) as run:
        assert torch.equal(plain, pipe.draw(2, 4.0, **half))
    assert run.result().maps.dtype == torch.float32
    assert run.result().maps.isfinite().all()
    for mode in GuidanceMode:
        with attach(pipe.pipe, guide=GuidanceOptions(draws=DrawOptions(samples=2), mode=mode)):
            guided = pipe.draw(2, 4.0, **half)
        assert guided.dtype == dtype
        assert guided.isfinite().all()
        assert not torch.equal(plain, guided)


@pytest.mark.parametrize(("dtype", "step_size"), [(torch.float16, HALF_STEP_SIZE), (torch.bfloat16, COARSE_STEP_SIZE)])
def test_the_finite_difference_suits_the_precision(dtype, step_size):
    pipe, guided = tiny.sd(), []
    pipe.pipe.to(dtype=dtype)
    half = {key: value.to(dtype) for key, value in pipe.inputs(1, 1.0).items() if isinstance(value, Tensor)}
    for size in (GuidanceOptions().step_size, step_size, 2 * step_size):
        with attach(pipe.pipe, guide=GuidanceOptions(mode=GuidanceMode.FORWARD, step_size=size)):
            guided.append(pipe.draw(1, **half))
    assert torch.equal(guided[0], guided[1])
    assert not torch.equal(guided[0], guided[2])


def test_weights_that_are_offloaded_between_calls():
    pipe = tiny.sd()
    guide = GuidanceOptions(draws=DrawOptions(samples=2))
    outcomes = []
    for offloaded in (False, True):
        if offloaded:
            for part in (pipe.network, pipe.pipe.vae):
                cpu_offload(part, execution_device=torch.device("cpu"))
            assert next(pipe.network.parameters()).device.type == "meta"
        with attach(pipe.pipe, record=RECORD, guide=guide) as run:
            outcomes.append((pipe.draw(2, 4.0), run.result().scores))
    assert torch.equal(outcomes[0][0], outcomes[1][0])
    assert torch.equal(outcomes[0][1], outcomes[1][1])


@pytest.mark.parametrize("in_place", [False, True])
def test_compiled_networks(in_place):
    pipe = tiny.sd3()
    guide = GuidanceOptions(draws=DrawOptions(samples=2))
    outcomes = []
    for compiled in (False, True):
        if compiled and in_place:
            pipe.network.compile(backend="eager")
        elif compiled:
            pipe.pipe.transformer = torch.compile(pipe.network, backend="eager")
        with attach(pipe.pipe, record=RECORD, guide=guide) as run:
            outcomes.append((pipe.draw(2, 4.0), run.result().scores))
    torch.compiler.reset()
    assert torch.equal(outcomes[0][0], outcomes[1][0])
    assert torch.equal(outcomes[0][1], outcomes[1][1])
