"""What the tests of the Bayesian family on diffusers share: tiny pipelines, a posterior for any network, and counted passes."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import nn

import tiny_pipelines as tiny
from uncertainty_nodes.core.last_layer.curvature import Diagonal
from uncertainty_nodes.core.last_layer.find import Identity, find_last_layer, get_layer
from uncertainty_nodes.core.last_layer.laplace import Laplace
from uncertainty_nodes.core.last_layer.layer_algebra import matrix_size
from uncertainty_nodes.core.options import LaplaceOptions

PIPELINES = {"SD": tiny.sd, "SD v": tiny.sd_v, "SDXL": tiny.sdxl, "SD3": tiny.sd3, "Flux": tiny.flux, "DiT": tiny.dit}


@functools.cache
def made(name: str) -> tiny.Tiny:
    return PIPELINES[name]()


def laplace_of(network: nn.Module, unsure: float = 1.0) -> Laplace:
    """A posterior that nothing was fitted for: every weight, or some share of all, has a variance of its own."""
    name, generator = find_last_layer(network), torch.Generator().manual_seed(2)
    squares = torch.rand(matrix_size(get_layer(network, name)), generator=generator).double() * 1e6
    squares[torch.rand(squares.shape, generator=generator) > unsure] = math.inf
    return Laplace(Identity.of(network, name), Diagonal(squares), LaplaceOptions(), samples=2)


def without_variance(laplace: Laplace) -> Laplace:
    return replace(laplace, options=replace(laplace.options, prior_precision=math.inf))


@contextmanager
def counting(network: nn.Module) -> Iterator[list[int]]:
    """The rows of every pass of the network, whoever asks for it."""
    rows, forward = [], network.forward

    @functools.wraps(forward)
    def counted(*args, **kwargs):
        rows.append(len(args[0] if args else kwargs.get("sample", kwargs.get("hidden_states"))))
        return forward(*args, **kwargs)

    network.forward = counted
    try:
        yield rows
    finally:
        del network.forward


def state_of(network: nn.Module) -> list:
    weights = [(name, p.data_ptr(), p.requires_grad) for name, p in network.named_parameters()]
    return [weights, [(m.training, len(m._forward_hooks), set(vars(m))) for m in network.modules()]]
