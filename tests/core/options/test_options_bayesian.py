"""The options of the Bayesian estimators are refused when made, in a sentence that names the input and the value seen."""

from __future__ import annotations

import dataclasses
import math

import pytest

from uncertainty_nodes.core.options import BayesDiffOptions, Covariance, DropoutOptions, GenerativeOptions, LaplaceOptions, Pooling


@pytest.mark.parametrize("options", [LaplaceOptions, GenerativeOptions, BayesDiffOptions, DropoutOptions])
def test_defaults_are_valid_and_frozen(options):
    made = options()
    name = dataclasses.fields(made)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(made, name, getattr(made, name))
    assert made == options() and hash(made) == hash(options())


def test_infinite_prior_precision_is_a_value():
    assert LaplaceOptions(prior_precision=math.inf, covariance=Covariance.KRONECKER).prior_precision == math.inf


@pytest.mark.parametrize(
    ("options", "name", "value", "sentence"),
    [
        (LaplaceOptions, "covariance", "diagonal", "covariance must be a Covariance (diagonal, kronecker), got 'diagonal'."),
        (LaplaceOptions, "prior_precision", 0.0, "prior_precision must be between 1e-12 and 1e+30, got 0.0."),
        (LaplaceOptions, "prior_precision", -math.inf, "prior_precision must be between 1e-12 and 1e+30, got -inf."),
        (LaplaceOptions, "prior_precision", math.nan, "prior_precision must be between 1e-12 and 1e+30, got nan."),
        (LaplaceOptions, "noise_variance", math.inf, "noise_variance must be between 1e-12 and 1e+30, got inf."),
        (LaplaceOptions, "draws", 0, "draws must be between 1 and 10000, got 0."),
        (LaplaceOptions, "seed", -1, "seed must be between 0 and 18446744073709551615, got -1."),
        (GenerativeOptions, "members", 0, "members must be between 1 and 1024, got 0."),
        (GenerativeOptions, "members", 2.5, "members must be a whole number, got 2.5."),
        (GenerativeOptions, "semantic_variance", 0, "semantic_variance must be between 1e-12 and 1e+06, got 0."),
        (GenerativeOptions, "member_steps", -1, "member_steps must be between 0 and 10000, got -1."),
        (GenerativeOptions, "seed", 2**64, f"seed must be between 0 and 18446744073709551615, got {2**64}."),
        (BayesDiffOptions, "every", 0, "every must be between 1 and 1000, got 0."),
        (BayesDiffOptions, "pooling", "sum", "pooling must be a Pooling (sum, mean, upper_tail), got 'sum'."),
        (DropoutOptions, "pooling", Pooling, "pooling must be a Pooling (sum, mean, upper_tail), got <enum 'Pooling'>."),
    ],
)
def test_a_bad_value_is_one_sentence(options, name, value, sentence):
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole sentence is compared
        options(**{name: value})
    assert str(error.value) == sentence
