"""What the fit-laplace command is asked on the command line."""

from __future__ import annotations

import argparse
from pathlib import Path

from ...core.options import Covariance, LaplaceOptions, bounds
from ..shared.arguments import (
    DEFAULT,
    Commands,
    add_batch,
    add_class,
    add_command,
    add_model,
    add_seed_and_device,
    add_whole,
    needs_diffusers,
    read_options,
    words,
)
from ..shared.inputs.loading import add_loading, read_loading
from .options import SUGGESTED_SAMPLES, WIDTH_SAMPLES, FitOptions

TEXT = f"""Fit the last-layer Laplace posterior of a model on a folder of images like those that it was trained on. Generative uncertainty
and BayesDiff draw from it. A stopped run goes on where it was.

Demo model: white digits on black in sub-folders 0 to 9, or --class for all; without a folder, the 512 real digits that come with the
package. The demo model's own fit comes with it too, so that this is for trying. Other models: Stable Diffusion (1, 2, XL or 3), as the
folder of a saved pipeline or one .safetensors file; captions as a .txt beside each image, else --prompt for all. About
{SUGGESTED_SAMPLES:,} images serve well. The fit belongs to the model as it is loaded: draw with the same --lora later.

Transparent images are taken as they look on a white page. An image or caption that can't be read is named and left out."""


def add_fit_laplace(commands: Commands[argparse.ArgumentParser]) -> None:
    fit = add_command(commands, "fit-laplace", "fit a model's last-layer posterior on a folder of images", TEXT)
    fit.add_argument("folder", type=Path, nargs="?", help="folder of images (demo: the package's own digits when left out)")
    fit.add_argument("--out", type=Path, default=Path("laplace.safetensors"), help=f"file to write {DEFAULT}")
    add_model(fit)
    condition = fit.add_mutually_exclusive_group()
    add_class(condition, "the digit that all images show")
    condition.add_argument(
        "--prompt", type=words, default="", help="other models: caption of images that have none (default: the empty one)"
    )
    draws = f"as many as make {SUGGESTED_SAMPLES:,}"
    add_whole(fit, "--draws", bounds=bounds(LaplaceOptions, "draws"), help="noisy copies of each image", default=draws)
    kinds = [kind.value for kind in Covariance]
    fit.add_argument("--covariance", choices=kinds, default=FitOptions.covariance.value, help=f"what it knows of the weights {DEFAULT}")
    precision = bounds(FitOptions, "prior_precision").default
    fit.add_argument("--prior-precision", type=float, default=precision, help="may be changed later (default: %(default)g)")
    variance = f"images x draws / {WIDTH_SAMPLES:,}"
    fit.add_argument("--noise-variance", type=float, help=f"may be changed later; more = wider (default: {variance})")
    fit.add_argument("--layer", default="", help="name of the last layer (default: found by itself)")
    add_seed_and_device(fit)
    add_batch(fit)
    add_loading(fit, sampling=False)
    fit.set_defaults(run=run_fit_laplace)


def run_fit_laplace(arguments: argparse.Namespace) -> None:
    with needs_diffusers("Fitting"):
        from .run import run
    run(read_options(FitOptions, arguments, covariance=Covariance(arguments.covariance), loading=read_loading(arguments)))
