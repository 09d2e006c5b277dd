"""ComfyUI host: what sampling runs leave behind for the nodes that come after them (UQ_RECORD)."""

from __future__ import annotations

import hashlib
from collections import OrderedDict

import torch
from torch import Tensor

from ....core.result import Uncertainty

KEPT_RUNS = 16


class Record:
    """Results of the runs of one patched model, found again by the latent that a run made.

    One for each execution of a node that patches a model. ComfyUI keeps node outputs, so several samplers, and runs of later
    prompts, may share it: each latent still finds its own result. The last 16 runs are kept.
    """

    def __init__(self) -> None:
        self._runs: OrderedDict[str, Uncertainty | str] = OrderedDict()

    def keep(self, latent: Tensor, outcome: Uncertainty | str) -> None:
        """outcome: a result, or the sentence that says why there is none: a run must not fail because nothing was measured."""
        self._runs.pop(name := fingerprint(latent), None)
        self._runs[name] = outcome
        while len(self._runs) > KEPT_RUNS:
            self._runs.popitem(last=False)

    def of(self, latent: Tensor) -> Uncertainty:
        """The result of the run that made ``latent``; of the latest run when the latent was changed since.

        Raises ValueError when no run was recorded, it measured nothing, or it was of another number of images.
        """
        if not self._runs:
            raise ValueError(
                "record is empty: no sampler has run the model that came out beside it. "
                "Connect that model to a sampler, and latent to the sampler's output."
            )
        outcome = self._runs.get(fingerprint(latent), next(reversed(self._runs.values())))
        if isinstance(outcome, str):
            raise ValueError(outcome)
        if len(outcome) != latent.shape[0]:
            raise ValueError(
                f"record describes {len(outcome)} images, but latent holds {latent.shape[0]}; connect the latent that was sampled."
            )
        return outcome


def fingerprint(latent: Tensor) -> str:
    plain = latent.detach().cpu().contiguous()
    return hashlib.blake2b(plain.view(torch.uint8).numpy().tobytes(), digest_size=16).hexdigest() + str(tuple(plain.shape))
