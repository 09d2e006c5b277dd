"""What the train-ensemble command is asked on the command line."""

from __future__ import annotations

import argparse
from pathlib import Path

from ...core.options import LEARNING_RATES, MAX_SEED, Bootstrap, BootstrapOptions, EnsembleKind, EnsembleTrainingOptions
from ..shared.arguments import whole

TEXT = """Train an ensemble on a folder of images: several small additions to one model, each on its own draw of the images.
How far they disagree about an image tells how little the model knows of it. A stopped run goes on where it was.

Demo model: white digits on black in sub-folders 0 to 9; trains tables of class embeddings. Other models: the folder of a saved
Stable Diffusion (1, 2, XL or 3) pipeline; trains LoRAs (needs peft), or the embeddings of one new word, written * in captions.
Captions: a .txt beside each image, else --prompt for all, in which {folder} stands for the name of the image's folder."""
KINDS = [kind.value for kind in (EnsembleKind.CLASS_EMBEDDING, EnsembleKind.EMBEDDING, EnsembleKind.LORA)]
DEFAULT = EnsembleTrainingOptions()


def add_train_ensemble(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    wide = argparse.RawDescriptionHelpFormatter
    rates = ", ".join(f"{LEARNING_RATES[EnsembleKind(kind)]:g} for {kind}" for kind in KINDS)
    train = commands.add_parser("train-ensemble", help="train an ensemble on a folder of images", description=TEXT, formatter_class=wide)
    train.add_argument("folder", type=Path, help="folder of images")
    train.add_argument("--out", type=Path, default=Path("ensemble.safetensors"), help="file to write (default: %(default)s)")
    train.add_argument("--model", default="demo", help="demo, or the folder of a saved diffusers pipeline (default: %(default)s)")
    train.add_argument("--kind", choices=KINDS, help="what members have of their own (default: class_embedding for demo, else lora)")
    train.add_argument("--members", type=whole(1, 1024), default=5, help="(default: %(default)s)")
    train.add_argument("--steps", type=whole(1, 1_000_000), default=DEFAULT.steps, help="of each member (default: %(default)s)")
    train.add_argument("--batch", type=whole(1, 4096), default=DEFAULT.batch, help="images a step (default: %(default)s)")
    train.add_argument("--learning-rate", type=float, default=0.0, help=f"(default: {rates})")
    train.add_argument(
        "--bootstrap", choices=[b.value for b in Bootstrap], default=BootstrapOptions().kind.value, help="(default: %(default)s)"
    )
    train.add_argument("--bootstrap-size", type=whole(0, 10**9), default=0, help="images a member; 0: all, or its share where disjoint")
    train.add_argument("--rank", type=whole(1, 1024), default=4, help="of LoRAs (default: %(default)s)")
    train.add_argument("--vectors", type=whole(1, 64), default=1, help="of an embedding (default: %(default)s)")
    train.add_argument("--begin", default="", help="words whose embeddings an embedding begins with (default: random)")
    train.add_argument("--prompt", default="", help="caption of images that have none")
    train.add_argument("--size", type=whole(0, 16384), default=0, help="sides of the images in pixels (default: the model's own)")
    train.add_argument("--seed", type=whole(0, MAX_SEED), default=0)
    train.add_argument("--device", default="cpu", help="where torch computes: cpu, cuda, mps (default: %(default)s)")
    train.add_argument("--export", type=Path, metavar="FOLDER", help="also write each member as an ordinary LoRA or embedding file")
    train.set_defaults(run=run_train_ensemble)


def run_train_ensemble(a: argparse.Namespace) -> None:
    try:
        from .run import TrainOptions, run  # late: --help must not wait for torch and diffusers
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"Training needs {error.name}: pip install 'uncertainty-nodes[diffusers]'.") from error
    named = {name: getattr(a, name) for name in TrainOptions.__dataclass_fields__ if name not in ("kind", "training", "bootstrap")}
    kind = None if a.kind is None else EnsembleKind(a.kind)
    training = EnsembleTrainingOptions(a.steps, a.batch, a.learning_rate, a.seed)
    run(TrainOptions(**named, kind=kind, training=training, bootstrap=BootstrapOptions(Bootstrap(a.bootstrap), a.bootstrap_size, a.seed)))
