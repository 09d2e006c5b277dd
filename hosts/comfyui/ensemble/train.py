"""ComfyUI host: train the members of an ensemble inside a sampling run, where the model is in its place; the model stays as it is."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import comfy.model_management
import comfy.samplers
import comfy.utils
import folder_paths
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor, nn

from ....core.ensemble.bootstrap import bootstraps
from ....core.ensemble.file import EnsembleParameters, MemberParameters
from ....core.ensemble.training import TrainedMember, train
from ....core.guidance.inference_weights import normal
from ....core.last_layer.find import Identity, find_last_layer
from ....core.options import LEARNING_RATES, BootstrapOptions, EnsembleKind, EnsembleTrainingOptions, check_whole
from ..last_layer.laplace import check_whole_image
from ..last_layer.network_output import training
from ..model import Conditioned, check_latent
from ..sampling.gradient import differentiable
from ..sampling.probe import Conditioning, Probe, run_in_place
from .trainable import Loras, Texts, by_prompt, conds_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingSettings:
    """lora: train LoRAs of this rank; 0 = the prompts' texts."""

    members: int = 5
    rank: int = 0
    options: EnsembleTrainingOptions = field(default_factory=EnsembleTrainingOptions)
    bootstrap: BootstrapOptions = field(default_factory=BootstrapOptions)


@dataclass
class Trainer(Probe):
    """Trains in a sampler's place, on other latents than those of the run."""

    plan: TrainingSettings
    latents: Tensor
    prompt_of: Tensor
    checkpoint: Path
    on_step: Callable[[], None]
    ensemble: EnsembleParameters | None = None

    def measure(self, guider: comfy.samplers.CFGGuider, latent: Tensor, options: dict[str, Any]) -> None:
        count = int(self.prompt_of.max()) + 1
        for i in range(count):
            check_whole_image(guider.conds[f"prompt {i + 1}"], "positive")
        clean = guider.inner_model.process_latent_in(self.latents).float().to(latent.device)
        with torch.inference_mode(False):
            every = Conditioned(guider.inner_model, conds_of(guider.conds, count), options)
            with differentiable(every) as conditioned:
                self.ensemble = self.train(conditioned, clean.clone())

    def train(self, conditioned: Conditioned, clean: Tensor) -> EnsembleParameters:
        plan, model = self.plan, conditioned.model
        network, prompts = model.diffusion_model, conditioned.cond
        parts = Loras(prompts, network, plan.rank, plan.options.seed, clean.device) if plan.rank else Texts(prompts)
        loss = training(model.model_sampling, by_prompt(parts, conditioned, self.prompt_of))
        if isinstance(parts, Loras):
            level = loss.levels[:1].to(clean)
            parts.keep_used(lambda: loss.predict(clean[:1], level, torch.tensor([0])).square().mean())
        table = class_table(network)
        texts = EnsembleKind.CONDITIONING if table is None else EnsembleKind.CLASS_EMBEDDING
        kind = EnsembleKind.LORA if plan.rank else texts
        rows = bootstraps(len(clean), plan.members, plan.bootstrap, self.prompt_of)
        trained = train(loss, clean, rows, parts.enter, LEARNING_RATES[kind], plan.options, self.checkpoint, self.progress)
        files = [lora_file(t, plan.rank) if isinstance(parts, Loras) else text_file(t, parts, table) for t in trained]
        members = [MemberParameters(f"member {k + 1}", file, t.losses) for k, (file, t) in enumerate(zip(files, trained, strict=True))]
        return EnsembleParameters(kind, tuple(members), identity_of(network), provenance(plan, len(clean), type(model).__name__))

    def progress(self, member: int, step: int, loss: float) -> None:
        self.on_step()
        comfy.model_management.throw_exception_if_processing_interrupted()


