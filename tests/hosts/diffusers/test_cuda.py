"""On a real GPU, in half precision too: what only its memory and its arithmetic can show. The CPU's results are the reference."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from diffusers import EulerAncestralDiscreteScheduler
from torch import Tensor

from demo_draws import GUIDE, RECORD, draw
from uncertainty_nodes.core.options import (
    AleatoricOptions,
    BestOfOptions,
    DrawOptions,
    FreeOptions,
    InformationOptions,
    Quantity,
    Scorer,
    SearchMode,
)
from uncertainty_nodes.core.search.seeds import derive_seed
from uncertainty_nodes.hosts.diffusers import attach, best_of
from uncertainty_nodes.hosts.diffusers.attach import score
from uncertainty_nodes.hosts.diffusers.demo import SHAPE, conditions, load_demo, sample
from uncertainty_nodes.hosts.diffusers.information import information
from uncertainty_nodes.hosts.diffusers.memory import MARGIN, VALUES_PER_POSITION, free_memory
from uncertainty_nodes.hosts.diffusers.search.best_of import DigitCandidates

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # diffusers' own deprecations
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU that torch can use (CUDA): run these tests on a machine that has one"),
]
IMAGES, STEPS = 4, 6
FOUR = DrawOptions(samples=4)
GIB = 2**30
TOLERANCES = {torch.float32: 2e-3, torch.float16: 1e-2, torch.bfloat16: 1e-1}  # relative; on a CPU halves stray by 0.004 and 0.03
Demo = tuple[Any, Any]


@pytest.fixture(autouse=True)
def whole_floats() -> Iterator[None]:
    """float32 is float32, not TF32; what a failed test cached is given back."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before
    torch.cuda.empty_cache()


@pytest.fixture(scope="module", params=TOLERANCES, ids=lambda dtype: str(dtype).removeprefix("torch."))
def gpu(request: pytest.FixtureRequest) -> Demo:
    return load_demo("cuda", request.param)


@pytest.fixture(scope="module")
def full() -> Demo:
    """In float32."""
    return load_demo("cuda")


def draw_on(network: Any, scheduler: Any, images: int = IMAGES, **more: Any) -> Tensor:
    """The images of ``draw`` on the network's device."""
    device = network.device
    noises = torch.cat([torch.randn((1, *SHAPE), generator=torch.Generator().manual_seed(i)) for i in range(images)])
    return sample(network, scheduler, noises.to(device), torch.arange(images, device=device), STEPS, **more)


def close(actual: Tensor, expected: Tensor, tolerance: float) -> None:
    torch.testing.assert_close(actual.cpu().float(), expected.cpu().float(), rtol=tolerance, atol=tolerance * float(expected.abs().mean()))


@pytest.mark.parametrize("quantity", [Quantity.DENOISED, Quantity.NOISE])
def test_scores_are_those_of_the_cpu(demo, gpu, quantity):
    images, cond, _ = finished(demo)
    options = AleatoricOptions(FOUR, quantity=quantity)
    expected = score(*demo, images, cond, options, 2)
    result = score(*gpu, *to_gpu(images, cond, dtype=gpu[0].dtype), options, 2)
    close(result.scores, expected.scores, TOLERANCES[gpu[0].dtype])
    assert result.nfe == expected.nfe and result.maps.dtype == torch.float32


def test_prompt_information_is_that_of_the_cpu(demo, gpu):
    images, cond, empty = finished(demo)
    options = InformationOptions(FOUR)
    expected = information(*demo, images, cond, empty, options).result.scores
    result = information(*gpu, *to_gpu(images, cond, empty, dtype=gpu[0].dtype), options).result.scores
    close(result, expected, TOLERANCES[gpu[0].dtype])


def test_a_recorded_run_has_the_scores_of_the_cpu(demo, gpu):
    expected = recorded(*demo)
    for mine, reference in zip(recorded(*gpu), expected, strict=True):
        close(mine, reference, 5 * TOLERANCES[gpu[0].dtype])  # the images themselves stray over the steps


def recorded(network: Any, scheduler: Any) -> list[Tensor]:
    results = []
    for record in (RECORD, FreeOptions()):
        with attach(network, scheduler, record=record) as run:
            draw_on(network, scheduler)
        results.append(run.result().scores)
    return results


