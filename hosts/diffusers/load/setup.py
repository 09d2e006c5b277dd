"""What people change about a model when they load it: LoRAs, embeddings, the scheduler, and where its parts are kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import DiffusionPipeline

from ....core.files import reason_of
from ....core.options import SchedulerName

# name: diffusers' class, and what is set in it
SCHEDULERS: dict[SchedulerName, tuple[str, dict[str, Any]]] = {
    SchedulerName.DDIM: ("DDIMScheduler", {}),
    SchedulerName.DDPM: ("DDPMScheduler", {}),
    SchedulerName.EULER: ("EulerDiscreteScheduler", {}),
    SchedulerName.EULER_ANCESTRAL: ("EulerAncestralDiscreteScheduler", {}),
    SchedulerName.DPMPP_2M: ("DPMSolverMultistepScheduler", {}),
    SchedulerName.DPMPP_2M_KARRAS: ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
    SchedulerName.UNIPC: ("UniPCMultistepScheduler", {}),
    SchedulerName.LCM: ("LCMScheduler", {}),
}


@dataclass(frozen=True)
class Setup:
    """variant: of a folder's weights. config: of a single file. loras: file and strength of each. embeddings: word and file of each.

    cpu_offload: each part of the model is on the device only while it computes. scheduler: None keeps the model's own.
    """

    variant: str | None = None
    config: Path | None = None
    loras: tuple[tuple[Path, float], ...] = ()
    embeddings: tuple[tuple[str, Path], ...] = ()
    scheduler: SchedulerName | None = None
    cpu_offload: bool = False

    def check_files(self) -> None:
        """Raises FileNotFoundError for a file that isn't there, before anything is loaded."""
        for option, path in [*(("--lora", p) for p, _ in self.loras), *(("--textual-inversion", p) for _, p in self.embeddings)]:
            if not path.is_file() or path.suffix != ".safetensors":
                raise FileNotFoundError(f"There is no .safetensors file {str(path)!r}; {option} needs the path of one.")

    def apply(self, pipe: DiffusionPipeline, device: str) -> DiffusionPipeline:
        """Raises ValueError, in a sentence, for what doesn't fit this pipeline."""
        self.check_files()
        if self.scheduler is not None:
            set_scheduler(pipe, self.scheduler)
        add_loras(pipe, self.loras)
        for word, path in self.embeddings:
            add_embedding(pipe, word, path)
        if not self.cpu_offload:
            return pipe.to(device)
        if torch.device(device).type == "cpu":
            raise ValueError("--cpu-offload keeps on the CPU what the GPU doesn't need just now; name the GPU with --device, such as cuda.")
        offload(pipe, device)
        return pipe


def set_scheduler(pipe: DiffusionPipeline, name: SchedulerName) -> None:
    kind, settings = SCHEDULERS[name]
    if not hasattr(pipe.scheduler, "alphas_cumprod"):  # all of ours go by a table of them, as flow models do not
        raise ValueError(
            f"--scheduler {name.value} can't sample a {type(pipe).__name__} with its {type(pipe.scheduler).__name__}; leave it out to keep "
            "the model's own."
        )
    pipe.scheduler = getattr(diffusers, kind).from_config(pipe.scheduler.config, **settings)


def add_loras(pipe: DiffusionPipeline, loras: tuple[tuple[Path, float], ...]) -> None:
    """All at their strengths, melted into the weights: nothing is left to switch, and nothing to slow down."""
    if not loras:
        return
    names = [f"lora_{number}" for number in range(len(loras))]
    for name, (path, _) in zip(names, loras, strict=True):
        with sentence(f"The LoRA {str(path)!r} doesn't fit this model"):
            pipe.load_lora_weights(str(path.parent), weight_name=path.name, adapter_name=name, local_files_only=True)
    with sentence("The LoRAs can't be put into this model"):
        pipe.set_adapters(names, [strength for _, strength in loras])
        pipe.fuse_lora(adapter_names=names)
        pipe.unload_lora_weights()


def add_embedding(pipe: DiffusionPipeline, word: str, path: Path) -> None:
    if not hasattr(pipe, "load_textual_inversion"):
        raise ValueError(f"A {type(pipe).__name__} takes no embeddings; leave out --textual-inversion.")
    with sentence(f"The embedding {str(path)!r} doesn't fit this model"):
        pipe.load_textual_inversion(str(path.parent), weight_name=path.name, token=word, local_files_only=True)


def offload(pipe: DiffusionPipeline, device: str) -> None:
    pipe.enable_model_cpu_offload(device=device)


@contextmanager
def sentence(begin: str) -> Iterator[None]:
    """What a loader of diffusers raises, as one sentence."""
    try:
        yield
    except (OSError, ValueError, KeyError, RuntimeError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"{begin} ({reason_of(error):.300}); leave it out, or use one made for this kind of model.") from error
