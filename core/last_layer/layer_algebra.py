"""A convolution or linear layer as one matrix that acts on patches of its input, and as itself with other weights.

Every output position p of such a layer is y_p = M a_p: the matrix M (O, I) holds the weight and, as its last column,
the bias; the patch a_p (I) holds what the filter sees there and, as its last entry, 1.
"""

from __future__ import annotations

from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Convolution: TypeAlias = nn.Conv1d | nn.Conv2d | nn.Conv3d
Layer: TypeAlias = nn.Linear | Convolution
LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


def matrix_size(layer: Layer) -> tuple[int, int]:
    """(O, I)."""
    outputs = layer.weight.shape[0]
    return outputs, layer.weight.numel() // outputs + (layer.bias is not None)


def split(layer: Layer, matrix: Tensor) -> tuple[Tensor, Tensor | None]:
    """M (O, I) -> weight in the layer's shape, bias (O,) or None."""
    if layer.bias is None:
        return matrix.reshape(layer.weight.shape), None
    return matrix[:, :-1].reshape(layer.weight.shape), matrix[:, -1]


def positions(layer: Layer, features: Tensor) -> Tensor:
    """Input or output of the layer, with the channels where the layer has them -> (N, C, P), position by position."""
    if isinstance(layer, nn.Linear):
        features = features.movedim(-1, 1)
    return features.flatten(2) if features.ndim > 2 else features[..., None]


def input_patches(layer: Layer, features: Tensor) -> Tensor:
    """The patches a_p of an input (N, C, ...) -> (N, I, P): for a convolution its kernel's size times as large as the input."""
    if isinstance(layer, nn.Linear):
        columns = positions(layer, features)
    else:
        columns = _pad(layer, features)
        geometry = zip(layer.kernel_size, layer.stride, layer.dilation, strict=True)
        for dim, (size, stride, dilation) in enumerate(geometry, start=2):
            columns = columns.unfold(dim, dilation * (size - 1) + 1, stride)[..., ::dilation]
        rank = len(layer.kernel_size)  # now (N, C, positions.., offsets..), without a copy
        columns = columns.permute(0, 1, *range(2 + rank, 2 + 2 * rank), *range(2, 2 + rank)).flatten(1, 1 + rank).flatten(2)
    if layer.bias is None:
        return columns
    return torch.cat([columns, columns.new_ones(len(columns), 1, columns.shape[2])], dim=1)


def apply(layer: Layer, features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The layer's own map with other weights, in their precision: nothing that a host hung on the layer takes part."""
    features = features.to(weight.dtype)
    if isinstance(layer, nn.Linear):
        return F.linear(features, weight, bias)
    convolve = CONVOLUTIONS[len(layer.kernel_size)]
    return convolve(_pad(layer, features), weight, bias, layer.stride, 0, layer.dilation)


def _pad(layer: Convolution, features: Tensor) -> Tensor:
    """features with the layer's padding around them, so that the convolution itself needs none."""
    if layer.padding == "valid":
        return features
    if isinstance(layer.padding, str):  # "same"
        spans = [dilation * (size - 1) for size, dilation in zip(layer.kernel_size, layer.dilation, strict=True)]
        sides = [(span // 2, span - span // 2) for span in spans]
    else:
        sides = [(side, side) for side in layer.padding]
    flat = [side for pair in reversed(sides) for side in pair]  # F.pad counts from the last dimension
    return F.pad(features, flat, mode="constant" if layer.padding_mode == "zeros" else layer.padding_mode)
