"""One image of a batch that the model turns into NaN: it scores NaN, and every other one is what it would be without it, bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

import tiny_pipelines as tiny
from bayes_scenes import laplace_of
from uncertainty_nodes.core.options import (
    AleatoricOptions,
    BayesDiffOptions,
    DrawOptions,
    DropoutOptions,
    EnsembleOptions,
    GenerativeOptions,
    GuidanceMode,
    GuidanceOptions,
    InformationOptions,
    StepWindow,
)
from uncertainty_nodes.hosts.diffusers import ConditionMembers, attach, bayesdiff, decu, generative, information, pipeline_draw, score
from uncertainty_nodes.hosts.diffusers.dropout import mc_dropout

pytestmark = pytest.mark.filterwarnings("ignore")  # diffusers' own deprecations
PIPELINES = {"SD": tiny.sd, "SDXL": tiny.sdxl, "SD3": tiny.sd3}
IMAGES = 3
RECORD = AleatoricOptions(draws=DrawOptions(samples=2), window=StepWindow())
SETTINGS = [(name, cfg, failed) for name in PIPELINES for cfg in (1.0, 4.0) for failed in range(IMAGES)]


@contextmanager
def failing(pipe: tiny.Tiny, image: int | None) -> Iterator[tiny.Tiny]:
    """The network gives NaN for one image of the batch, in both halves under guidance, whoever asks it."""
    forward = pipe.network.forward

    def spoiled(*args, **kwargs):
        output = forward(*args, **kwargs)
        y = output[0]
        if image is not None and len(y) % IMAGES == 0:
            y[image::IMAGES] += float("nan")
        return output

    spoiled.__module__, spoiled.__wrapped__ = forward.__module__, forward
    pipe.network.forward = spoiled
    try:
        yield pipe
    finally:
        del pipe.network.forward


def others(failed: int) -> list[int]:
    return [i for i in range(IMAGES) if i != failed]


@pytest.mark.parametrize(("name", "cfg", "failed"), SETTINGS)
def test_recording(name, cfg, failed):
    pipe, seen = PIPELINES[name](), []
    for image in (None, failed):
        with failing(pipe, image), attach(pipe.pipe, record=RECORD) as run:
            seen.append((pipe.draw(IMAGES, cfg), run))
    (whole, whole_run), (images, run) = seen
    good, result = others(failed), run.result()
    assert torch.equal(images[good], whole[good])
    assert torch.equal(result.scores[good], whole_run.result().scores[good])
    assert torch.equal(result.maps[good], whole_run.result().maps[good])
    assert result.scores[failed].isnan()
    assert images[failed].isnan().any()
    assert result.nfe == whole_run.result().nfe


@pytest.mark.parametrize("mode", GuidanceMode)
@pytest.mark.parametrize(("name", "cfg", "failed"), SETTINGS)
def test_guidance(name, cfg, failed, mode):
    pipe, seen = PIPELINES[name](), []
    guide = GuidanceOptions(strength=0.1, draws=DrawOptions(samples=2), window=StepWindow(), mode=mode)
    for image in (None, failed):
        with failing(pipe, image), attach(pipe.pipe, guide=guide) as run:
            seen.append((pipe.draw(IMAGES, cfg), run.guidance_nfe))
    (whole, whole_nfe), (images, nfe) = seen
    good = others(failed)
    assert torch.equal(images[good], whole[good])
    assert images[failed].isnan().any()
    assert nfe == whole_nfe > 0


@pytest.mark.parametrize("cfg", [1.0, 4.0])
@pytest.mark.parametrize("failed", range(IMAGES))
def test_dropout(cfg, failed):
    pipe, seen = tiny.sd(), []
    pipe.pipe.unet = tiny.unet(dropout=0.1)
    for image in (None, failed):
        with failing(pipe, image), mc_dropout(pipe.pipe, options=DropoutOptions(window=StepWindow())) as run:
            seen.append((pipe.draw(IMAGES, cfg), run))
    (whole, whole_run), (images, run) = seen
    good = others(failed)
    assert torch.equal(images[good], whole[good])
    assert torch.equal(run.result().scores[good], whole_run.result().scores[good])
    assert run.result().scores[failed].isnan()


@pytest.mark.parametrize("name", PIPELINES)
@pytest.mark.parametrize("cfg", [1.0, 4.0])
@pytest.mark.parametrize("failed", range(IMAGES))
def test_bayesdiff(name, cfg, failed):
    pipe, seen = PIPELINES[name](), []
    laplace = laplace_of(pipe.network)
    for image in (None, failed):
        with failing(pipe, image), bayesdiff(pipe.pipe, laplace, options=BayesDiffOptions(DrawOptions(samples=2))) as run:
            seen.append((pipe.draw(IMAGES, cfg), run.result()))
    (whole, expected), (images, result) = seen
    good = others(failed)
    assert torch.equal(images[good], whole[good])
    assert torch.equal(result.scores[good], expected.scores[good])
    assert result.scores[failed].isnan()
    assert result.nfe == expected.nfe


@pytest.mark.parametrize("failed", range(IMAGES))
def test_generative(failed):
    pipe, seen = tiny.sd(), []
    laplace, options = laplace_of(pipe.network), GenerativeOptions(members=2)
    for image in (None, failed):
        with failing(pipe, image):
            draw = pipeline_draw(pipe.pipe, pipe.inputs(IMAGES, 4.0), seeds=range(IMAGES))
            seen.append(generative(draw, 2, pipe.pipe, laplace, lambda images: images.flatten(1)[:, ::7], options))
    (whole, expected), (images, found) = seen
    good = others(failed)
    assert torch.equal(images[good], whole[good])
    assert torch.equal(found.result.scores[good], expected.result.scores[good])
    assert found.result.scores[failed].isnan()


@pytest.mark.parametrize("failed", range(IMAGES))
@pytest.mark.parametrize("spoil_latent", [True, False])
def test_finished_latents(failed, spoil_latent):
    """Latents that are NaN themselves, and latents that the network makes NaN of."""
    pipe, seen = tiny.sd(), []
    latents, text = tiny.embeddings(IMAGES, 4, tiny.SIZE, tiny.SIZE), tiny.embeddings(IMAGES, tiny.TOKENS, 16)
    cond, empty = {"encoder_hidden_states": text}, {"encoder_hidden_states": torch.zeros_like(text)}
    for image in (None, failed):
        given = latents.clone()
        if image is not None and spoil_latent:
            given[image] = float("nan")
        with failing(pipe, None if spoil_latent else image):
            network, scheduler = pipe.network, pipe.pipe.scheduler
            scored = score(network, scheduler, given, cond, AleatoricOptions(DrawOptions(samples=2)), 2)
            seen.append([scored.scores, information(network, scheduler, given, cond, empty, InformationOptions()).result.scores])
    good = others(failed)
    for expected, found in zip(*seen, strict=True):
        assert torch.equal(found[good], expected[good])
        assert found[failed].isnan()


@pytest.mark.parametrize("failed", range(IMAGES))
@pytest.mark.parametrize("cfg", [1.0, 4.0])
def test_ensembles(cfg, failed):
    pipe, seen = tiny.sd(), []
    conds = [{"encoder_hidden_states": tiny.embeddings(IMAGES, tiny.TOKENS, 16, seed=k)} for k in range(2)]
    members = ConditionMembers(["a", "b"], conds, {"encoder_hidden_states": torch.zeros(1, tiny.TOKENS, 16)})
    noise = tiny.embeddings(IMAGES, 4, tiny.SIZE, tiny.SIZE, seed=9)
    for image in (None, failed):
        with failing(pipe, image):
            seen.append(decu(pipe.network, pipe.pipe.scheduler, noise, members, 3, EnsembleOptions(0.0), cfg))
    whole, found = seen
    good = others(failed)
    assert torch.equal(found.samples[:, good], whole.samples[:, good])
    assert torch.equal(found.information.scores[good], whole.information.scores[good])
    assert found.information.scores[failed].isnan()


@pytest.mark.parametrize("cfg", [1.0, 4.0])
def test_a_run_in_which_every_image_fails(cfg):
    """Copies of NaN look like the halves, or thirds, of one call; what the rows are was settled before."""
    pipe = tiny.sd()
    with attach(pipe.pipe, record=RECORD) as run:
        handle = pipe.network.register_forward_hook(lambda _, args, output: (output[0].fill_(float("nan")), *output[1:]))
        pipe.draw(IMAGES, cfg)
        handle.remove()
    assert run.result().scores.isnan().tolist() == [True] * IMAGES


def test_failed_halves_of_a_first_call_are_halves():
    """As where an image to start from is NaN itself."""
    pipe = tiny.sd()
    pipe.draw(2, 4.0)
    x = torch.full((6, 4, 8, 8), float("nan"))
    with attach(pipe.pipe, record=RECORD) as run, torch.no_grad():
        pipe.network(x, torch.tensor(501), encoder_hidden_states=torch.ones(6, 5, 16))
    assert run.result().scores.shape == (3,)
