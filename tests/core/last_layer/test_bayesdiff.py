"""BayesDiff: the samplers' coefficients against diffusers, and the variance against brute force over trajectories."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from references import ConvDenoiser, GaussianDenoiser, alpha_at
from references_bayes import TinyUNet, clean_samples, fitted
from uncertainty_nodes.core.denoiser import Prediction, Process, output_from_x0, x0_from_output
from uncertainty_nodes.core.draws import noise
from uncertainty_nodes.core.last_layer.bayesdiff import Propagation
from uncertainty_nodes.core.last_layer.linear_steps import LinearStep, ddim_step, dpmpp_2m_step
from uncertainty_nodes.core.options import BayesDiffOptions, Direction, DrawOptions, Pooling

PARAMETRISATIONS = [
    (Process.VP, Prediction.EPS),
    (Process.VP, Prediction.V),
    (Process.VE, Prediction.EPS),
    (Process.VE, Prediction.X0),
    (Process.FLOW, Prediction.FLOW),
]
SIGMAS = {
    Process.VP: [0.98, 0.9, 0.6, 0.3, 0.1, 0.0],
    Process.VE: [8.0, 3.0, 1.0, 0.4, 0.1, 0.0],
    Process.FLOW: [0.95, 0.8, 0.5, 0.3, 0.1, 0.0],
}


def options(samples=10, every=1, **draws):
    return BayesDiffOptions(DrawOptions(samples, **draws), every)


def plan(process, prediction, solver) -> list[LinearStep]:
    s = SIGMAS[process]
    if solver == "ddim":
        return [ddim_step(a, b, process, prediction) for a, b in zip(s, s[1:], strict=False)]
    return [dpmpp_2m_step(a, b, s[i - 1] if i else None, process, prediction) for i, (a, b) in enumerate(zip(s, s[1:], strict=False))]


# the steps


def test_ddim_in_the_formulas_of_each_parametrisation():
    a, b = math.sqrt(1 - 0.8**2), math.sqrt(1 - 0.5**2)
    steps = [ddim_step(0.8, 0.5, process, prediction) for process, prediction in PARAMETRISATIONS]
    expected = [
        (b / a, 0.5 - 0.8 * b / a),  # x' = alpha' (x - sigma eps) / alpha + sigma' eps
        (b * a + 0.5 * 0.8, 0.5 * a - 0.8 * b),  # a rotation by the angle between the levels
        (1.0, 0.5 - 0.8),  # Euler's step
        (0.5 / 0.8, 1 - 0.5 / 0.8),
        (1.0, 0.5 - 0.8),
    ]
    assert [(s.a, s.b) for s in steps] == [pytest.approx(e) for e in expected]
    assert all(s.c == 0 for s in steps)


@pytest.mark.parametrize("prediction", [Prediction.EPS, Prediction.V])
@pytest.mark.parametrize("solver", ["ddim", "dpm++ 2m"])
def test_steps_are_those_of_diffusers(solver, prediction):
    diffusers = pytest.importorskip("diffusers")
    settings = {"beta_schedule": "scaled_linear", "prediction_type": prediction.value}
    if solver == "ddim":
        scheduler = diffusers.DDIMScheduler(**settings, clip_sample=False, set_alpha_to_one=False)
        scheduler.set_timesteps(6)
        sigmas = [float((1 - scheduler.alphas_cumprod[t]).sqrt()) for t in [*scheduler.timesteps, 0]]
    else:
        scheduler = diffusers.DPMSolverMultistepScheduler(**settings, algorithm_type="dpmsolver++", solver_order=2, solver_type="midpoint")
        scheduler.set_timesteps(6)
        sigmas = [float(s / math.sqrt(1 + s * s)) for s in scheduler.sigmas.tolist()]
    x, clean = torch.randn(1, 2, 3, 3), torch.zeros(1, 2, 3, 3)
    for i, t in enumerate(scheduler.timesteps):
        y, before = torch.randn_like(x), sigmas[i - 1] if i else None
        expected = scheduler.step(y, t, x).prev_sample
        args = (sigmas[i], sigmas[i + 1])
        step = ddim_step(*args, Process.VP, prediction) if solver == "ddim" else dpmpp_2m_step(*args, before, Process.VP, prediction)
        torch.testing.assert_close(step.a * x + step.b * y + step.c * clean, expected, rtol=1e-3, atol=1e-3)
        x, clean = expected, step.clean[0] * x + step.clean[1] * y


@pytest.mark.parametrize(("process", "prediction"), PARAMETRISATIONS)
@pytest.mark.parametrize("solver", ["ddim", "dpm++ 2m"])
def test_steps_ask_for_the_same_path_in_every_parametrisation(process, prediction, solver):
    """With the exact denoiser of one Gaussian, x' is one function of x, whatever the network's output is called."""
    denoise = GaussianDenoiser(process)
    x = y = torch.randn(2, 1, 2, 2, dtype=torch.float64)
    before = clean = torch.zeros_like(x)
    s = SIGMAS[process]
    for i, step in enumerate(plan(process, prediction, solver)):
        sigma = torch.full((2,), s[i], dtype=torch.float64)
        x0 = denoise(y, sigma)
        output = output_from_x0(denoise(x, sigma), x, sigma, process, prediction)
        x, clean = step.a * x + step.b * output + step.c * clean, step.clean[0] * x + step.clean[1] * output
        torch.testing.assert_close(clean, x0)
        if solver == "ddim" or i == 0 or s[i + 1] == 0:
            y = alpha_at(process, s[i + 1]) * x0 + s[i + 1] * (y - alpha_at(process, s[i]) * x0) / s[i]
        else:
            past, now, then = (math.log(alpha_at(process, v) / v) for v in s[i - 1 : i + 2])
            d = x0 + (x0 - before) * (then - now) / (now - past) / 2
            y = s[i + 1] / s[i] * y + alpha_at(process, s[i + 1]) * (1 - math.exp(now - then)) * d
        before = x0
        torch.testing.assert_close(x, y)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: ddim_step(0.5, 0.6, Process.VP, Prediction.EPS), "must not raise the noise level or pass 0, got 0.5 to 0.6"),
        (lambda: ddim_step(0.5, -0.1, Process.VP, Prediction.EPS), "must not raise the noise level or pass 0"),
        (lambda: ddim_step(1.0, 0.5, Process.FLOW, Prediction.EPS), "At sigma 1 nothing of the image is left for prediction 'epsilon'"),
        (lambda: ddim_step(1.0, 0.5, Process.VE, Prediction.V), "v-prediction is defined in VP"),
        (lambda: dpmpp_2m_step(0.5, 0.3, 0.4, Process.VP, Prediction.EPS), "level before 0.5 must be higher"),
        (lambda: dpmpp_2m_step(0.5, 0.3, 1.0, Process.FLOW, Prediction.FLOW), "leave some of the image, got 1; pass None"),
    ],
)
def test_impossible_steps_are_refused(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


def test_flow_begins_at_pure_noise():
    step = ddim_step(1.0, 0.9, Process.FLOW, Prediction.FLOW)
    assert (step.a, step.b) == pytest.approx((1.0, -0.1))


# the variance


def propagate(denoise, x, process, prediction, steps, known, options):
    """Run a sampler and its propagation: output variance ``known[i]`` at step i."""
    run = Propagation(options, process, prediction)
    clean = torch.zeros_like(x)
    for i, step in enumerate(steps):
        sigma = torch.full((len(x),), SIGMAS[process][i])
        run.advance(denoise, x, sigma, step, lambda i=i: known[i])
        y = output_from_x0(denoise(x, sigma), x, sigma, process, prediction)
        x, clean = step.a * x + step.b * y + step.c * clean, step.clean[0] * x + step.clean[1] * y
    return run


@pytest.mark.parametrize(("process", "prediction"), PARAMETRISATIONS)
@pytest.mark.parametrize("solver", ["ddim", "dpm++ 2m"])
def test_variance_is_that_of_brute_force_over_trajectories(process, prediction, solver):
    """A linear denoiser whose output is off by Gaussian noise of its own at every step: 8,000 whole samplings."""
    denoise, steps = GaussianDenoiser(process), plan(process, prediction, solver)
    x = torch.randn(1, 1, 8, 8)
    known = [0.01 * (1 + i) * (1 + torch.rand(1, 1, 8, 8)) for i in range(len(steps))]

    def whole(x, sigma):  # at one level for all rows
        alpha, k = alpha_at(process, float(sigma[0])), denoise.gain(float(sigma[0]))
        return denoise.mean + k * (x - alpha * denoise.mean)

    found = propagate(whole, x, process, prediction, steps, known, options()).result().maps

    xs, clean = x.repeat(8000, 1, 1, 1), torch.zeros(8000, 1, 8, 8)
    for i, step in enumerate(steps):
        sigma = torch.full((8000,), SIGMAS[process][i])
        y = output_from_x0(whole(xs, sigma), xs, sigma, process, prediction) + known[i].sqrt() * torch.randn_like(xs)
        x0_drawn = x0_from_output(y, xs, sigma, process, prediction)
        xs, clean = step.a * xs + step.b * y + step.c * clean, x0_drawn
    ratio = found[0] / xs.var(dim=0)
    assert float(ratio.mean()) == pytest.approx(1, abs=0.01)
    assert float((ratio - 1).abs().max()) < 6 * math.sqrt(2 / 8000)


def test_one_step_is_exact_for_a_network_that_mixes_pixels():
    network = ConvDenoiser(2)
    x, sigma, step = torch.randn(1, 2, 4, 4), torch.tensor([0.6]), ddim_step(0.6, 0.3, Process.VP, Prediction.EPS)
    known, before = 0.02 * torch.rand(1, 2, 4, 4), 0.3 * torch.rand(1, 2, 4, 4)
    run = Propagation(options(1024, micro_batch=1024), Process.VP, Prediction.EPS, state=torch.zeros(2, 2, 1, 2, 4, 4))
    run.state[0, 0] = before
    with torch.no_grad():
        found = run.advance(network, x, sigma, step, lambda: known)
        xs = x + before.sqrt() * torch.randn(40000, 2, 4, 4)
        eps = (xs - 0.8 * network(xs, torch.full((40000,), 0.6))) / 0.6 + known.sqrt() * torch.randn(40000, 2, 4, 4)
    ratio = found[0] / (step.a * xs + step.b * eps).var(dim=0)
    assert float(ratio.mean()) == pytest.approx(1, abs=0.03)
    assert float((ratio - 1).abs().max()) < 0.3


def test_equals_a_loop_with_the_same_draws():
    """Regression of eps on x, pixel by pixel, at the second step of DDIM: the slope carries Var[x], and the rest adds to Var[eps]."""
    network, x, o = ConvDenoiser(2), torch.randn(2, 2, 3, 3), options(4, seed=9)
    step = ddim_step(0.6, 0.3, Process.VP, Prediction.EPS)
    run, known = Propagation(o, Process.VP, Prediction.EPS), torch.rand(2, 2, 3, 3)
    with torch.no_grad():
        before = run.advance(network, x, torch.tensor(0.6), step, lambda: known).clone()
        torch.testing.assert_close(before, step.b**2 * known)
        found = run.advance(network, x, torch.tensor(0.3), ddim_step(0.3, 0.1, Process.VP, Prediction.EPS), lambda: known)
        z = noise(o.draws, 1, x)
        xs = [x + before.sqrt() * z_s for z_s in z]
        eps = [(x_s - math.sqrt(1 - 0.09) * network(x_s, torch.tensor([0.3, 0.3]))) / 0.3 for x_s in xs]
    step, expected = ddim_step(0.3, 0.1, Process.VP, Prediction.EPS), torch.zeros_like(x)
    for pixel in np.ndindex(*x.shape):
        line, left, *_ = np.polyfit([float(v[pixel]) for v in xs], [float(v[pixel]) for v in eps], 1, full=True)
        expected[pixel] = (step.a + step.b * line[0]) ** 2 * before[pixel] + step.b**2 * (known[pixel] + left[0] / (4 - 2))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-6)


def test_skipped_steps_only_scale_and_cost_nothing():
    process, prediction = Process.VP, Prediction.EPS
    steps, denoise, x = plan(process, prediction, "ddim"), GaussianDenoiser(process), torch.randn(3, 1, 4, 4)
    asked, run = [], Propagation(options(6, every=2), process, prediction)
    maps, costs = [], []
    for i, step in enumerate(steps):
        maps.append(
            run.advance(denoise, x, torch.tensor(SIGMAS[process][i]), step, lambda i=i: asked.append(i) or torch.ones_like(x)).clone()
        )
        costs.append(run.nfe)
    assert asked == [0, 2, 4] and costs == [0, 0, 6, 6, 12]
    torch.testing.assert_close(maps[1], steps[1].a ** 2 * maps[0])
    torch.testing.assert_close(maps[3], steps[3].a ** 2 * maps[2])
    result = run.result({"host": "test"})
    assert result.nfe == 12 and result.direction is Direction.HIGH_IS_BAD and result.quantity == "bayesdiff"
    assert torch.equal(result.maps, maps[-1]) and result.curve.shape == (5, 3) and result.provenance["host"] == "test"
    torch.testing.assert_close(result.scores, maps[-1].flatten(1).sum(1))


def test_neighbours_and_micro_batches_do_not_matter():
    process, prediction = Process.FLOW, Prediction.FLOW
    network, steps, x = ConvDenoiser(2), plan(process, prediction, "dpm++ 2m"), torch.randn(3, 2, 4, 4)
    known = [torch.rand(3, 2, 4, 4) for _ in steps]
    with torch.no_grad():
        whole = propagate(network, x, process, prediction, steps, known, options(5)).result()
        alone = propagate(network, x[1:2], process, prediction, steps, [k[1:2] for k in known], options(5, micro_batch=3)).result()
    torch.testing.assert_close(whole.maps[1:2], alone.maps, rtol=1e-4, atol=1e-6)
    assert whole.nfe == alone.nfe == 4 * 5  # nothing to draw at the first step


def test_variance_of_a_fitted_model_goes_to_zero_with_its_prior():
    network = TinyUNet().eval()
    laplace, x = fitted(network, (2, 4, 4)), clean_samples(2, 2, 4, 4)
    steps, totals = plan(Process.VP, Prediction.EPS, "ddim"), []
    for precision in (1.0, 1e4, 1e8, math.inf):
        posterior = replace(laplace, options=replace(laplace.options, prior_precision=precision)).posterior(network)
        run, xs = Propagation(options(4), Process.VP, Prediction.EPS), x
        for i, step in enumerate(steps):
            s = SIGMAS[Process.VP][i]
            sigma = torch.full((2,), s)
            eps, variance = posterior.predict(lambda xs=xs, sigma=sigma: network(xs, sigma))
            denoise = lambda x, sigma: (x - sigma[0] * network(x, sigma)) / (1 - sigma[0] ** 2).sqrt()  # noqa: E731
            with torch.no_grad():
                run.advance(denoise, xs, sigma, step, lambda v=variance: v)
                assert torch.equal(eps, network(xs, sigma))
            xs = step.a * xs + step.b * eps
        totals.append(float(run.result().scores.sum()))
    assert totals[0] > totals[1] > totals[2] > 0 == totals[3]
    assert run.nfe == 0


def test_pooling_is_an_option():
    x = torch.randn(2, 1, 4, 4)
    run = Propagation(BayesDiffOptions(pooling=Pooling.MEAN), Process.VP, Prediction.EPS)
    run.advance(
        GaussianDenoiser(Process.VP), x, torch.tensor(0.6), ddim_step(0.6, 0.3, Process.VP, Prediction.EPS), lambda: torch.rand_like(x)
    )
    torch.testing.assert_close(run.result().scores, run.result().maps.flatten(1).mean(1))


@pytest.mark.parametrize(
    ("variance", "sentence"),
    [
        (torch.ones(1, 1, 4, 4), r"must have the shape of x, \(2, 1, 4, 4\), got \(1, 1, 4, 4\)"),
        (-torch.ones(2, 1, 4, 4), "must not be negative"),
    ],
)
def test_what_is_no_variance_is_refused(variance, sentence):
    run = Propagation(BayesDiffOptions(), Process.VP, Prediction.EPS)
    step = ddim_step(0.6, 0.3, Process.VP, Prediction.EPS)
    with pytest.raises(ValueError, match=sentence):
        run.advance(GaussianDenoiser(Process.VP), torch.zeros(2, 1, 4, 4), torch.tensor(0.6), step, lambda: variance)
    with pytest.raises(ValueError, match="No step was taken"):
        Propagation(BayesDiffOptions(), Process.VP, Prediction.EPS).result()
