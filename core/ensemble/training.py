"""Training the members of an ensemble: each its own few parameters, on its own bootstrap, one after another."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ..denoiser import add_noise
from ..draws import step_generator
from ..files import load_tensors, save_tensors
from ..last_layer.fit import Training
from ..options import EnsembleTrainingOptions
from ..values import check_list, check_tensor, intact
from .file import check_losses, split_members

KIND = "ensemble training checkpoint"
VERSION = 1
SAVE_EVERY = 25  # steps
MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # what Adam knows of a parameter

Enter = Callable[[int], AbstractContextManager[Mapping[str, Tensor]]]
"""enter(k): a block inside which the model uses member k's parameters; yields them, name -> float32 leaf, as they begin.

They must begin the same each time for the same k. On leaving, however that happens, the model is as it was.
"""


@dataclass(frozen=True, eq=False)
class TrainedMember:
    """One member so far: its parameters, Adam's moments of them, and the loss of each step done."""

    parameters: Mapping[str, Tensor]
    moments: Mapping[str, Tensor]
    losses: tuple[float, ...]


class FailedSamplesError(ValueError):
    """Some training samples, by number, give a loss that is not finite where others don't."""

    def __init__(self, samples: Sequence[int]) -> None:
        self.samples = tuple(samples)
        numbers = ", ".join(str(sample) for sample in self.samples)
        super().__init__(f"The model's loss is not finite at training sample {numbers} alone: leave it out.")

    def __reduce__(self) -> tuple[type[FailedSamplesError], tuple[tuple[int, ...]]]:
        return type(self), (self.samples,)  # so that it comes whole from another process


TrainingProgress = Callable[[int, int, float], None]
"""progress(member, step, loss), after each step, counted from 1; may raise to stop, and the training can be gone on with."""


def train(
    training: Training,
    clean: Tensor,
    bootstraps: Sequence[Tensor],
    enter: Enter,
    learning_rate: float,
    options: EnsembleTrainingOptions | None = None,
    checkpoint: Path | None = None,
    progress: TrainingProgress | None = None,
    only: int | None = None,
) -> list[TrainedMember]:
    """Train one member for each bootstrap on E |predict(alpha x0 + sigma n, sigma, rows) - target|^2, the model's own loss.

    clean: (N, C, ...) training samples. bootstraps: the rows (n,) of ``clean`` that a member sees.
    training.predict: (x (B, C, ...), sigma (B,), rows (B,)) -> the network's output; rows: which samples these are, to find their
        conditions by. Only the entered parameters are given gradients, so nothing else can move.
    learning_rate: taken where the options leave it open.
    checkpoint: written every 25 steps and at each member's end; found there, it is gone on from, with the same result as
        an unbroken run. Deterministic from the seed.
    only: the number of the one member to train, from 0, just as it would be among the others; the checkpoint is then of it alone.
    Raises ValueError for a checkpoint of another training, samples that are not finite, and a loss that is not finite.
    """
    options = options or EnsembleTrainingOptions()
    check_data(clean, bootstraps)
    trainer = MemberTrainer(training, clean, enter, replace(options, learning_rate=options.learning_rate or learning_rate), progress)
    facts = trainer.facts(bootstraps) | ({} if only is None else {"member": only + 1})
    done = load_checkpoint(checkpoint, facts) if checkpoint is not None and checkpoint.exists() else []
    for place, k in enumerate(range(len(bootstraps)) if only is None else [only]):

        def keep(now: TrainedMember, before: Sequence[TrainedMember] = tuple(done[:place])) -> None:
            if checkpoint is not None:
                save_checkpoint(checkpoint, [*before, now], facts)

        earlier = done[place] if place < len(done) else None
        if earlier is None or len(earlier.losses) < options.steps:
            done[place:] = [trainer.member(k, bootstraps[k], earlier, keep)]
    return done


