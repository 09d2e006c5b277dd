"""Slow, obvious re-implementations of the core formulas: exact denoisers, loops over images and draws, float64."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from uncertainty_nodes.core.denoiser import Process

Network = Callable[[Tensor, Tensor], Tensor]

# noise levels from noisy to clean in each process's own coordinates; EDM is VE
SIGMAS = {Process.VP: (0.98, 0.6, 0.1), Process.VE: (14.6, 1.0, 0.05), Process.FLOW: (0.95, 0.5, 0.05)}
LEVELS = [(process, sigma) for process, sigmas in SIGMAS.items() for sigma in sigmas]


def alpha_at(process: Process, sigma: float) -> float:
    return {Process.VP: math.sqrt(max(0.0, 1 - sigma**2)), Process.VE: 1.0, Process.FLOW: 1 - sigma}[process]


class GaussianDenoiser:
    """E[x0 | x] for data N(mean, std^2 I): mean + k (x - alpha mean), k = alpha std^2 / (alpha^2 std^2 + sigma^2)."""

    def __init__(self, process: Process, mean: float = 0.3, std: float = 0.7) -> None:
        self.process, self.mean, self.std = process, mean, std

    def gain(self, sigma: float) -> float:
        alpha = alpha_at(self.process, sigma)
        return alpha * self.std**2 / (alpha**2 * self.std**2 + sigma**2)

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        rows = []
        for row, s in zip(x, sigma.tolist(), strict=True):
            rows.append(self.mean + self.gain(s) * (row - alpha_at(self.process, s) * self.mean))
        return torch.stack(rows)

    def spreads(self, sigma: float) -> tuple[float, float]:
        """(Var(x0_i), Var(eps_i)) of redraws x_i = alpha x0 + sigma z_i: k^2 sigma^2 and (1 - alpha k)^2."""
        k = self.gain(sigma)
        return k**2 * sigma**2, (1 - alpha_at(self.process, sigma) * k) ** 2


class MixtureDenoiser:
    """E[x0 | x] for data 1/2 N(+m, std^2 I) + 1/2 N(-m, std^2 I): the exact score, not linear, with a symmetric Jacobian."""

    def __init__(self, process: Process, shape: tuple[int, ...], std: float = 0.5, norm: float = 1.5) -> None:
        m = torch.randn(shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
        self.process, self.std, self.m = process, std, norm * m / m.norm()

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        return torch.stack([self.one(row, s) for row, s in zip(x, sigma.tolist(), strict=True)])

    def one(self, x: Tensor, sigma: float) -> Tensor:
        """One image (C, ...). The components weigh in with 1/2 (1 +- tanh(alpha <x, m> / total variance))."""
        alpha, m = alpha_at(self.process, sigma), self.m.to(x.dtype)
        total = alpha**2 * self.std**2 + sigma**2
        k = alpha * self.std**2 / total
        lean = torch.tanh(alpha * (x * m).sum() / total)
        return k * x + (1 - k * alpha) * lean * m


class ConvDenoiser(nn.Module):
    """A small random network over images of any rank: looks at neighbours in space, mixes channels, knows sigma; never at other images."""

    def __init__(self, channels: int, rank: int = 2, seed: int = 0) -> None:
        super().__init__()
        conv = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[rank]
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.enter, self.leave = conv(channels, 8, 3, padding=1), conv(8, channels, 3, padding=1)

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        s = sigma.view(-1, *[1] * (x.ndim - 1)).to(x.dtype)
        return self.leave(torch.sin(2 * self.enter(x / (1 + s)))) + x / (1 + s**2)


class Calls:
    """Counts, beside the code under test, the rows that reach a denoiser, and keeps what it was fed."""

    def __init__(self, denoise: Network) -> None:
        self.denoise, self.rows, self.sizes, self.dtypes = denoise, 0, [], set()

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        self.rows += len(x)
        self.sizes.append(len(x))
        self.dtypes.add(x.dtype)
        return self.denoise(x, sigma)


def out_of_memory(denoise: Network, largest: int) -> Network:
    """A denoiser whose memory holds ``largest`` rows."""

    def limited(x: Tensor, sigma: Tensor) -> Tensor:
        if len(x) > largest:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory (simulated)")
        return denoise(x, sigma)

    return limited


def redraws(denoise: Network, x0: Tensor, sigma: float, process: Process, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """x_i, x0_i, eps_i, each (M, B, ...) float64, one image and one draw at a time. z: (M, 1, ...)."""
    alpha, level = alpha_at(process, sigma), torch.tensor([sigma], dtype=torch.float64)
    x, clean, eps = [], [], []
    for draw in z.double():
        for image in x0.double():
            x_i = alpha * image + sigma * draw[0]
            x0_i = denoise(x_i[None], level)[0]
            x.append(x_i), clean.append(x0_i), eps.append((x_i - alpha * x0_i) / sigma)
    shape = (len(z), *x0.shape)
    return torch.stack(x).view(shape), torch.stack(clean).view(shape), torch.stack(eps).view(shape)


def spread_around_mean(draws: Tensor) -> Tensor:
    mean = sum(draws) / len(draws)
    return sum((d - mean) ** 2 for d in draws) / (len(draws) - 1)


def spread_around(draws: Tensor, center: Tensor) -> Tensor:
    return sum((d - center) ** 2 for d in draws) / len(draws)


def gradient(denoise: Network, x0: Tensor, sigma: float, process: Process, z: Tensor) -> Tensor:
    """g = -(2 sigma / (M - 1)) sum_i J_i^T (eps_i - mean eps), with whole Jacobians, float64."""
    alpha, level = alpha_at(process, sigma), torch.tensor([sigma], dtype=torch.float64)
    x, _, eps = redraws(denoise, x0, sigma, process, z)
    g = torch.zeros_like(x0, dtype=torch.float64)
    for b in range(len(x0)):
        for i in range(len(z)):
            jacobian = torch.autograd.functional.jacobian(lambda x_i: (x_i - alpha * denoise(x_i[None], level)[0]) / sigma, x[i, b])
            jacobian = jacobian.reshape(x0[b].numel(), -1)
            g[b] += (jacobian.T @ (eps[i, b] - eps[:, b].mean(dim=0)).flatten()).view_as(g[b])
    return -2 * sigma / (len(z) - 1) * g


def total_spread(denoise: Network, x: Tensor, eps: Tensor, sigma: float, process: Process, z: Tensor) -> float:
    """sum(U) as a function of eps, with x and z_i fixed: what guidance climbs."""
    x0 = (x - sigma * eps) / alpha_at(process, sigma)
    return float(spread_around_mean(redraws(denoise, x0, sigma, process, z)[2]).sum())


def mixture_sample(process: Process, sigma: float, shape: tuple[int, ...] = (2, 2, 3, 3)) -> tuple[MixtureDenoiser, Tensor, Tensor, Tensor]:
    """A mixture, a noisy sample of it, the exact prediction there, and sigma (B,)."""
    denoise, generator = MixtureDenoiser(process, shape[1:]), torch.Generator().manual_seed(3)
    clean = 0.3 * denoise.m.float() + denoise.std * torch.randn(shape, generator=generator)
    x = alpha_at(process, sigma) * clean + sigma * torch.randn(shape, generator=generator)
    level = torch.full(shape[:1], sigma)
    return denoise, x, denoise(x, level), level


def norm(a: Tensor) -> Tensor:
    """(B,) the norm of each image."""
    return a.flatten(1).double().norm(dim=1)


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """(B,) the cosine between images."""
    return torch.cosine_similarity(a.flatten(1).double(), b.flatten(1).double())