def finished(demo: Demo) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
    return (draw_on(*demo), *conditions(torch.arange(IMAGES)))


def to_gpu(images: Tensor, *conds: dict[str, Tensor], dtype: torch.dtype) -> tuple[Any, ...]:
    return (images.to("cuda", dtype), *({name: value.to("cuda") for name, value in cond.items()} for cond in conds))


@pytest.mark.parametrize("watch", [{"record": RECORD}, {"record": FreeOptions()}, {"guide": replace(GUIDE, strength=0.0)}], ids=str)
def test_looking_and_strength_zero_change_no_bit(gpu, watch):
    plain = draw_on(*gpu)
    assert torch.equal(draw_on(*gpu, watch=attach(*gpu, **watch)), plain)
    assert torch.equal(draw_on(*gpu), plain)  # nothing sticks


def test_guidance_moves_the_images_as_on_the_cpu(demo, full):
    plain, guided = draw_on(*demo), draw_on(*demo, watch=attach(*demo, guide=GUIDE))
    moved = draw_on(*full, watch=attach(*full, guide=GUIDE))
    assert (guided - plain).abs().max() > 0.01
    torch.testing.assert_close(moved.cpu(), guided, atol=0.005, rtol=0)


def test_batch_neighbours_do_not_matter(demo, gpu):
    images, cond, _ = finished(demo)
    images, cond = to_gpu(images, cond, dtype=gpu[0].dtype)
    options = AleatoricOptions(FOUR)
    together = score(*gpu, images, cond, options, 2).scores
    alone = [score(*gpu, images[i : i + 1], {"class_labels": cond["class_labels"][i : i + 1]}, options, 2).scores for i in range(IMAGES)]
    close(together, torch.cat(alone), TOLERANCES[gpu[0].dtype])


def digits(network: Any, scheduler: Any) -> DigitCandidates:
    return DigitCandidates(network, scheduler, 3, STEPS, 1.5)


def drawn_alone(candidates: DigitCandidates, seed: int) -> Tensor:
    """The plain loop, with nothing of the search in it."""
    generator = torch.Generator().manual_seed(seed)
    noise, label = torch.randn((1, *SHAPE), generator=generator).to("cuda"), torch.tensor([candidates.label], device="cuda")
    return sample(candidates.target, candidates.scheduler, noise, label, STEPS, candidates.guidance, generator)


@pytest.mark.parametrize("scorer", Scorer)
def test_survivors_are_those_candidates_drawn_alone(gpu, scorer):
    options = BestOfOptions(candidates=4, points=(0.25, 0.5), fractions=(0.75, 0.5), keep=2, scorer=scorer, seed=5)
    candidates = digits(*gpu)
    best = best_of(candidates, options=options)
    assert len(best.kept) == 2 and best.seeds == tuple(derive_seed(5, row) for row in best.kept)
    assert torch.equal(best.images, torch.cat([drawn_alone(candidates, seed) for seed in best.seeds]))


def test_the_best_are_those_of_the_cpu(demo, full):
    options = BestOfOptions(candidates=6, points=(0.25,), fractions=(0.5,), keep=2, seed=5)
    expected, best = (best_of(digits(*each), options=options) for each in (demo, full))
    assert best.kept == expected.kept and best.network_rows == expected.network_rows
    for mine, reference in zip(best.rounds, expected.rounds, strict=True):
        close(mine.scores[Scorer.INFORMATION], reference.scores[Scorer.INFORMATION], 0.01)


def test_copies_differ_by_their_own_noise(full):
    network, own = full
    options = BestOfOptions(candidates=4, fractions=(1.0,), keep=4, mode=SearchMode.RESAMPLE, sharpness=50.0, seed=1)
    best = best_of(digits(network, EulerAncestralDiscreteScheduler.from_config(own.config)), options=options)
    assert len(set(best.lineage)) < 4 and len({image.cpu().numpy().tobytes() for image in best.images}) == 4


