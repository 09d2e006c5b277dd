"""The bundled classifier knows digits, its reference statistics are what numpy says, and foreign files are refused in a sentence."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from uncertainty_nodes.core.demo.extractor import (
    EXTRACTOR_KIND,
    REFERENCE_KIND,
    DigitClassifier,
    Reference,
    digits_to_images,
    load_extractor,
    load_reference,
)
from uncertainty_nodes.core.demo.network import FOLDER
from uncertainty_nodes.core.files import load_tensors, save_tensors
from uncertainty_nodes.core.metrics.features import FeatureStatistics, frechet_distance

EXTRACTOR, REFERENCE = FOLDER / "extractor.safetensors", FOLDER / "reference.safetensors"


@pytest.fixture(scope="module")
def extractor() -> DigitClassifier:
    return load_extractor()


@pytest.fixture(scope="module")
def reference() -> Reference:
    return load_reference()


def test_knows_the_held_out_digits(extractor, reference):
    assert len(reference.labels) == 512
    assert set(reference.labels.tolist()) == set(range(10))
    assert (extractor(reference.images).argmax(1) == reference.labels).double().mean() >= 0.98


def test_header_states_what_was_measured():
    metadata = load_tensors(EXTRACTOR, EXTRACTOR_KIND)[1]
    assert metadata["accuracy_held_out"] >= 0.99
    assert metadata["architecture"] == load_reference().statistics.extractor == DigitClassifier.name
    assert metadata["held_out"] == load_tensors(REFERENCE, REFERENCE_KIND)[1]["held_out"]


def test_features_do_not_depend_on_batch_mates_or_input_type(extractor, reference):
    images = reference.images[:6]
    together = extractor.features(images)
    assert together.shape == (6, 64)
    assert together.dtype == torch.float32
    assert extractor(images).shape == (6, 10)
    alone = torch.cat([extractor.features(image[None]) for image in images])
    torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(extractor.features(images.double()), together, rtol=0, atol=0)


def test_loaded_extractor_is_frozen_in_eval_mode_and_passes_gradients_to_images(extractor, reference):
    assert not extractor.training
    assert not any(parameter.requires_grad for parameter in extractor.parameters())
    images = reference.images[:2].clone().requires_grad_()
    extractor.features(images).sum().backward()
    assert images.grad.abs().sum() > 0


@pytest.mark.parametrize("shape", [(32, 32), (2, 3, 32, 32), (2, 1, 28, 28), (2, 1, 1, 32, 32)])
def test_other_shapes_are_refused(extractor, shape):
    with pytest.raises(ValueError, match=r"images must be \(N, 1, 32, 32\).*got shape"):
        extractor.features(torch.zeros(shape))


def test_digits_are_padded_with_background():
    digits = torch.zeros(1, 28, 28, dtype=torch.uint8)
    digits[0, 0, 27] = 255
    expected = np.full((1, 1, 32, 32), -1.0, dtype=np.float32)
    expected[0, 0, 2, 29] = 1.0
    np.testing.assert_array_equal(digits_to_images(digits).numpy(), expected)


def test_stored_features_are_those_of_the_stored_images(extractor, reference):
    recomputed = extractor.features(reference.images)
    # half precision keeps 11 bits
    torch.testing.assert_close(reference.features[:512], recomputed, rtol=2e-3, atol=2e-3)


def test_stored_statistics_agree_with_the_stored_features(reference):
    """2,000 of the 10,000 digits behind the statistics: mean within 5 standard errors, covariance within sampling error."""
    features = reference.features.double().numpy()
    mean, covariance = reference.statistics.mean.numpy(), reference.statistics.covariance.numpy()
    assert mean.dtype == covariance.dtype == np.float64
    error = np.sqrt(np.diag(covariance) * (1 / 2_000 - 1 / 10_000))
    assert np.all(np.abs(features.mean(0) - mean) < 5 * error)
    distance = np.linalg.norm(np.cov(features, rowvar=False) - covariance) / np.linalg.norm(covariance)
    assert 0 < distance < 0.1
    assert np.linalg.eigvalsh(covariance).min() > 1e-4


def test_the_distance_sees_what_is_wrong_with_images(extractor, reference):
    """FID of 512 real digits is near 0, and noise, smudges and thick strokes move it away, by far."""

    def distance(images):
        return frechet_distance(FeatureStatistics.of(extractor.features(images), extractor.name), reference.statistics)

    real, images = distance(reference.images), reference.images
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    assert 0 < real < 1.5
    for worse in (images + 0.5 * noise, nn.functional.avg_pool2d(images, 3, 1, 1), nn.functional.max_pool2d(images, 3, 1, 1)):
        assert distance(worse) > 4 * real


def test_held_out_indices_are_distinct_and_of_the_training_file(reference):
    assert reference.held_out.shape == (10_000,)
    assert len(reference.held_out.unique()) == 10_000
    expected = np.random.RandomState(0).permutation(60_000)[-10_000:]
    np.testing.assert_array_equal(reference.held_out.numpy(), expected)


@pytest.mark.parametrize("load", [load_extractor, load_reference])
def test_truncated_missing_and_foreign_files_are_refused(tmp_path, load):
    source, other = (EXTRACTOR, REFERENCE) if load is load_extractor else (REFERENCE, EXTRACTOR)
    (tmp_path / "cut").write_bytes(source.read_bytes()[:-100])
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        load(tmp_path / "cut")
    with pytest.raises(FileNotFoundError, match="no file"):
        load(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="is not a saved"):
        load(other)


def test_another_architecture_is_refused(tmp_path):
    tensors, metadata = load_tensors(EXTRACTOR, EXTRACTOR_KIND)
    save_tensors(tmp_path / "x", tensors, EXTRACTOR_KIND, 1, metadata | {"architecture": "something-else"})
    with pytest.raises(ValueError, match="'something-else', wanted 'digit-cnn-64'"):
        load_extractor(tmp_path / "x")


@pytest.mark.parametrize("change", [{}, {"head.bias": torch.zeros(11)}])
def test_missing_and_misshapen_weights_are_refused(tmp_path, change):
    tensors, metadata = load_tensors(EXTRACTOR, EXTRACTOR_KIND)
    del tensors["head.bias"]
    save_tensors(tmp_path / "x", tensors | change, EXTRACTOR_KIND, 1, metadata)
    with pytest.raises(ValueError, match="other weights than 'digit-cnn-64'"):
        load_extractor(tmp_path / "x")


@pytest.mark.parametrize("name", ["mean", "covariance", "features", "images", "labels", "held_out"])
def test_an_incomplete_reference_names_what_it_lacks(tmp_path, name):
    tensors, metadata = load_tensors(REFERENCE, REFERENCE_KIND)
    del tensors[name]
    save_tensors(tmp_path / "x", tensors, REFERENCE_KIND, 1, metadata)
    with pytest.raises(ValueError, match=f"lacks '{name}'"):
        load_reference(tmp_path / "x")


def test_demo_model_is_small_and_finite_and_its_configuration_is_whole():
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) <= 10_000_000
    weights = load_file(FOLDER / "model.safetensors")
    assert all(tensor.dtype == torch.float16 and tensor.isfinite().all() for tensor in weights.values())
    config = json.loads((FOLDER / "config.json").read_text())
    widths = config["network"]["block_out_channels"]
    assert weights["conv_in.weight"].shape == (widths[0], config["network"]["in_channels"], 3, 3)
    assert weights["class_embedding.weight"].shape[0] == config["network"]["num_class_embeds"] == config["classes"]["none"] + 1
