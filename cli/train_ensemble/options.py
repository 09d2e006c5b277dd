"""What the train-ensemble command is asked for, checked before anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...core.options import BootstrapOptions, EnsembleKind, EnsembleTrainingOptions, check_fields
from ...core.options.limits import MEMBERS, PIXELS, RANK, VECTORS
from ..shared.checks import DEMO, check_new_file
from ..shared.inputs.loading import LoadingOptions
from ..shared.notes import settings_code

KINDS = (EnsembleKind.CLASS_EMBEDDING, EnsembleKind.EMBEDDING, EnsembleKind.LORA)  # that this command trains


@dataclass(frozen=True)
class TrainOptions:
    """kind None: what the model can: class embeddings for the demo, LoRAs for pipelines. size: sides of the images, 0 = the model's."""

    folder: Path
    out: Path
    model: str = DEMO
    kind: EnsembleKind | None = None
    members: int = MEMBERS.field()
    training: EnsembleTrainingOptions = EnsembleTrainingOptions()
    bootstrap: BootstrapOptions = BootstrapOptions()
    rank: int = RANK.field()
    vectors: int = VECTORS.field()
    begin: str = ""
    prompt: str = ""
    size: int = PIXELS.field()
    device: str = "cpu"
    export: Path | None = None
    loading: LoadingOptions = LoadingOptions()

    def __post_init__(self) -> None:
        check_fields(self)
        if (self.model == DEMO) != (self.member_kind is EnsembleKind.CLASS_EMBEDDING):
            able = "class_embedding" if self.model == DEMO else "embedding and lora"
            raise ValueError(f"kind {self.member_kind.value} can't be trained on {self.model!r}, which takes {able}.")
        if self.export is not None and self.member_kind is EnsembleKind.CLASS_EMBEDDING:
            raise ValueError("Class-embedding tables have no file format of their own: leave export out.")
        check_new_file(self.out)
        self.loading.check(self.model)

    @property
    def member_kind(self) -> EnsembleKind:
        return self.kind or (EnsembleKind.CLASS_EMBEDDING if self.model == DEMO else EnsembleKind.LORA)

    def checkpoint(self, member: int) -> Path:
        """What a stopped run goes on from, of this very model. member: from 0."""
        told = {"model": Path(self.model).resolve().as_posix(), **self.loading.fingerprint()}
        code = "" if self.model == DEMO else f"{settings_code(told)}."
        return self.out.with_suffix(f".member-{member + 1}.{code}checkpoint.safetensors")