@dataclass(frozen=True, eq=False)
class MemberTrainer:
    """What the members' trainings share."""

    training: Training
    clean: Tensor
    enter: Enter
    options: EnsembleTrainingOptions
    progress: TrainingProgress | None

    def member(self, k: int, rows: Tensor, earlier: TrainedMember | None, keep: Callable[[TrainedMember], None]) -> TrainedMember:
        """The steps that are left of member k. Raises ValueError when its parameters are others than it began with."""
        steps = self.options.steps
        with self.enter(k) as parameters, torch.enable_grad():
            adam = torch.optim.Adam(parameters.values(), lr=self.options.learning_rate)
            losses = list(restore_state(earlier, parameters, adam)) if earlier is not None else []
            try:
                while len(losses) < steps:
                    losses.append(self.step(k, len(losses), rows, list(parameters.values()), adam))
                    if len(losses) % SAVE_EVERY == 0 or len(losses) == steps:
                        keep(copy_state(parameters, adam, losses))
                    if self.progress is not None:
                        self.progress(k, len(losses), losses[-1])
            finally:
                adam.zero_grad(set_to_none=True)
            return copy_state(parameters, adam, losses)

    def step(self, k: int, step: int, rows: Tensor, leaves: Sequence[Tensor], adam: torch.optim.Adam) -> float:
        """One step of Adam, the learning rate on a cosine from all to 0; returns the loss before it."""
        errors, pick = self.errors(k, step, rows)
        loss = errors.mean()
        if not bool(loss.isfinite()):
            usable = errors.detach().flatten(1).isfinite().all(dim=1).cpu()
            if usable.any():
                raise FailedSamplesError(pick[~usable].unique().tolist())
            raise ValueError(f"The loss of member {k + 1} at step {step + 1} is not finite: train with a smaller learning rate.")
        for leaf, gradient in zip(leaves, torch.autograd.grad(loss, leaves), strict=True):
            leaf.grad = gradient
        adam.param_groups[0]["lr"] = self.options.learning_rate * (1 + math.cos(math.pi * step / self.options.steps)) / 2
        adam.step()
        return float(loss.detach())

    def errors(self, k: int, step: int, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Squared errors of one step's batch, whose mean is the loss, and which samples it holds.

        Its noise levels are spread evenly over those of training, to vary less.
        """
        training, batch = self.training, self.options.batch
        g = step_generator(self.options.seed, ((k + 1) << 48) + step)
        pick = rows.cpu()[torch.randint(len(rows), (batch,), generator=g)]
        position = (torch.arange(batch) + torch.rand(batch, generator=g)) / batch * len(training.levels)
        sigma = training.levels.cpu()[position.long().clamp_max(len(training.levels) - 1)].float().to(self.clean.device)
        x0 = self.clean[pick.to(self.clean.device)].float()
        noise = torch.randn(x0.shape, generator=g).to(x0)
        output = training.predict(add_noise(x0, noise, sigma, training.process), sigma, pick)
        return (output[:, : x0.shape[1]].float() - training.target(x0, noise, sigma)).square(), pick

    def facts(self, bootstraps: Sequence[Tensor]) -> dict[str, object]:
        """What a training that is gone on with must have in common with the one that was begun."""
        data = {"samples": [list(self.clean.shape), float(self.clean.double().sum())]}
        return asdict(self.options) | data | {"bootstraps": [[len(rows), int(rows.sum())] for rows in bootstraps]}


def member_start_generator(seed: int, k: int) -> torch.Generator:
    """For the parameters that member k begins with."""
    return step_generator(seed, (k + 1) << 56)


def copy_state(parameters: Mapping[str, Tensor], adam: torch.optim.Adam, losses: Sequence[float]) -> TrainedMember:
    values = {name: leaf.detach().cpu().clone() for name, leaf in parameters.items()}
    moments = {f"{name}|{key}": v.detach().cpu().clone() for name, leaf in parameters.items() for key, v in adam.state[leaf].items()}
    return TrainedMember(values, moments, tuple(losses))


def restore_state(earlier: TrainedMember, parameters: Mapping[str, Tensor], adam: torch.optim.Adam) -> tuple[float, ...]:
    """Put an earlier state into the parameters and the optimiser; returns its losses."""
    shapes = {name: tuple(t.shape) for name, t in earlier.parameters.items()}
    if shapes != {name: tuple(t.shape) for name, t in parameters.items()}:
        raise ValueError("The training that was begun has parameters of other names or shapes: delete its checkpoint to begin anew.")
    with torch.no_grad():
        for name, leaf in parameters.items():
            leaf.copy_(earlier.parameters[name])
    for key, value in earlier.moments.items():
        name, moment = key.rsplit("|", 1)
        leaf = parameters[name]
        adam.state[leaf][moment] = value.clone() if moment == "step" else value.to(leaf, copy=True)
    return earlier.losses


def check_data(clean: Tensor, bootstraps: Sequence[Tensor]) -> None:
    """Raises ValueError, in a sentence, for samples or bootstraps that can't be trained on."""
    if clean.ndim < 3 or len(clean) == 0:
        raise ValueError(f"Training samples must have the shape (samples, channels, ...), got {tuple(clean.shape)}.")
    for i, finite in enumerate(clean.flatten(1).isfinite().all(dim=1).tolist()):
        if not finite:
            raise ValueError(f"Training sample {i} holds NaN or infinite values: leave it out.")
    if not bootstraps:
        raise ValueError("The ensemble is empty: train at least one member, two to compare them.")
    for k, rows in enumerate(bootstraps):
        if len(rows) == 0 or int(rows.min()) < 0 or int(rows.max()) >= len(clean):
            raise ValueError(f"The bootstrap of member {k + 1} must name at least one of the {len(clean)} samples, and no other.")


def save_checkpoint(path: Path, members: Sequence[TrainedMember], facts: Mapping[str, object]) -> None:
    tensors: dict[str, Tensor] = {}
    for k, member in enumerate(members):
        tensors |= {f"{k}|parameters|{name}": t for name, t in member.parameters.items()}
        tensors |= {f"{k}|moments|{name}": t for name, t in member.moments.items()}
    save_tensors(path, tensors, KIND, VERSION, {"facts": facts, "losses": [list(member.losses) for member in members]})


def load_checkpoint(path: Path, facts: Mapping[str, object]) -> list[TrainedMember]:
    """The members so far. Raises ValueError for a checkpoint that is damaged, or of a training with other options or data."""
    tensors, m = load_tensors(path, KIND, VERSION)
    earlier = m.get("facts")
    for name, value in facts.items():
        before = earlier.get(name) if isinstance(earlier, dict) else None
        if before != value:
            raise ValueError(
                f"{str(path)!r} is of a training with {name} {before}, asked for is {value}: go on as it began, or delete it to begin anew."
            )
    with intact(path, KIND):
        losses = [check_losses(each) for each in check_list("losses", m["losses"])]
        return [load_member(part, each) for part, each in zip(split_members(tensors, len(losses), "|"), losses, strict=True)]


def load_member(tensors: Mapping[str, Tensor], losses: tuple[float, ...]) -> TrainedMember:
    """One member of a checkpoint. Raises ValueError, naming the tensor, for one that no training leaves."""
    parts: dict[str, dict[str, Tensor]] = {"parameters": {}, "moments": {}}
    for key, tensor in tensors.items():
        part, _, name = key.partition("|")
        moment = name.rpartition("|")[2]
        low = 0 if part == "moments" and moment in ("step", "exp_avg_sq") else -math.inf  # Adam's count of steps and mean of squares
        parts[part][name] = check_tensor(key, tensor, low=low)
    shapes = {name: tensor.shape for name, tensor in parts["parameters"].items()}
    moments = {f"{name}|{moment}": () if moment == "step" else shape for name, shape in shapes.items() for moment in MOMENTS}
    if (
        not shapes
        or not losses
        or {name: tuple(tensor.shape) for name, tensor in parts["moments"].items()}
        != {name: tuple(shape) for name, shape in moments.items()}
    ):
        raise ValueError("a member lacks parameters, losses, or what the optimiser knows of each parameter")
    return TrainedMember(parts["parameters"], parts["moments"], losses)
