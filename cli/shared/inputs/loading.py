"""How a model is loaded, as the command line asks for it; the demo model is loaded in one way only."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ....core.options import Precision, SchedulerName
from ....core.options.limits import LORA_STRENGTH
from ..checks import DEMO

if TYPE_CHECKING:
    import torch

    from ....hosts.diffusers.load import Setup


@dataclass(frozen=True)
class LoadingOptions:
    """loras: file and strength of each. embeddings: word and file of each. What None leaves open is found or is the model's own."""

    config: Path | None = None
    variant: str | None = None
    precision: Precision | None = None
    cpu_offload: bool = False
    loras: tuple[tuple[Path, float], ...] = ()
    embeddings: tuple[tuple[str, Path], ...] = ()
    scheduler: SchedulerName | None = None

    def check(self, model: str) -> None:
        """Raises ValueError for what doesn't go with this model."""
        asked = [field.name for field in fields(self) if getattr(self, field.name) != field.default]
        if model == DEMO and asked:
            flags = {"precision": "dtype", "loras": "lora", "embeddings": "textual-inversion"}
            flag = flags.get(asked[0], asked[0].replace("_", "-"))
            raise ValueError(f"--{flag} is for other models than demo: name one with --model, or leave it out.")
        for _, strength in self.loras:
            LORA_STRENGTH.check("the strength of a LoRA", strength)

    def setup(self) -> Setup:
        from ....hosts.diffusers.load import Setup

        return Setup(self.variant, self.config, self.loras, self.embeddings, self.scheduler, self.cpu_offload)

    @property
    def dtype(self) -> torch.dtype | None:
        import torch

        return None if self.precision is None else getattr(torch, self.precision.value)

    def fingerprint(self) -> dict[str, Any]:
        """What results depend on, by the names of the command line; nothing for a model as it is, as in runs of old."""
        told = {
            "variant": self.variant,
            "dtype": self.precision and self.precision.value,
            "lora": [[path.resolve().as_posix(), strength] for path, strength in self.loras],
            "textual_inversion": [[word, path.resolve().as_posix()] for word, path in self.embeddings],
            "scheduler": self.scheduler and self.scheduler.value,
        }
        return {name: value for name, value in told.items() if value}


def add_loading(parser: argparse.ArgumentParser, sampling: bool = True, training: bool = False) -> None:
    """sampling: whether the command samples, so that a scheduler is of use. training: whether the model has to stay where it computes."""
    group = parser.add_argument_group("how the model is loaded", "for other models than demo")
    told = "of a single file: folder of a saved pipeline of the same kind, for the small files that say how it is built"
    group.add_argument("--config", type=Path, help=f"{told} (default: a folder of the file's name beside it, else what diffusers kept)")
    group.add_argument("--variant", help="of the weights in a folder, such as fp16 (default: found by itself)")
    names = [precision.value for precision in Precision]
    default = "float32" if training else "float16 on a GPU, else float32"
    group.add_argument("--dtype", choices=names, help=f"what it computes in (default: {default})")
    if not training:
        told = "keep on the CPU what the GPU doesn't need just now: less memory, slower"
        group.add_argument("--cpu-offload", action="store_true", help=told)
    group.add_argument("--lora", type=lora, action="append", default=[], metavar="FILE[:STRENGTH]", help="may be given several times")
    told = "an embedding, and the word in prompts that stands for it (default: the file's name); may be given several times"
    group.add_argument("--textual-inversion", type=embedding, action="append", default=[], metavar="[WORD=]FILE", help=told)
    if sampling:
        group.add_argument("--scheduler", choices=[name.value for name in SchedulerName], help="what it samples with (default: its own)")


def read_loading(arguments: argparse.Namespace) -> LoadingOptions:
    scheduler = getattr(arguments, "scheduler", None)
    return LoadingOptions(
        arguments.config,
        arguments.variant,
        arguments.dtype and Precision(arguments.dtype),
        getattr(arguments, "cpu_offload", False),
        tuple(arguments.lora),
        tuple(arguments.textual_inversion),
        scheduler and SchedulerName(scheduler),
    )


def lora(text: str) -> tuple[Path, float]:
    """An argparse type: a file, and after a colon how strong. A colon of Windows' drives is none."""
    name, colon, strength = text.rpartition(":")
    if not colon or strength.lower().endswith(".safetensors"):
        return Path(text), LORA_STRENGTH.default
    try:
        return Path(name), float(strength)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a file, or FILE:STRENGTH such as style.safetensors:0.8, got {text!r}") from None


def embedding(text: str) -> tuple[str, Path]:
    """An argparse type: a word and a file, or a file whose name is the word."""
    word, equals, name = text.partition("=")
    return (word, Path(name)) if equals else (Path(text).stem, Path(text))
