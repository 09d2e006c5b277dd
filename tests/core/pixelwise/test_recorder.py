"""A run's steps, gathered: maps, scores, curve, cost and how it was made."""

from __future__ import annotations

import pytest
import torch

from references import Calls, ConvDenoiser
from uncertainty_nodes.core.denoiser import Process
from uncertainty_nodes.core.options import AleatoricOptions, Center, Direction, DrawOptions, Pooling, Quantity, StepWindow
from uncertainty_nodes.core.pixelwise.aleatoric import Recorder, Spread
from uncertainty_nodes.core.result import pool


def recorded(options: AleatoricOptions, sigmas: list[float], passes: int = 1, calls: Calls | None = None) -> tuple[Recorder, list[Spread]]:
    recorder, spreads = Recorder(options, Process.VP), []
    x, x0 = torch.randn(3, 3, 8, 8), torch.randn(3, 3, 8, 8)
    with torch.no_grad():
        for step, sigma in enumerate(sigmas):
            spreads.append(recorder.measure(calls or ConvDenoiser(3), x, x0, torch.tensor(sigma), step, passes))
    return recorder, spreads


@pytest.mark.parametrize("asked", [None, *Quantity])
@pytest.mark.parametrize("quantity", Quantity)
@pytest.mark.parametrize("pooling", Pooling)
def test_a_recorded_run_is_the_mean_of_its_steps(pooling, quantity, asked):
    recorder, spreads = recorded(AleatoricOptions(quantity=quantity, pooling=pooling), [0.9, 0.5, 0.2])
    result, quantity = recorder.result(quantity=asked), asked or quantity
    steps = [spread[quantity] for spread in spreads]
    assert torch.allclose(result.maps, sum(steps) / 3)
    assert torch.allclose(result.curve, torch.stack([pool(step, pooling) for step in steps]))
    assert torch.allclose(result.scores, sum(result.curve) if pooling is Pooling.SUM else sum(result.curve) / 3)
    assert result.sigmas.tolist() == pytest.approx([0.9, 0.5, 0.2])
    assert result.quantity == quantity.value
    assert result.direction is (Direction.LOW_IS_BAD if quantity is Quantity.NOISE else Direction.HIGH_IS_BAD)


def test_recording_leaves_the_steps_maps_alone():
    recorder, spread = Recorder(AleatoricOptions(), Process.VP), Spread(torch.ones(1, 2), torch.ones(1, 2))
    for _ in range(3):
        recorder.add(spread, 0.5, 5, 0.1)
    recorder.result().maps.zero_()
    assert spread.denoised.tolist() == [[1.0, 1.0]]
    result = recorder.result()
    assert (result.maps.tolist(), result.nfe, result.seconds) == ([[1.0, 1.0]], 15, pytest.approx(0.3))


@pytest.mark.parametrize(("samples", "micro_batch", "steps", "passes"), [(2, 1, 1, 1), (5, 2, 3, 1), (4, 8, 2, 2)])
def test_reported_nfe_is_what_a_wrapper_counts(samples, micro_batch, steps, passes):
    calls = Calls(ConvDenoiser(3))
    result = recorded(AleatoricOptions(DrawOptions(samples, micro_batch=micro_batch)), [0.5] * steps, passes, calls)[0].result()
    assert result.nfe == calls.rows * passes / 3 == samples * steps * passes
    assert result.seconds > 0


def test_provenance_tells_how_it_was_made():
    draws, window = DrawOptions(4, seed=9, antithetic=True), StepWindow(0.25, 0.5, 2)
    options = AleatoricOptions(draws, window, center=Center.PREDICTION, pooling=Pooling.SUM)
    provenance = recorded(options, [0.5])[0].result({"host": "test"}).provenance
    expected = {"samples": "4", "seed": "9", "antithetic": "True", "window": "0.25-0.5 every 2", "center": "prediction", "pooling": "sum"}
    assert provenance == expected | {"method": "aleatoric", "process": "vp", "host": "test"}


def test_an_empty_window_is_a_sentence():
    with pytest.raises(ValueError, match=r"No step was measured: no sampling step lies between 0.1 and 0.2 .*Widen the window"):
        Recorder(AleatoricOptions(window=StepWindow(0.1, 0.2)), Process.VP).result()
