"""One image of a batch is NaN: it scores NaN, ranks worst, is rejected and named in one line; the others stay bit for bit."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from references_bayes import TinyUNet, clean_samples, fitted
from uncertainty_nodes.core.denoiser import Prediction, Process
from uncertainty_nodes.core.ensemble.estimate import estimate_ensemble
from uncertainty_nodes.core.ensemble.paide import Outcomes, per_image, per_pixel
from uncertainty_nodes.core.ensemble.samplers import ode_sampler, one_by_one
from uncertainty_nodes.core.guidance.gradient_check import gradient_mismatch
from uncertainty_nodes.core.guidance.step import guide_step
from uncertainty_nodes.core.guidance.step_thresholds import StepThresholds
from uncertainty_nodes.core.last_layer.bayesdiff import Propagation
from uncertainty_nodes.core.last_layer.generative import estimate_generative
from uncertainty_nodes.core.last_layer.linear_steps import ddim_step
from uncertainty_nodes.core.options import (
    AleatoricOptions,
    BayesDiffOptions,
    Center,
    Direction,
    DrawOptions,
    DropoutOptions,
    EnsembleOptions,
    FilterRule,
    GenerativeOptions,
    GuidanceMode,
    GuidanceOptions,
    GuidanceUnits,
    HeatmapOptions,
    HeatmapScale,
    InformationOptions,
    Moment,
    Pooling,
)
from uncertainty_nodes.core.pixelwise.aleatoric import Recorder, estimate_aleatoric
from uncertainty_nodes.core.pixelwise.information import condition_posterior, estimate_information, part_information
from uncertainty_nodes.core.pixelwise.mc_dropout import estimate_dropout
from uncertainty_nodes.core.pixelwise.phrases import weakest
from uncertainty_nodes.core.pixelwise.quadrature import trapezoid
from uncertainty_nodes.core.result import Uncertainty, concatenate
from uncertainty_nodes.core.selection.calibration import Calibration
from uncertainty_nodes.core.selection.combine import combine
from uncertainty_nodes.core.selection.filtering import decide
from uncertainty_nodes.core.view.heatmap import heatmap, worst_mask
from uncertainty_nodes.core.view.summary import summarize

SHAPE = (2, 4, 4)
PLACES = [(1, 0), *((8, place) for place in range(8))]  # batch, failed image
SIGMAS = [0.6, 0.3]


class Model:
    """An elementwise denoiser that gives NaN for one image of a batch, whatever it is asked there."""

    def __init__(self, batch: int, failed: int | None = None, shift: float = 0.0) -> None:
        self.batch, self.failed, self.shift = batch, failed, shift

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        x0 = torch.tanh(x * (1 + self.shift)) + self.shift + 0.1 * x.square()
        if self.failed is None:
            return x0
        bad = (torch.arange(len(x)) % self.batch == self.failed).view(-1, 1, 1, 1)
        return torch.where(bad, math.nan, x0)


def images(batch: int) -> Tensor:
    return torch.randn(batch, *SHAPE, generator=torch.Generator().manual_seed(5))


def spoil(x: Tensor, failed: int | None) -> Tensor:
    return x if failed is None else x.index_fill(0, torch.tensor([failed]), math.nan)


def aleatoric(batch: int, failed: int | None, by_model: bool, **options) -> Uncertainty:
    model, x = (Model(batch, failed), images(batch)) if by_model else (Model(batch), spoil(images(batch), failed))
    return estimate_aleatoric(model, x, SIGMAS, Process.VP, AleatoricOptions(DrawOptions(3, micro_batch=2), **options))


def recorded(batch: int, failed: int | None, by_model: bool) -> Uncertainty:
    """A run whose image fails at its second step."""
    recorder, x = Recorder(AleatoricOptions(DrawOptions(3)), Process.VP), images(batch)
    for step, sigma in enumerate(SIGMAS):
        now = failed if step else None
        model = Model(batch, now if by_model else None)
        recorder.measure(model, x, spoil(model(x, x), None if by_model else now), torch.tensor(sigma), step)
    return recorder.result()


def information(batch: int, failed: int | None, by_model: bool) -> Uncertainty:
    x, of = (images(batch), failed) if by_model else (spoil(images(batch), failed), None)
    quadrature, options = trapezoid(SIGMAS, Process.VP), InformationOptions(DrawOptions(2, antithetic=True))
    models = [Model(batch, of, shift) for shift in (0.1, 0.2, 0.0)]
    parts = part_information(models[2], models[:2], x, quadrature, Process.VP, options)
    probabilities = condition_posterior(models[:2], models[2], x, quadrature, Process.VP, options).probabilities
    assert probabilities.isnan().any(dim=1).tolist() == [image == failed for image in range(batch)]
    single = estimate_information(models[0], models[2], x, quadrature, Process.VP, options).result
    assert weakest(parts).result.scores.isnan().tolist() == probabilities.isnan().any(dim=1).tolist()
    return single


def dropout(batch: int, failed: int | None, by_model: bool) -> Uncertainty:
    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model, self.dropout = Model(batch, failed if by_model else None), nn.Dropout(0.3)

        def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
            return self.model(self.dropout(x), sigma)

    network, x = Network(), images(batch) if by_model else spoil(images(batch), failed)
    return estimate_dropout(network, network, x, SIGMAS, Process.VP, DropoutOptions(DrawOptions(3)))


def generative(batch: int, failed: int | None, by_model: bool) -> Uncertainty:
    torch.manual_seed(0)
    network = TinyUNet().eval()
    laplace, x, calls = fitted(network, SHAPE), clean_samples(batch, *SHAPE), []

    @torch.no_grad()
    def sample() -> Tensor:
        calls.append(1)
        out = network(x, torch.ones(batch) / 2)
        return spoil(out, failed) if by_model == (len(calls) == 2) or not by_model else out

    def encode(seen: Tensor) -> Tensor:
        assert seen.isfinite().all(), "an encoder may not be able to take NaN"
        return seen.flatten(1)[:, :5]

    return estimate_generative(sample, encode, network, laplace, GenerativeOptions(members=2)).result


def bayesdiff(batch: int, failed: int | None, by_model: bool) -> Uncertainty:
    run = Propagation(BayesDiffOptions(DrawOptions(3)), Process.VP, Prediction.EPS)
    x, levels = images(batch), [0.9, 0.6, 0.3, 0.0]
    for step, (sigma, after) in enumerate(zip(levels, levels[1:], strict=False)):
        now = failed if step else None
        linear, variance = ddim_step(sigma, after, Process.VP, Prediction.EPS), 0.01 * x.square().nan_to_num()
        x = x if by_model else spoil(x, now)
        run.check(x)
        level = torch.full((batch,), sigma)
        run.advance(Model(batch), x, level, linear, lambda v=variance, n=now: spoil(v, n) if by_model else v)
        y = torch.sin(x)
        run.expect(x, y, level, linear)
        x = linear.a * x + linear.b * y
    assert not run.off
    return run.result()


def ensemble(batch: int, failed: int | None, by_model: bool, moment: Moment = Moment.LAST) -> Uncertainty:
    x = images(batch) if by_model else spoil(images(batch), failed)
    denoisers = [Model(batch, failed if by_model and k == 1 else None, 0.1 * k) for k in range(3)]
    sampler = ode_sampler(one_by_one(denoisers), [0.9, 0.5, 0.1, 0.0], Process.VP)
    options = EnsembleOptions(0.0, moment=moment)
    return estimate_ensemble(sampler, x, ["a", "b", "c"], [0.9, 0.5, 0.1, 0.0], Process.VP, 1, options).information


ESTIMATORS = {
    "aleatoric": aleatoric,
    "around the prediction": lambda *case: aleatoric(*case, center=Center.PREDICTION),
    "upper tail": lambda *case: aleatoric(*case, pooling=Pooling.UPPER_TAIL),
    "recorded": recorded,
    "information": information,
    "dropout": dropout,
    "generative": generative,
    "bayesdiff": bayesdiff,
    "ensemble": ensemble,
    "ensemble, first step": lambda *case: ensemble(*case, moment=Moment.FIRST),
    "ensemble, all steps": lambda *case: ensemble(*case, moment=Moment.MEAN),
}


@pytest.mark.parametrize("by_model", [False, True], ids=["image", "model"])
@pytest.mark.parametrize(("batch", "failed"), PLACES)
@pytest.mark.parametrize("name", ESTIMATORS)
def test_every_estimator(name, batch, failed, by_model):
    whole, found = (ESTIMATORS[name](batch, image, by_model) for image in (None, failed))
    others = [image for image in range(batch) if image != failed]
    assert whole.scores.isfinite().all() and "failed" not in whole.provenance
    assert found.scores[failed].isnan()
    for a, b in ((whole.scores, found.scores), (whole.maps, found.maps), (whole.curve.T, found.curve.T)):
        assert torch.equal(a[others], b[others])
    named = f"Image {failed + 1} of {batch} failed" if batch > 1 else "The image failed"
    assert found.provenance["failed"].startswith(named) and "\n" not in found.provenance["failed"]
    assert summarize(found)["ranks"][failed] == batch
    decision = decide(found.scores, found.direction, FilterRule.KEEP_BEST_COUNT, batch)
    assert decision.accepted == tuple(others) and decision.rejected == (failed,)


@pytest.mark.parametrize("units", list(GuidanceUnits))
@pytest.mark.parametrize("mode", list(GuidanceMode))
@pytest.mark.parametrize("percentile", [0.0, 50.0])
@pytest.mark.parametrize(("batch", "failed"), PLACES)
def test_guidance_moves_the_others_as_without_it(mode, units, percentile, batch, failed):
    options = GuidanceOptions(0.1, percentile, DrawOptions(3), mode=mode, units=units, orthogonal=True)
    x = images(batch)
    x0 = Model(batch)(x, x)

    def step(model: Model, x: Tensor, x0: Tensor) -> Tensor:
        return guide_step(model, x, x0, torch.tensor(0.5), Process.VP, options, 0).x0

    whole, others = step(Model(batch), x, x0), [image for image in range(batch) if image != failed]
    spoiled = step(Model(batch), spoil(x, failed), spoil(x0, failed))
    assert spoiled[failed].isnan().all() and torch.equal(spoiled[others], whole[others])
    failing = step(Model(batch, failed), x, x0)  # under the redraws alone
    assert torch.equal(failing[failed], x0[failed]) and torch.equal(failing[others], whole[others])


@pytest.mark.parametrize("failed", range(8))
def test_a_gradient_is_checked_on_the_others(failed):
    x0, level, z = images(8), torch.full((8,), 0.5), torch.randn(2, 1, *SHAPE)
    g, others = torch.randn(8, *SHAPE), [image for image in range(8) if image != failed]
    without = gradient_mismatch(Model(7), x0[others], g[others], level[others], Process.VP, z, 1e-2)
    assert gradient_mismatch(Model(8, failed), x0, spoil(g, failed), level, Process.VP, z, 1e-2) == pytest.approx(without, rel=1e-6)
    assert gradient_mismatch(Model(1, 0), x0[:1], spoil(g[:1], 0), level[:1], Process.VP, z, 1e-2) == 1.0


@pytest.mark.parametrize("failed", range(8))
def test_members_are_compared_image_by_image(failed):
    points = torch.randn(3, 8, *SHAPE)
    broken, others = points.clone(), [image for image in range(8) if image != failed]
    broken[1, failed, 0, 0, 0] = math.nan
    whole, found = per_image(Outcomes(points)), per_image(Outcomes(broken))
    assert found.information[failed].isnan() and torch.equal(found.information[others], whole.information[others])
    assert per_pixel(Outcomes(broken)).distance.isnan().sum() == 1


def result(batch: int, failed: int | None, seed: int = 0) -> Uncertainty:
    generator = torch.Generator().manual_seed(seed)
    maps = torch.rand(batch, *SHAPE, generator=generator)
    if failed is not None:
        maps[failed, 0, 0, 0] = math.nan  # one pixel is enough
    scores = maps.flatten(1).mean(1)
    return Uncertainty(maps, scores, scores[None], torch.ones(1), Direction.HIGH_IS_BAD, "denoised", 1.0, 1.0)


@pytest.mark.parametrize(("batch", "failed"), PLACES)
def test_what_follows_takes_the_others_as_if_it_were_not_there(batch, failed):
    found, second, others = result(batch, failed), result(batch, None, 1), [image for image in range(batch) if image != failed]
    joined = combine([found, second], [1.0, 0.5])
    assert joined.scores[failed].isnan() and joined.maps[failed].isnan().all()
    heat = HeatmapOptions(scale=HeatmapScale.BATCH)
    if others:
        without = combine([found.select(others), second.select(others)], [1.0, 0.5])
        assert torch.equal(joined.scores[others], without.scores) and torch.equal(joined.maps[others], without.maps)
        assert joined.provenance["failed"].startswith(f"Image {failed + 1} of {batch}")
        assert torch.equal(heatmap(found.bad_maps, heat)[others], heatmap(found.bad_maps[others], heat))
        assert torch.equal(worst_mask(found.bad_maps, 90, 4, 4)[others], worst_mask(found.bad_maps[others], 90, 4, 4))
        history, alone = (Calibration.fit([r.scores], r.direction, r.quantity) for r in (found, found.select(others)))
        assert torch.equal(history.scores, alone.scores)
        shares = decide(found.scores, found.direction, FilterRule.THRESHOLD, 9.0)
        assert shares.accepted == tuple(others)
    tables = [StepThresholds("denoised") for _ in range(2)]
    tables[0].add(1.0, found.maps)
    tables[1].add(1.0, found.maps[others])
    assert torch.equal(tables[0].counts[1.0], tables[1].counts[1.0])
    assert heatmap(found.bad_maps, heat).isfinite().all()


def test_the_line_follows_selection_and_joining():
    found = result(8, 3)
    assert "failed" not in found.select([0, 1]).provenance
    assert found.select([5, 3]).provenance["failed"].startswith("Image 2 of 2 failed")
    both = concatenate([found, result(8, 0, 1)])
    assert both.provenance["failed"].startswith("Images 4, 9 of 16 failed") and both.provenance["failed"].endswith("are rejected.")


def test_an_infinite_score_is_none(tmp_path):
    found = result(2, None)
    curve = torch.tensor([[math.inf, 1.0], [1.0, 1.0]])
    broken = Uncertainty(found.maps / 0, curve.mean(0), curve, torch.ones(2), found.direction, "denoised", 1.0, 1.0)
    assert broken.scores.isnan().tolist() == [True, False]
    broken.save(tmp_path / "x")
    assert Uncertainty.load(tmp_path / "x").provenance == broken.provenance
