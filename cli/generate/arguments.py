"""What the generate command is asked on the command line."""

from __future__ import annotations

import argparse
from pathlib import Path

from ...core.options import MAX_SEED, SamplingScore
from ..shared.arguments import whole

TEXT = """Draw images, score each, and keep the best. A stopped run goes on where it was; nothing is drawn twice.

information: whether the finished image carries what was asked for; low is bad. generative: whether an image keeps its meaning when the
model's last layer is drawn anew; looks at the finished image through an encoder. bayesdiff: the last layer's variance carried along the
sampling. mc-dropout: needs a model with dropout. denoised, noise: spread of the re-noised predictions; low noise is bad.

Demo model: draws the digits 0 to 9 in turn, or --class. Other models: the folder of a saved Stable Diffusion (1, 2, XL or 3) pipeline
with --prompt or --prompts; generative and bayesdiff need --laplace (see fit-laplace), generative an --encoder. Nothing is downloaded."""


def add_generate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    wide = argparse.RawDescriptionHelpFormatter
    draw = commands.add_parser("generate", help="draw images, score them, keep the best", description=TEXT, formatter_class=wide)
    methods = [method.value for method in SamplingScore]
    draw.add_argument("--method", choices=methods, default=SamplingScore.INFORMATION.value, help="(default: %(default)s)")
    draw.add_argument("--model", default="demo", help="demo, or the folder of a saved diffusers pipeline (default: %(default)s)")
    condition = draw.add_mutually_exclusive_group()
    condition.add_argument("--class", dest="label", type=whole(0, 9), help="demo: the digit to draw")
    condition.add_argument("--prompt", help="other models: what all images are to show")
    condition.add_argument("--prompts", type=Path, help="other models: a text file, one prompt a line, taken in turn")
    draw.add_argument("--negative", help="other models: the negative prompt")
    draw.add_argument("--guidance-scale", type=float, help="classifier-free guidance (default: 1 for demo, else the pipeline's)")
    draw.add_argument("-n", "--images", type=whole(1, 1_000_000), default=16, help="how many to draw (default: %(default)s)")
    draw.add_argument("--keep", type=whole(0, 1_000_000), help="how many of them to keep (default: three quarters)")
    draw.add_argument("--each", action="store_true", help="keep the best of each prompt or digit in turn, not the best of all")
    draw.add_argument("--steps", type=whole(1, 1000), default=50, help="sampling steps (default: %(default)s)")
    draw.add_argument("--members", type=whole(1, 1024), default=5, help="generative: drawn last layers (default: %(default)s)")
    draw.add_argument("--member-steps", type=whole(0, 1000), default=10, help="generative: their steps, 0 = all (default: %(default)s)")
    draw.add_argument("--encoder", help="generative: folder of a CLIP image model (default: the bundled classifier, for demo)")
    draw.add_argument(
        "--samples",
        type=whole(2, 1024),
        help="the others: draws a measured step or level (default: 10 for bayesdiff, 4 for information, else 5)",
    )
    draw.add_argument("--every", type=whole(1, 1000), default=5, help="bayesdiff: uncertain steps, every k-th (default: %(default)s)")
    draw.add_argument("--laplace", type=Path, help="what fit-laplace wrote (default: the bundled fit, for demo)")
    draw.add_argument("--prior-precision", type=float, help="of the posterior; more = nearer to the trained model (default: the fit's)")
    draw.add_argument("--noise-variance", type=float, help="of the posterior; more = wider (default: the fit's)")
    draw.add_argument("--seed", type=whole(0, MAX_SEED), default=0)
    draw.add_argument("--batch", type=whole(1, 4096), default=8, help="images at once; no result depends on it (default: %(default)s)")
    draw.add_argument("--device", default="cpu", help="where torch computes: cpu, cuda, mps (default: %(default)s)")
    draw.add_argument("--out", type=Path, default=Path("out/generate"), help="folder to write to (default: %(default)s)")
    draw.set_defaults(run=run_generate)


def run_generate(a: argparse.Namespace) -> None:
    try:
        from .options import GenerateOptions
        from .run import run  # late: --help must not wait for torch and diffusers
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"Drawing needs {error.name}: pip install 'uncertainty-nodes[diffusers]'.") from error
    named = {name: getattr(a, name) for name in GenerateOptions.__dataclass_fields__ if name != "method"}
    run(GenerateOptions(**named, method=SamplingScore(a.method)))
