"""Last-layer Laplace posterior: a Gaussian over the weights of a network's last layer, around the trained ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ..draws import step_generator
from ..files import load_tensors, save_tensors
from ..options import Covariance, LaplaceOptions
from ..values import check_count, intact
from .curvature import Curvature, Diagonal, WeightGaussian
from .find import Identity
from .kronecker import Kronecker
from .layer_algebra import Layer
from .layer_tap import shifted_weights, tap_layer

KIND = "Laplace fit"
VERSION = 1
CURVATURES: dict[Covariance, type[Curvature]] = {Covariance.DIAGONAL: Diagonal, Covariance.KRONECKER: Kronecker}


@dataclass(frozen=True, eq=False)
class Laplace:
    """What a fit leaves: which layer of which model, the curvature there, how many training samples it has seen.

    It holds no weights. prior_precision and noise_variance enter in ``posterior`` only: ``replace`` the options to try
    others on the same fit. A fit that was cut short is one over fewer samples, and can be gone on with.
    """

    identity: Identity
    curvature: Curvature
    options: LaplaceOptions
    samples: int

    def posterior(self, network: nn.Module) -> LayerPosterior:
        """The posterior on a network. Raises ValueError when it is not the one fitted, or after fewer than two samples."""
        layer = self.identity.check(network)
        if self.samples < 2:
            raise ValueError(f"A Laplace fit needs at least 2 training samples, this one has {self.samples}; give it more.")
        expected = type(self.curvature).zero(layer).tensors()
        if any(t.shape != expected[name].shape for name, t in self.curvature.tensors().items()):
            raise ValueError(f"This Laplace fit holds sums of another size than layer {self.identity.name!r} has; fit it again.")
        return LayerPosterior(layer, self.curvature.gaussian(layer, self.options))

    def save(self, path: str | Path) -> None:
        """Write as safetensors; raises OSError when the file cannot be written."""
        metadata = {"identity": asdict(self.identity), "options": asdict(self.options), "seen": self.samples}
        save_tensors(path, self.curvature.tensors(), KIND, VERSION, metadata)

    @classmethod
    def load(cls, path: str | Path) -> Laplace:
        """Read what ``save`` wrote. Raises FileNotFoundError, or ValueError for a truncated, foreign or damaged file."""
        tensors, m = load_tensors(path, KIND, VERSION)
        with intact(path, KIND):
            covariance = Covariance(m["options"]["covariance"])
            options = LaplaceOptions(**{**m["options"], "covariance": covariance})
            curvature = CURVATURES[covariance](**{name: t.double() if t.is_floating_point() else t for name, t in tensors.items()})
            curvature.check()
            return cls(Identity(**m["identity"]), curvature, options, check_count("seen", m["seen"]))


@dataclass(frozen=True, eq=False)
class LayerPosterior:
    """A Laplace fit on the model that it belongs to, ready to use. Belongs to one run: the model may change after it."""

    layer: Layer
    gaussian: WeightGaussian

    @contextmanager
    def sampled(self, seed: int, member: int) -> Iterator[None]:
        """The network with the member-th draw of its last layer, inside the block; same seed and member, same draw, on every device.

        On every exit the trained weights are back bit for bit: they are put aside and never written to.
        """
        with shifted_weights(self.layer, self.gaussian.deviation(step_generator(seed, member))):
            yield

    def predict(self, call: Callable[[], Tensor]) -> tuple[Tensor, Tensor]:
        """One pass of the network and the variance of its output over the weights: (output, variance), the same shape.

        Var(y) = layer(phi^2) with the weights' variances, taken through the rearrangement after the layer. Exact, since the network is
        linear in its last layer. Raises ValueError when the network does more after it. Source: Kou et al. 2024.
        """
        return self.predict_mix([call], [1.0])

    def predict_mix(self, calls: Sequence[Callable[[], Tensor]], weights: Sequence[float]) -> tuple[Tensor, Tensor]:
        """``predict`` of a weighted sum of passes, as classifier-free guidance makes it; the weights must add up to 1.

        All passes share one draw of the layer, which is linear: Var(sum_k w_k y_k) = layer(phi^2) at phi = sum_k w_k phi_k.
        """
        if not calls or len(calls) != len(weights) or abs(sum(weights) - 1) > 1e-6:
            raise ValueError(f"Give each of {len(calls)} passes a weight, at least one, adding up to 1, got {list(weights)}.")
        with ExitStack() as stack:
            taps = [stack.enter_context(tap_layer(self.layer, call)) for call in calls]
            output, features = (
                sum((w * part.detach().float() for w, part in zip(weights, parts, strict=True)), start=torch.zeros(()))
                for parts in ([tap.output for tap in taps], [tap.features for tap in taps])
            )
            variance = taps[0].carry(self.gaussian.output_variance(self.layer, features))
            return output.to(taps[0].output.dtype), variance.detach()
