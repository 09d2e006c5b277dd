"""Tiny networks with the last layers of real ones, and slow, obvious versions of what is computed at these layers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from uncertainty_nodes.core.denoiser import Prediction, Process
from uncertainty_nodes.core.draws import step_generator
from uncertainty_nodes.core.last_layer.find import find_last_layer, get_layer
from uncertainty_nodes.core.last_layer.fit import Training, fit_last_layer
from uncertainty_nodes.core.last_layer.laplace import Laplace
from uncertainty_nodes.core.options import Covariance, LaplaceOptions

LEVELS = torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9])


class TinyUNet(nn.Module):
    """Two convolutions; the condition is added to the features. last: settings of the second; extra: its channels beyond x's."""

    def __init__(self, rank: int = 2, extra: int = 0, **last) -> None:
        super().__init__()
        conv = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[rank]
        self.conv_in = conv(2, 4, 3, padding=1)
        self.conv_out = conv(4, 2 + extra, **({"kernel_size": 3, "padding": 1} | last))

    def forward(self, x: Tensor, sigma: Tensor, cond: float = 0.0) -> Tensor:
        shape = (-1, *[1] * (x.ndim - 1))
        return self.conv_out(torch.tanh(self.conv_in(x) + sigma.view(shape) + cond))


class TinyTransformer(nn.Module):
    """Images (N, 2, 4, 4) as 4 tokens of 2x2 pixels; what follows the last layer is the way back to pixels."""

    def __init__(self, bias: bool = True) -> None:
        super().__init__()
        self.enter = nn.Linear(8, 6)
        self.final_layer = nn.Module()
        self.final_layer.linear = nn.Linear(6, 8, bias=bias)

    def forward(self, x: Tensor, sigma: Tensor, cond: float = 0.0) -> Tensor:
        tokens = x.unfold(2, 2, 2).unfold(3, 2, 2).permute(0, 2, 3, 1, 4, 5).reshape(len(x), 4, 8)
        tokens = self.final_layer.linear(torch.tanh(self.enter(tokens) + sigma.view(-1, 1, 1) + cond))
        return tokens.view(len(x), 2, 2, 2, 2, 2).permute(0, 3, 1, 4, 2, 5).reshape(x.shape)


class TinyMLP(nn.Module):
    """Vectors (N, 5), one position each."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.proj_out = nn.Linear(5, 4), nn.Linear(4, 5)

    def forward(self, x: Tensor, sigma: Tensor, cond: float = 0.0) -> Tensor:
        return self.proj_out(torch.tanh(self.enter(x) + sigma[:, None] + cond))


def training(network: nn.Module, process: Process = Process.VP, prediction: Prediction = Prediction.EPS) -> Training:
    return Training(network, process, prediction, LEVELS)


def clean_samples(count: int, *shape: int) -> Tensor:
    return torch.randn((count, *shape), generator=torch.Generator().manual_seed(5))


def parameters(layer: nn.Module) -> list[Tensor]:
    return [layer.weight] if layer.bias is None else [layer.weight, layer.bias]


def as_matrix(weight: Tensor, bias: Tensor | None = None) -> Tensor:
    rows = weight.flatten(1)
    return rows if bias is None else torch.cat([rows, bias[:, None]], dim=1)


def noised(fit: Training, clean: Tensor, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """x_n, sigma_n and the target of each sample of a fit with one draw a sample, from the formulas."""
    x, sigmas, targets = [], [], []
    for place, x0 in enumerate(clean):
        generator = step_generator(seed, place)
        sigma = fit.levels[int(torch.randint(len(fit.levels), (), generator=generator))]
        n = torch.randn(x0.shape, generator=generator)
        alpha = {Process.VP: (1 - sigma**2).sqrt(), Process.VE: torch.tensor(1.0), Process.FLOW: 1 - sigma}[fit.process]
        x.append(alpha * x0 + sigma * n), sigmas.append(sigma)
        targets.append({"epsilon": n, "v_prediction": alpha * n - sigma * x0, "sample": x0, "flow": n - x0}[fit.prediction.value])
    return torch.stack(x), torch.stack(sigmas), torch.stack(targets)


def naive_gradients(network: nn.Module, layer: nn.Module, x: Tensor, sigma: Tensor, target: Tensor, cond: float = 0.0) -> Tensor:
    """d |network(x_n) - target_n|^2 / d M, (N, O, I): one backward pass through the whole network for each sample, float64."""
    network = network.double()
    rows = []
    for x_n, s_n, y_n in zip(x.double(), sigma.double(), target.double(), strict=True):
        output = network(x_n[None], s_n[None], cond)[0, : y_n.shape[0]]
        rows.append(as_matrix(*torch.autograd.grad((output - y_n).square().sum(), parameters(layer))))
    network.float()
    return torch.stack(rows)


def empirical_variance(draw: Callable[[int], Tensor], count: int) -> Tensor:
    return torch.stack([draw(i) for i in range(count)]).double().var(dim=0)


NETWORKS = {
    "conv1d": (lambda: TinyUNet(1), (2, 7)),
    "conv2d": (TinyUNet, (2, 5, 6)),
    "conv3d": (lambda: TinyUNet(3), (2, 2, 3, 4)),
    "conv 1x1, no bias": (lambda: TinyUNet(kernel_size=1, padding=0, bias=False), (2, 4, 4)),
    "circular, dilated": (lambda: TinyUNet(padding=2, dilation=2, padding_mode="circular"), (2, 6, 6)),
    "same, even kernel": (lambda: TinyUNet(kernel_size=(2, 4), padding="same"), (2, 4, 4)),
    "tokens": (TinyTransformer, (2, 4, 4)),
    "tokens, no bias": (lambda: TinyTransformer(bias=False), (2, 4, 4)),
    "vectors": (TinyMLP, (5,)),
}
KRONECKER = LaplaceOptions(covariance=Covariance.KRONECKER)


each_network = pytest.mark.parametrize("kind", NETWORKS)


def make(kind: str) -> tuple[nn.Module, tuple[int, ...]]:
    """One of NETWORKS, and the shape of a sample."""
    build, shape = NETWORKS[kind]
    torch.manual_seed(1)
    return build().eval(), shape


def in_batches(clean: Tensor, batch: int = 4, cond: float = 0.0) -> list[tuple[Tensor, float]]:
    return [(part, cond) for part in clean.split(batch)]


def fitted(network: nn.Module, shape: tuple[int, ...], options: LaplaceOptions | None = None, count: int = 6, batch: int = 4) -> Laplace:
    return fit_last_layer(network, training(network), in_batches(clean_samples(count, *shape), batch), options)


def last(network: nn.Module) -> nn.Module:
    return get_layer(network, find_last_layer(network))


def patch_source(layer: nn.Module) -> tuple[int, ...]:
    """The shape of some input of the layer."""
    return (3, layer.in_features) if isinstance(layer, nn.Linear) else (layer.in_channels, *[4] * len(layer.kernel_size))