def test_free_memory_counts_what_torch_holds_in_reserve():
    device = torch.device("cuda")
    torch.cuda.empty_cache()
    before = free_memory(device)
    assert before <= torch.cuda.mem_get_info(device)[0] / MARGIN
    block = torch.empty(GIB, dtype=torch.uint8, device=device)
    assert before - free_memory(device) == pytest.approx(GIB / MARGIN, rel=0.1)
    del block  # torch keeps it
    assert torch.cuda.memory_reserved(device) >= GIB
    assert free_memory(device) == pytest.approx(before, abs=0.1 * GIB)


def test_a_call_takes_no_more_memory_than_the_rule_expects(gpu):
    network, _ = gpu
    rows = 64
    x = torch.zeros(rows, *SHAPE, device="cuda", dtype=network.dtype)

    def call() -> None:
        with torch.no_grad():
            network(x, torch.tensor(500, device="cuda"), class_labels=torch.zeros(rows, dtype=torch.long, device="cuda"))

    call()
    held = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    call()
    assert torch.cuda.max_memory_allocated() - held < rows * x[0].numel() * VALUES_PER_POSITION * x.element_size()


def peak_of(job: Callable[[], Any]) -> int:
    """Bytes that it has in use at once; torch may hold more in reserve, which it gives up before it runs out."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    job()
    return torch.cuda.max_memory_allocated()


@contextmanager
def limited_to(size: float) -> Iterator[None]:
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(size / torch.cuda.mem_get_info()[1])
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def test_draws_that_do_not_fit_go_on_in_smaller_calls(full, caplog):
    count, many = 128, 8
    images = draw(*load_demo(), 4).repeat(count // 4, 1, 1, 1).to("cuda")
    cond = {"class_labels": torch.arange(4, device="cuda").repeat(count // 4)}

    def scored(micro_batch: int) -> Tensor:
        return score(*full, images, cond, AleatoricOptions(DrawOptions(samples=many, micro_batch=micro_batch)), 1).scores

    expected = scored(many)
    whole, half = peak_of(lambda: scored(many)), peak_of(lambda: scored(many // 2))
    assert whole > half
    for asked in (many, 0):  # 0: the rule asks the GPU, which knows nothing of this limit
        caplog.clear()
        with limited_to((whole + half) / 2), caplog.at_level(logging.WARNING):
            scores = scored(asked)
        assert f"going on with {many // 2} draws per call" in caplog.text
        close(scores, expected, TOLERANCES[torch.float32])


def test_candidates_that_do_not_fit_start_again_in_smaller_calls(full, caplog):
    candidates, many = digits(*full), 256
    options = BestOfOptions(candidates=many, points=(0.5,), fractions=(0.25,), keep=2, micro_batch=many, seed=5)
    expected = best_of(candidates, options=options)
    whole, half = (peak_of(lambda size=size: best_of(candidates, options=replace(options, micro_batch=size))) for size in (many, many // 2))
    assert whole > half
    with limited_to((whole + half) / 2), caplog.at_level(logging.WARNING):
        best = best_of(candidates, options=options)
    assert f"starting again with {many // 2} candidates in a call" in caplog.text
    assert best.micro_batch <= many // 2 and best.kept == expected.kept
    torch.testing.assert_close(best.images, expected.images, atol=0.01, rtol=0)
    assert not full[0]._forward_hooks and not full[0]._forward_pre_hooks


def test_a_single_candidate_that_does_not_fit_is_an_error(full, caplog):
    with limited_to(1), everything_taken(), caplog.at_level(logging.WARNING), pytest.raises(torch.cuda.OutOfMemoryError):
        best_of(digits(*full), options=BestOfOptions(candidates=4, micro_batch=4))
    assert "with 2 candidates" in caplog.text and "with 1 candidates" in caplog.text
    assert not full[0]._forward_hooks and not full[0]._forward_pre_hooks
    assert len(best_of(digits(*full), 2).kept) == 1


@contextmanager
def everything_taken() -> Iterator[None]:
    """Of what torch may still have, in pieces that are smaller than anything the network makes."""
    blocks = []
    with contextlib.suppress(torch.cuda.OutOfMemoryError):
        while True:
            blocks.append(torch.empty(2**12, dtype=torch.uint8, device="cuda"))
    try:
        yield
    finally:
        blocks.clear()
