"""Ensembles and pairwise distances."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from .bounds import bounded, check_fields
from .checks import check_choice
from .limits import MEMBER_WEIGHT, SEED


class Distance(str, Enum):
    """How far two members of an ensemble are apart."""

    W2 = "w2"  # squared 2-Wasserstein: between points too, |x_i - x_j|^2
    KL = "kl"  # Kullback-Leibler, of Gaussians only; not symmetric
    BHATTACHARYYA = "bhattacharyya"  # of Gaussians only


class Moment(str, Enum):
    """Which of the steps after the branch is the score and the map."""

    FIRST = "first"  # where the members have just parted: the paper's published score
    LAST = "last"  # what came of it: how far the finished samples are apart
    MEAN = "mean"  # over all of them


class EnsembleKind(str, Enum):
    """What the members of an ensemble have of their own; the rest of the model is shared."""

    CLASS_EMBEDDING = "class_embedding"  # the table of a class-conditional model
    EMBEDDING = "embedding"  # textual inversion: the vectors of one word
    CONDITIONING = "conditioning"  # whole prompts, as the network is given them by its text encoder
    LORA = "lora"  # low-rank changes of weights


class Bootstrap(str, Enum):
    """How each member comes by its own data."""

    REPLACEMENT = "with_replacement"  # drawn from all data, again and again
    DISJOINT = "disjoint"  # no sample in two members


LEARNING_RATES = {EnsembleKind.CLASS_EMBEDDING: 0.1, EnsembleKind.EMBEDDING: 5e-3, EnsembleKind.CONDITIONING: 5e-3, EnsembleKind.LORA: 5e-4}


@dataclass(frozen=True)
class PaideOptions:
    """Pairwise-distance estimate of the information between an ensemble's output and its members (Berry et al. 2024).

    bandwidth: what D is divided by; 1 = the published estimate, which in images reaches log K at once.
        0 = the number of dimensions that D is summed over: an image's D is then its mean over pixels, a pixel's D is left as it is.
        It changes the value of the estimate and not the order of the distances.
    """

    distance: Distance = Distance.W2
    bandwidth: float = bounded(0.0, 0.0, 1e9, 0.01)

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class EnsembleOptions:
    """Epistemic uncertainty of an ensemble whose members share one trajectory up to a branch (DECU, Berry et al. 2024).

    branch: fraction of the noise schedule that one member runs for all; 0 = each on its own from the start. On the demo ensemble
        finished images tell digits of 60 training images from those of 6,000 with AUROC 1.00 from branches at 0, 0.75 and 0.9, but
        0.84 from 0.5 (``benchmarks/quality/ensemble.py``, 20 steps). 0.75 costs 44 calls an image, 0 costs 100. The paper's is near
        the end.
    weights: one for each member; none = equal.
    micro_batch: members that are advanced in one call; 0 = all. Members with weights of their own need 1.
    seed: picks the member that runs the shared part.
    """

    branch: float = bounded(0.75, 0.0, 1.0, 0.01, label="branch_percent")
    paide: PaideOptions = field(default_factory=PaideOptions)
    moment: Moment = Moment.LAST
    weights: tuple[float, ...] = ()
    micro_batch: int = bounded(0, 0, 1024)
    seed: int = SEED.field()

    def __post_init__(self) -> None:
        check_fields(self)
        for weight in self.weights:
            MEMBER_WEIGHT.check("Each weight", weight)


@dataclass(frozen=True)
class BootstrapOptions:
    """Each member's data. size: samples a member; 0 = as many as there are, shared out evenly where disjoint."""

    kind: Bootstrap = Bootstrap.REPLACEMENT
    size: int = bounded(0, 0, 1_000_000_000, label="bootstrap_size")
    seed: int = SEED.field()

    def __post_init__(self) -> None:
        check_choice("bootstrap", self.kind, Bootstrap)
        check_fields(self)


@dataclass(frozen=True)
class EnsembleTrainingOptions:
    """Training of one member: Adam (Kingma & Ba 2015) on the model's own loss, the learning rate falling to 0 along a cosine.

    batch: samples a step, drawn from the member's bootstrap.  learning_rate: 0 = what suits the kind, ``LEARNING_RATES``.
    """

    steps: int = bounded(300, 1, 1_000_000)
    batch: int = bounded(8, 1, 4096)
    learning_rate: float = bounded(0.0, 0.0, 10.0, 1e-5)
    seed: int = SEED.field()

    def __post_init__(self) -> None:
        check_fields(self)
