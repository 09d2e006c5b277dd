"""Prompt information on diffusers networks: the bundled model knows real digits it never saw, by information alone."""

from __future__ import annotations

import pytest
import torch
from accelerate import cpu_offload
from diffusers import DDIMInverseScheduler, FlowMatchEulerDiscreteScheduler, FluxTransformer2DModel
from torch import nn

from uncertainty_nodes.core.demo.extractor import load_reference
from uncertainty_nodes.core.denoiser import add_noise
from uncertainty_nodes.core.draws import noise
from uncertainty_nodes.core.options import Direction, DrawOptions, InformationOptions, StepWindow
from uncertainty_nodes.core.pixelwise.quadrature import window_quadrature
from uncertainty_nodes.hosts.diffusers.demo import CLASSES, NO_CLASS, load_demo
from uncertainty_nodes.hosts.diffusers.information import checklist, classify, each_class, information
from uncertainty_nodes.hosts.diffusers.space import Space

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # diffusers' use of numpy
CHEAP = InformationOptions(DrawOptions(2, antithetic=True, micro_batch=2), StepWindow(0.5, 0.5), levels=1)
TWO_LEVELS = InformationOptions(DrawOptions(2, antithetic=True), StepWindow(0.4, 0.6), levels=2)


@pytest.fixture(scope="module")
def digits():
    """Held-out ones and their labels."""
    found = load_reference()
    return found.images[:40], found.labels[:40]


def given(labels):
    return {"class_labels": torch.as_tensor(labels)}


def test_a_digit_carries_its_own_label_and_not_another(demo, digits):
    x, labels = digits[0][:16], digits[1][:16]
    _, none = each_class(CLASSES, NO_CLASS, x)
    own = information(*demo, x, given(labels), none, CHEAP).result
    other = information(*demo, x, given((labels + 3) % CLASSES), none, CHEAP).result
    assert own.direction is Direction.LOW_IS_BAD
    assert int((own.scores > other.scores).sum()) >= 15
    assert float(own.scores.mean()) > 0 > float(other.scores.mean())
    assert own.nfe == 2 * 2 * 1
    assert own.provenance["host"] == "diffusers" and "caution" not in own.provenance


def test_offloaded_weights_give_the_same_scores_and_fingerprint(digits):
    x, labels = digits[0][:2], digits[1][:2]
    network, scheduler = load_demo()
    _, none = each_class(CLASSES, NO_CLASS, x)
    here = information(network, scheduler, x, given(labels), none, CHEAP).result
    cpu_offload(network, execution_device=torch.device("cpu"))
    away = information(network, scheduler, x, given(labels), none, CHEAP).result
    assert all(p.is_meta for p in network.parameters())
    assert torch.equal(here.scores, away.scores) and away.provenance == here.provenance


def test_the_posterior_classifies_digits_that_nobody_trained_it_for(demo, digits):
    """Chance is 4 of 40; 30 of 40 would be chance once in 1e20."""
    x, labels = digits
    found = classify(*demo, x, *each_class(CLASSES, NO_CLASS, x), CHEAP)
    torch.testing.assert_close(found.probabilities.sum(1), torch.ones(40))
    assert int((found.probabilities.argmax(1) == labels).sum()) >= 30
    assert sum(i.result.nfe for i in found.information) == pytest.approx((CLASSES + 1) * 2)


def test_it_is_what_the_formula_says(demo, digits):
    """From the network's own outputs, without our denoiser, at timesteps of the table so that no rounding is in the way."""
    network, scheduler = demo
    x, labels = digits[0][:2], digits[1][:2]
    none = torch.full_like(labels, NO_CLASS)
    found = information(network, scheduler, x, given(labels), given(none), TWO_LEVELS)
    space = Space.of(scheduler)
    quadrature = window_quadrature(TWO_LEVELS, space.percent_to_sigma, space.process)
    for step, sigma in enumerate(quadrature.sigmas):
        t, level, total = space.timestep(sigma), torch.full((2,), sigma), torch.zeros(2)
        for z in noise(TWO_LEVELS.draws, step, x):
            x_s = add_noise(x, z, level, space.process)
            with torch.no_grad():
                eps, eps_none = (network(x_s, t, class_labels=label).sample for label in (labels, none))
            total += ((z - eps_none).square() - (z - eps).square()).flatten(1).sum(1) / 4
        torch.testing.assert_close(found.result.curve[step], total, rtol=1e-3, atol=1e-2)


def test_a_condition_that_is_the_empty_one_gives_zero_with_a_note(demo, digits):
    x = digits[0][:3]
    _, none = each_class(CLASSES, NO_CLASS, x)
    found = information(*demo, x, none, none, CHEAP).result
    assert not found.scores.any() and not found.maps.any()
    assert "3 of 3 images: their information is 0" in found.provenance["note"]


def test_parts_are_differences_of_informations(demo, digits):
    x, labels = digits[0][:4], digits[1][:4]
    _, none = each_class(CLASSES, NO_CLASS, x)
    part, nothing = checklist(*demo, x, given(labels), [none, given(labels)], CHEAP)
    whole = information(*demo, x, given(labels), none, CHEAP)
    torch.testing.assert_close(part.result.scores, whole.result.scores)
    assert not nothing.result.scores.any()


def flux(guidance: bool) -> nn.Module:
    torch.manual_seed(0)
    sizes = {"in_channels": 4, "num_layers": 1, "num_single_layers": 1, "attention_head_dim": 8, "num_attention_heads": 2}
    sizes |= {"joint_attention_dim": 8, "pooled_projection_dim": 8, "axes_dims_rope": (2, 2, 4)}
    return FluxTransformer2DModel(**sizes, guidance_embeds=guidance).eval()


@pytest.mark.parametrize("distilled", [False, True])
def test_text_conditions_and_a_caution_for_distilled_models(distilled):
    g = torch.Generator().manual_seed(0)
    shared = {"img_ids": torch.zeros(6, 3), "txt_ids": torch.zeros(5, 3)} | ({"guidance": torch.full((2,), 3.5)} if distilled else {})
    prompt, empty = (
        {"encoder_hidden_states": torch.randn(2, 5, 8, generator=g), "pooled_projections": torch.randn(2, 8, generator=g)} | shared
        for _ in range(2)
    )
    x = torch.randn(2, 6, 4, generator=g)
    found = information(flux(distilled), FlowMatchEulerDiscreteScheduler(), x, prompt, empty, TWO_LEVELS).result
    assert bool(found.scores.isfinite().all()) and bool(found.scores.any())
    assert ("caution" in found.provenance) is distilled


def test_bad_input_is_a_sentence(demo, digits):
    x, labels = digits[0][:2], digits[1][:2]
    every, none = each_class(CLASSES, NO_CLASS, x)
    with pytest.raises(ValueError, match="There is no condition in None"):
        information(*demo, x, None, none)
    with pytest.raises(ValueError, match="one row for each of 2 latents, got {'class_labels': 3}"):
        information(*demo, x, given([1, 2, 3]), none)
    with pytest.raises(ValueError, match="There is no condition: give at least one"):
        classify(*demo, x, [], none)
    with pytest.raises(ValueError, match="one number for each of 10 conditions"):
        classify(*demo, x, every, none, log_prior=[0.5])
    with pytest.raises(ValueError, match="There is no part to check"):
        checklist(*demo, x, given(labels), [])
    with pytest.raises(ValueError, match="returns to noisier levels"):
        information(demo[0], DDIMInverseScheduler(), x, given(labels), none)
