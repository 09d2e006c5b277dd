"""ComfyUI host: what one sampling run did under guidance, evaluation by evaluation, for the stage in the front-end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ....core.guidance.price import Evaluation
from ....core.guidance.step import MIN_ALPHA
from ....core.options import Pooling
from ....core.pixelwise.aleatoric import Spread
from ....core.result import pool
from ..model import count_active, percent_to_sigma, process_of


@dataclass
class Trace:
    """Belongs to one run. sampling: the model's own, which knows its schedule.

    scores: of each guided evaluation, by its place among all, the pooled spread of each image (B,).
    total: sum over them of the first image's noise map (1, C, ...), by which guidance chooses its pixels.
    """

    sampling: Any
    evaluations: list[Evaluation] = field(default_factory=list)
    scores: dict[int, Tensor] = field(default_factory=dict)
    total: Tensor | None = None

    def add(self, args: dict[str, Any], level: float, passes: int, spread: Spread | None) -> None:
        """args: what ComfyUI tells after its CFG mix. passes: behind one draw. spread: where this evaluation was guided."""
        alpha = float(process_of(self.sampling).alpha(torch.tensor(level)))
        plain = count_active(args["cond"], level) + count_active(args.get("uncond"), level)
        drawn = passes if alpha >= MIN_ALPHA else 0
        self.evaluations.append(Evaluation.at(level, percent_to_sigma(self.sampling), plain, drawn))
        if spread is not None:
            self.scores[len(self.evaluations) - 1] = pool(spread.denoised, Pooling.MEAN).cpu()
            first = spread.noise[:1].cpu()
            self.total = first if self.total is None else self.total + first


OnTrace = Callable[[Trace], None]