def train_ensemble(
    model: ModelPatcher, latents: Sequence[dict[str, Any]], positives: Sequence[Conditioning], plan: TrainingSettings
) -> EnsembleParameters:
    """Members trained on latents of one shape, under one conditioning for all, or one for each LATENT of the list.

    Cost: steps x members training steps of a batch. Cancelled, it goes on where it was when the same is asked for again.
    Latents that hold NaN are left out. Raises ValueError for latents of another model, of several shapes or all of them NaN,
    conditionings in parts, a bootstrap larger than the data, a model that can't be trained so, and a loss that is not finite.
    """
    check_whole("members", plan.members, 1)
    for latent in latents:
        check_latent(model, latent["samples"])
    shapes = {tuple(latent["samples"].shape[1:]) for latent in latents}
    if len(shapes) > 1:
        raise ValueError(f"latents must be of one size to train on, got {' and '.join(map(str, sorted(shapes)))}; scale the images alike.")
    if len(positives) not in (1, len(latents)):
        raise ValueError(f"positive must be one conditioning, or one for each of the {len(latents)} latents, got {len(positives)}.")
    samples = torch.cat([latent["samples"] for latent in latents])
    which = range(len(positives)) if len(positives) > 1 else [0] * len(latents)
    prompt_of = torch.cat([torch.full((len(latent["samples"]),), i) for i, latent in zip(which, latents, strict=True)])
    if any(len(text) > 1 for positive in positives for text, _ in positive if isinstance(text, Tensor)):
        raise ValueError("positive holds several prompts in one batch, which can't be told apart here; wire them as a list.")
    samples, prompt_of = without_failed(samples, prompt_of)
    bootstraps(len(samples), plan.members, plan.bootstrap, prompt_of)  # refuse before the model is loaded
    bar = comfy.utils.ProgressBar(plan.members * plan.options.steps)
    checkpoint = checkpoint_of(model, samples, positives, plan)
    trainer = Trainer(plan, samples, prompt_of, checkpoint, lambda: bar.update(1))
    conds = {f"prompt {i + 1}": normal(positive) for i, positive in enumerate(positives)}
    run_in_place(model, conds, samples[: plan.options.batch], trainer, plan.options.seed)
    if trainer.ensemble is None:
        raise RuntimeError("ComfyUI ended the sampling run without training; queue the workflow again.")
    checkpoint.unlink(missing_ok=True)
    return trainer.ensemble


def without_failed(samples: Tensor, prompt_of: Tensor) -> tuple[Tensor, Tensor]:
    """Without the latents that hold NaN, which one line of the log names. Raises ValueError when none is left."""
    usable = samples.isfinite().flatten(1).all(dim=1)
    if not usable.any():
        raise ValueError("latents hold nothing but images with NaN or infinite values: there is nothing to train on.")
    if not usable.all():
        numbers = ", ".join(str(image + 1) for image in (~usable).nonzero().flatten().tolist())
        log.warning("Train Ensemble leaves out %s of %d latents, which hold NaN or infinite values.", f"number {numbers}", len(samples))
    return samples[usable], prompt_of[usable]


def checkpoint_of(model: ModelPatcher, samples: Tensor, positives: Sequence[Conditioning], plan: TrainingSettings) -> Path:
    """In ComfyUI's temporary folder, under a name that other data, another model, prompt or plan does not have."""
    digest = hashlib.sha256(repr((model.patches_uuid, plan, tuple(samples.shape))).encode())
    for tensor in (samples, *(text for positive in positives for text, _ in positive)):
        digest.update(tensor.float().cpu().contiguous().numpy().tobytes())
    return Path(folder_paths.get_temp_directory()) / "uncertainty" / f"training_{digest.hexdigest()[:16]}.safetensors"


def class_table(network: nn.Module) -> Tensor | None:
    """(classes, D), of a model whose conditioning is a row of it, as the demo model's is."""
    table = getattr(network, "class_embedding", None)
    return table.weight.detach().float() if isinstance(table, nn.Embedding) else None


def lora_file(trained: TrainedMember, rank: int) -> dict[str, Tensor]:
    """A member as stock loaders read it."""
    layers = sorted({name.rsplit(".", 1)[0] for name in trained.parameters})
    alphas = {f"diffusion_model.{layer}.alpha": torch.tensor(float(rank)) for layer in layers}
    return {f"diffusion_model.{name}.weight": value for name, value in trained.parameters.items()} | alphas


def text_file(trained: TrainedMember, texts: Texts, table: Tensor | None) -> dict[str, Tensor]:
    """A member's table where there is one, else what it reads in place of each prompt."""
    pairs = [
        (prompt["cross_attn"][0].detach().float().cpu(), text[0].clone())
        for prompt, text in zip(texts.prompts, texts.split(trained.parameters["own"]), strict=True)
    ]
    if table is not None:
        return {"class_embedding.weight": with_rows(table.cpu(), pairs)}
    return {f"{name}.{i}": text for i, pair in enumerate(pairs) for name, text in zip(("base", "own"), pair, strict=True)}


def with_rows(table: Tensor, pairs: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """The table with the rows that were trained. Raises ValueError for a conditioning that is no row of it."""
    table = table.clone()
    before = table.clone()
    for known, trained in pairs:
        rows = (before == known).all(dim=1).nonzero()[:, 0].tolist() if known.shape == before[:1].shape else []
        if not rows:
            raise ValueError("positive is none of the classes of this model: connect that of Load Demo Model.")
        table[rows[0]] = trained[0]
    return table


def identity_of(network: nn.Module) -> Identity | None:
    """None for a network whose last layer is not known by name."""
    try:
        return Identity.of(network, find_last_layer(network))
    except ValueError:
        return None


def provenance(plan: TrainingSettings, count: int, model: str) -> dict[str, str]:
    return {
        "host": "comfyui",
        "model": model,
        "samples": str(count),
        "steps": str(plan.options.steps),
        "batch": str(plan.options.batch),
        "bootstrap": plan.bootstrap.kind.value,
        "seed": str(plan.options.seed),
    }
