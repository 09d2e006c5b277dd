"""What the fit-laplace command is asked on the command line."""

from __future__ import annotations

import argparse
from pathlib import Path

from ...core.options import MAX_SEED, Covariance, LaplaceOptions
from ..shared.arguments import whole

TEXT = """Fit the last-layer Laplace posterior of a model on a folder of images like those that it was trained on. Generative uncertainty
and BayesDiff draw from it. A stopped run goes on where it was.

Demo model: white digits on black in sub-folders 0 to 9, or --class for all; without a folder, the 512 real digits that come with the
package. The demo model's own fit comes with it too, so that this is for trying. Other models: the folder of a saved Stable Diffusion
(1, 2, XL or 3) pipeline; captions as a .txt beside each image, else --prompt for all. About 1,000 images serve well."""
DEFAULT = LaplaceOptions()


def add_fit_laplace(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    wide = argparse.RawDescriptionHelpFormatter
    fit = commands.add_parser(
        "fit-laplace", help="fit a model's last-layer posterior on a folder of images", description=TEXT, formatter_class=wide
    )
    fit.add_argument("folder", type=Path, nargs="?", help="folder of images (demo: the package's own digits when left out)")
    fit.add_argument("--out", type=Path, default=Path("laplace.safetensors"), help="file to write (default: %(default)s)")
    fit.add_argument("--model", default="demo", help="demo, or the folder of a saved diffusers pipeline (default: %(default)s)")
    condition = fit.add_mutually_exclusive_group()
    condition.add_argument("--class", dest="label", type=whole(0, 9), help="demo: the digit that all images show")
    condition.add_argument("--prompt", default="", help="other models: caption of images that have none (default: the empty one)")
    fit.add_argument("--draws", type=whole(1, 10_000), help="noisy copies of each image (default: as many as make 1,000)")
    kinds = [kind.value for kind in Covariance]
    fit.add_argument("--covariance", choices=kinds, default=DEFAULT.covariance.value, help="(default: %(default)s)")
    fit.add_argument("--prior-precision", type=float, default=DEFAULT.prior_precision, help="may be changed later (default: %(default)g)")
    fit.add_argument("--noise-variance", type=float, help="may be changed later; more = wider (default: images x draws / 10,000)")
    fit.add_argument("--layer", default="", help="name of the last layer (default: found by itself)")
    fit.add_argument("--seed", type=whole(0, MAX_SEED), default=0)
    fit.add_argument("--batch", type=whole(1, 4096), default=8, help="images at once; no result depends on it (default: %(default)s)")
    fit.add_argument("--device", default="cpu", help="where torch computes: cpu, cuda, mps (default: %(default)s)")
    fit.set_defaults(run=run_fit_laplace)


def run_fit_laplace(a: argparse.Namespace) -> None:
    try:
        from .run import FitOptions, run  # late: --help must not wait for torch and diffusers
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"Fitting needs {error.name}: pip install 'uncertainty-nodes[diffusers]'.") from error
    named = {name: getattr(a, name) for name in FitOptions.__dataclass_fields__ if name != "covariance"}
    run(FitOptions(**named, covariance=Covariance(a.covariance)))
