"""What the train-ensemble command is asked on the command line."""

from __future__ import annotations

import argparse
from pathlib import Path

from ...core.options import LEARNING_RATES, Bootstrap, BootstrapOptions, EnsembleKind, EnsembleTrainingOptions, bounds
from ...core.options.limits import MEMBERS, PIXELS, RANK, VECTORS
from ..shared.arguments import (
    DEFAULT,
    Commands,
    add_command,
    add_engine,
    add_model,
    add_seed_and_device,
    add_whole,
    needs_diffusers,
    read_engine,
    read_options,
    words,
)
from ..shared.inputs.loading import add_loading, read_loading
from .options import KINDS, TrainOptions

TEXT = """Train an ensemble on a folder of images: several small additions to one model, each on its own draw of the images.
How far they disagree about an image tells how little the model knows of it. A stopped run goes on where it was.

Demo model: white digits on black in sub-folders 0 to 9; trains tables of class embeddings. Other models: Stable Diffusion (1, 2, XL
or 3), as the folder of a saved pipeline or one .safetensors file; trains LoRAs (needs peft), or the embeddings of one new word, written *
in captions. With --lora or --textual-inversion the members are additions to the model with those, and belong to it.
Captions: a .txt beside each image, else --prompt for all, in which {folder} stands for the name of the image's folder.

Transparent images are taken as they look on a white page. An image or caption that can't be read is named and left out."""


def add_train_ensemble(commands: Commands[argparse.ArgumentParser]) -> None:
    rates = ", ".join(f"{LEARNING_RATES[kind]:g} for {kind.value}" for kind in KINDS)
    train = add_command(commands, "train-ensemble", "train an ensemble on a folder of images", TEXT)
    train.add_argument("folder", type=Path, help="folder of images")
    train.add_argument("--out", type=Path, default=Path("ensemble.safetensors"), help=f"file to write {DEFAULT}")
    add_model(train)
    kinds = [kind.value for kind in KINDS]
    train.add_argument("--kind", choices=kinds, help="what each member is trained to have (default: class_embedding for demo, else lora)")
    add_whole(train, "--members", bounds=MEMBERS, help="how many to train")
    add_whole(train, "--steps", bounds=bounds(EnsembleTrainingOptions, "steps"), help="training steps of each member")
    add_whole(train, "--batch", bounds=bounds(EnsembleTrainingOptions, "batch"), help="images a step")
    rate = bounds(EnsembleTrainingOptions, "learning_rate").default
    train.add_argument("--learning-rate", type=float, default=rate, help=f"of each member at the first step (default: {rates})")
    draws = [draw.value for draw in Bootstrap]
    train.add_argument("--bootstrap", choices=draws, default=BootstrapOptions.kind.value, help=f"how each draws its images {DEFAULT}")
    size = bounds(BootstrapOptions, "size")
    add_whole(train, "--bootstrap-size", bounds=size, help="images a member; 0: all, or its share where disjoint")
    add_whole(train, "--rank", bounds=RANK, help="size of the LoRAs")
    add_whole(train, "--vectors", bounds=VECTORS, help="how many vectors stand for the new word")
    train.add_argument("--begin", type=words, default="", help="words whose embeddings the new word begins with (default: random)")
    train.add_argument("--prompt", type=words, default="", help="caption of images that have none")
    add_whole(train, "--size", bounds=PIXELS, help="sides of the images in pixels; 0: as the model draws")
    add_seed_and_device(train)
    add_engine(train)
    add_loading(train, sampling=False, training=True)
    train.add_argument("--export", type=Path, metavar="FOLDER", help="also write each member as an ordinary LoRA or embedding file")
    train.set_defaults(run=run_train_ensemble)


def run_train_ensemble(a: argparse.Namespace) -> None:
    with needs_diffusers("Training"):
        from ..shared.engine import make_engine
        from .run import run
    kind = None if a.kind is None else EnsembleKind(a.kind)
    training = EnsembleTrainingOptions(a.steps, a.batch, a.learning_rate, a.seed)
    bootstrap = BootstrapOptions(Bootstrap(a.bootstrap), a.bootstrap_size, a.seed)
    engine = make_engine(read_engine(a), a.device)
    run(read_options(TrainOptions, a, kind=kind, training=training, bootstrap=bootstrap, loading=read_loading(a)), engine)
