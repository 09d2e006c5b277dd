"""ComfyUI host: the same noise sampled at several values of one setting, with what each costs and how unsure the model is of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ....core.options import GuidanceMode, GuidanceOptions, SweepSetting
from ....core.result import Uncertainty
from ..guidance import count_draws, sample_guided
from ..sampling.ksampler import KSample, Latent, Progress
from .grid import draw_grid
from .grid_layout import side, sweep_cells


@dataclass(frozen=True)
class Sweep:
    """One value of a sweep. plain, guiding: model calls per image of the sampler alone, and those that guidance adds."""

    label: str
    latent: Latent
    uncertainty: Uncertainty
    plain: float
    guiding: float

    @property
    def scores(self) -> list[float]:
        return self.uncertainty.scores.tolist()

    def cost(self, cheapest: float) -> str:
        """Calls per image, and how many more, and how many times as many, that is than ``cheapest``: sampling without guidance."""
        calls = self.plain + self.guiding
        more = f", +{calls - cheapest:g}, x{calls / cheapest:.2g}" if calls > cheapest else ""
        return f"{calls:g} model calls{more}"


@dataclass
class _Calls:
    """Rows that the network evaluates."""

    rows: int = 0
    key: str = field(default="uncertainty_sweep", init=False)

    def __call__(self, executor: Callable[..., Any], x: Tensor, *args: Any, **kwargs: Any) -> Any:
        self.rows += len(x)
        return executor(x, *args, **kwargs)

    def count(self, model: ModelPatcher) -> ModelPatcher:
        counted = model.clone()
        counted.add_wrapper_with_key(WrappersMP.APPLY_MODEL, self.key, self)
        return counted


def run_sweep(
    sampling: KSample, options: GuidanceOptions, setting: SweepSetting, values: Sequence[float] | Sequence[GuidanceMode]
) -> list[Sweep]:
    """Each value from the same noise; guidance at strength 0 draws bit for bit what KSampler draws.

    Raises ValueError for what ``sample_guided`` refuses.
    """
    plans = [(label_of(setting, value), *plan(sampling, options, setting, value)) for value in values]
    sigmas = sampling.sigmas()
    lengths = [len(sigmas) - 1 + count_draws(sampling.model, sigmas[:-1], guided) for _, _, guided in plans]
    progress = Progress(sampling.model, sum(lengths))
    done = []
    for (label, planned, guided), length in zip(plans, lengths, strict=True):
        progress.start_run(length)
        calls = _Calls()
        latent, uncertainty = sample_guided(replace(planned, model=calls.count(planned.model)), guided, progress)
        plain = calls.rows / len(uncertainty) - uncertainty.nfe
        done.append(Sweep(label, latent, uncertainty, plain, uncertainty.nfe if guided.strength else 0.0))
    return done


def plan(sampling: KSample, options: GuidanceOptions, setting: SweepSetting, value: Any) -> tuple[KSample, GuidanceOptions]:
    if setting is SweepSetting.CFG:
        return replace(sampling, cfg=value), options
    return sampling, replace(options, **{setting.value: value})


def label_of(setting: SweepSetting, value: float | GuidanceMode) -> str:
    return f"{setting.value} {value.value if isinstance(value, GuidanceMode) else format(value, 'g')}"


def decode(vae: Any, latent: Latent) -> list[Tensor]:
    """A picture (1, H, W, 3), or the frames of a video, for each sample of a latent."""
    images = vae.decode(latent["samples"])
    if images.ndim == 5:
        images = images.reshape(-1, *images.shape[-3:])
    return list(images.split(len(images) // len(latent["samples"])))


def costs(sweeps: Sequence[Sweep]) -> list[str]:
    cheapest = min(each.plain for each in sweeps)
    return [each.cost(cheapest) for each in sweeps]


def draw_sweep(sweeps: Sequence[Sweep], pictures: Sequence[Sequence[Tensor]], title: str) -> Tensor:
    """An IMAGE: a column for each value and a row for each image of the batch; many values of one image in several rows."""
    cells = sweep_cells([each.label for each in sweeps], costs(sweeps), pictures, [each.scores for each in sweeps])
    return draw_grid(cells, len(sweeps) if len(pictures[0]) > 1 else side(len(sweeps)), title)
