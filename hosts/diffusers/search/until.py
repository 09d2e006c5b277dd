"""diffusers host: sampling again, with another seed, until images are good."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from diffusers import DiffusionPipeline
from torch import Tensor, nn

from ....core.options import Request, UntilOptions
from ....core.search.until import Until, Verdict
from ....core.selection.calibration import Calibration
from ..draw import DemoDrawer, PipelineDrawer, ScoredBy, draw_scored
from ..watch import network_of


@dataclass(frozen=True, eq=False)
class UntilAccepted:
    """images: (wanted, 1 or 3, H, W) in [0, 1], those of ``best``: accepted ones as they came, then the best of the others.

    verdicts: of every image tried; ``torch.Generator().manual_seed(verdict.seed)`` draws it again.  attempts, accepted: how many.
    nfe: network passes, of sampling and scoring together.
    """

    images: list[Tensor]
    best: tuple[Verdict, ...]
    verdicts: tuple[Verdict, ...]
    attempts: int
    accepted: int
    nfe: float


def until(
    pipe: DiffusionPipeline | DemoDrawer | PipelineDrawer,
    steps: int,
    by: ScoredBy,
    options: UntilOptions,
    calibration: Calibration | None = None,
    inputs: Mapping[str, Any] | None = None,
) -> UntilAccepted:
    """Draw one prompt again and again, one image an attempt, each from a seed of its own (``derive_seed``).

    pipe: a pipeline, which is called with ``inputs``, ``prompt`` among them; or a drawer, whose first prompt is drawn, by other seeds.
    by: what images are scored by. calibration: for the rule ``calibrated``, of that score. Only the best images so far are kept.
    Raises what ``draw_scored`` and ``core.search.until.Until.offer`` raise.
    """
    drawer = drawer_of(pipe, dict(inputs or {})) if isinstance(pipe, DiffusionPipeline) else pipe
    if isinstance(drawer, PipelineDrawer):  # a request's own seed would draw the same image each time
        drawer = replace(drawer, requests=[replace(drawer.request(0), seed=None)])
    run, images = Until(options, calibration), {}
    while not run.done:
        attempt, seeded = run.attempts, replace(drawer, seed=run.seed)
        with RowCount(network_of(drawer.target)) as count:
            drawn, result = draw_scored(seeded, [0], steps, by)
        run.offer(result.cpu(), nfe=count.rows)
        images[attempt] = drawn[0].cpu()
        images = {v.attempt: images[v.attempt] for v in run.best()}
    verdicts = {v.attempt: replace(v, seed=replace(drawer, seed=v.seed).seed_of(0)) for v in run.verdicts}  # as the noise was drawn
    best = tuple(verdicts[v.attempt] for v in run.best())
    return UntilAccepted([images[v.attempt] for v in best], best, tuple(verdicts.values()), run.attempts, run.accepted, run.nfe)


def drawer_of(pipe: DiffusionPipeline, inputs: dict[str, Any]) -> PipelineDrawer:
    """Raises ValueError where there is no prompt."""
    if not isinstance(prompt := inputs.pop("prompt", None), str):
        raise ValueError(f"inputs must hold the prompt, as one text, got {prompt!r}.")
    return PipelineDrawer(pipe, [Request(prompt)], 0, inputs)


class RowCount:
    """Counts the rows of a network's calls; passes of estimators don't meet its hook and are counted by themselves."""

    def __init__(self, network: nn.Module) -> None:
        self.network, self.rows = network, 0

    def __enter__(self) -> RowCount:
        def count(module: nn.Module, args: tuple, kwargs: dict, output: Any) -> None:
            self.rows += len(output[0])

        self.handle = self.network.register_forward_hook(count, with_kwargs=True)
        return self

    def __exit__(self, *error: object) -> None:
        self.handle.remove()
