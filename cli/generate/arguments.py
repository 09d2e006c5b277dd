"""What the generate command is asked on the command line."""

from __future__ import annotations

import argparse
from pathlib import Path

from ...core.options import (
    BayesDiffOptions,
    BestOfOptions,
    DrawOptions,
    FilterRule,
    InformationOptions,
    SamplingScore,
    Scorer,
    SearchMode,
    UntilOptions,
    parse_size,
)
from ...core.options.bounds import bounds
from ...core.options.limits import BAD_SHARE, CONFIDENCE, GOING_ON, IMAGES, KEEP
from ..shared.arguments import (
    DEFAULT,
    Commands,
    add_batch,
    add_class,
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
from .options import GenerateOptions
from .search import ATTEMPTS, CANDIDATES, MICRO_BATCH, MODES, RULES, WANTED, SearchOptions

COMPARED = BestOfOptions().draws.samples  # model calls of a comparison; twice as many by information
ACCEPTED = bounds(UntilOptions, "value").default
PROMPTS = """other models: a file of prompts, taken in turn: text with one a line, or CSV or JSON lines with prompt, and, where
wanted, negative, seed and size (or width and height) of each"""
TEXT = f"""Draw images, score each, and keep the best. A stopped run goes on where it was; nothing is drawn twice.

information: whether the finished image carries what was asked for; low is bad. generative: whether an image keeps its meaning when the
model's last layer is drawn anew; looks at the finished image through an encoder. bayesdiff: the last layer's variance carried along the
sampling. mc-dropout: needs a model with dropout. denoised, noise: spread of the re-noised predictions; low noise is bad. posterior: the
squared error to expect of them.
At no further model call: trajectory, how far the predictions move along the steps; condition-gap, how far the two halves of classifier-free
guidance are apart; low is bad; it needs --guidance-scale.

Demo model: draws the digits 0 to 9 in turn, or --class. Other models: Stable Diffusion (1, 2, XL or 3), as the folder of a saved
pipeline or one .safetensors file, with --prompt or --prompts; generative and bayesdiff need --laplace (see fit-laplace), generative an
--encoder. Nothing is downloaded.

--best-of draws several candidates for each image and finishes the best. --prune ends the worst of them early, which saves their steps;
but a comparison costs {2 * COMPARED} model calls a candidate ({COMPARED} with --scorer denoised or noise), so that
it saves nothing where steps are few.
--mode stop leaves an image on its way when it looks hopeless beside earlier ones (--early-calibration): it has no picture, is told under
"skipped" in results.json with its score and the calls saved, and is never drawn again. To make that file, draw some images with --early-at,
which scores each on its way and stops none, and run calibrate --early on the folder.
--until-kept draws until so many images are accepted, each judged by itself: by default those as good as the best {ACCEPTED:g} % of the
first {IMAGES.default} images (--value, --calibrate-with), of which those that --mode stop leaves count as the worst. One limit holds for
all prompts or digits, so that easy ones are kept more often.
Files of --calibration and --early-calibration may grow, also by this run's own scores: a folder goes on with what they held when it was
begun, of which it has a copy. Draw what they are made of with another --seed, or the same images are judged that they were made of.
Both cost several times the calls of one image. Classifier-free guidance at a scale that suits the model may bring as much for fewer:
try --guidance-scale first.

An image whose values are not finite (as half precision may give) gets no score, is rejected and named; the others are as without it."""


def add_generate(commands: Commands[argparse.ArgumentParser]) -> None:
    generate = add_command(commands, "generate", "draw images, score them, keep the best", TEXT)
    methods = [method.value for method in SamplingScore]
    generate.add_argument("--method", choices=methods, default=SamplingScore.INFORMATION.value, help=f"what to keep them by {DEFAULT}")
    add_model(generate)
    condition = generate.add_mutually_exclusive_group()
    add_class(condition, "the digit to draw")
    condition.add_argument("--prompt", type=words, help="other models: what all images are to show")
    condition.add_argument("--prompts", type=Path, help=PROMPTS)
    generate.add_argument("--negative", type=words, help="other models: the negative prompt")
    generate.add_argument("--guidance-scale", type=float, help="classifier-free guidance (default: 1 for demo, else the pipeline's)")
    told = "other models: width x height in pixels, such as 768x512 (default: the model's own)"
    generate.add_argument("--size", type=size, metavar="WxH", help=told)
    count = generate.add_mutually_exclusive_group()
    add_whole(count, "-n", "--images", bounds=IMAGES, help="how many to draw")
    add_whole(count, "--until-kept", bounds=WANTED, help="draw until so many are accepted", default="draw as many as --images says")
    add_whole(generate, "--keep", bounds=KEEP, help="how many of them to keep", default="three quarters")
    generate.add_argument("--each", action="store_true", help="keep the best of each prompt or digit in turn, not the best of all")
    add_whole(generate, "--steps", bounds=bounds(GenerateOptions, "steps"), help="sampling steps")
    add_best_of_options(generate)
    add_until_options(generate)
    add_method_options(generate)
    add_seed_and_device(generate, "number that the images' noises begin from; they are scored with the same draws whatever it is")
    add_batch(generate)
    add_engine(generate)
    default = Path("out/generate")
    generate.add_argument("--out", type=Path, default=default, help=f"folder for the pictures, results.json and results.csv {DEFAULT}")
    told = "leave out where in each image the model is unsure: a file of at most 16 kB each in maps/, for the report's heatmaps"
    generate.add_argument("--no-maps", dest="maps", action="store_false", help=told)
    add_loading(generate)
    generate.set_defaults(run=run_generate)


def add_best_of_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("best of several", "for --method information")
    add_whole(group, "--best-of", bounds=CANDIDATES, help="candidates for each image, of which the best is finished; 1 = off")
    group.add_argument(
        "--prune", type=float, nargs="+", default=[], metavar="SHARE", help="the share of the candidates that ends early (default: none)"
    )
    [point] = BestOfOptions().points
    told = f"when: 0 = at pure noise, 1 = at the finished image; several points may be given (default: {point:g})"
    group.add_argument("--prune-at", type=float, nargs="+", default=[], metavar="POINT", help=told)
    scorers, default = [scorer.value for scorer in Scorer], BestOfOptions().scorer.value
    group.add_argument("--scorer", choices=scorers, default=default, help=f"what candidates are compared by {DEFAULT}")
    modes = [mode.value for mode in MODES]
    told = "prune: the worst end. resample: copies of the best take their place and go on with fresh noise; needs a --scheduler that adds "
    told += "some, such as euler_a. stop: an image or candidate that --early-calibration calls hopeless ends, and has no picture"
    group.add_argument("--mode", choices=modes, default=SearchOptions.mode.value, help=f"{told} {DEFAULT}")
    usual = bounds(BestOfOptions, "sharpness").default
    group.add_argument(
        "--sharpness", type=float, help=f"resample: how strongly the best are preferred, 0 = not at all (default: {usual:g})"
    )
    told = "score each image there on its way too, for calibrate --early; 0 = at pure noise, 1 = at the finished image, such as 0.5"
    group.add_argument("--early-at", type=float, metavar="POINT", help=told)
    told = "stop: what earlier images scored at a point, as calibrate --early writes it, or ComfyUI's Calibrate after Finish Drafts; with "
    group.add_argument("--early-calibration", type=Path, metavar="FILE", help=f"{told}labels it knows which end badly")
    told = f"stop: how many percent of the good images go on; without labels, of the earlier scores (default: {GOING_ON.default:g})"
    group.add_argument("--early-limit", type=float, metavar="PERCENT", help=told)
    told = "candidates in one call of the network: more is faster on a GPU, and changes images by rounding alone"
    add_whole(group, "--micro-batch", bounds=MICRO_BATCH, help=told)


def add_until_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("until enough are kept", "for --until-kept")
    told = f"{ATTEMPTS.default} for each image wanted"
    add_whole(group, "--max-attempts", bounds=ATTEMPTS, help="images to draw at most", default=told)
    rules = [rule.value for rule in RULES]
    told = "calibrated: as good as the best of earlier images; threshold: the score itself; at_most_bad: that percent of them, by labels"
    group.add_argument("--rule", choices=rules, default=UntilOptions().rule.value, help=f"what is accepted. {told} {DEFAULT}")
    told = f"calibrated: percent of the earlier images that would be accepted (default: {ACCEPTED:g}); threshold: the score's limit; "
    group.add_argument("--value", type=float, help=f"{told}at_most_bad: percent of those accepted (default: {BAD_SHARE.default:g})")
    told = f"at_most_bad: how sure that must be, in percent; surer needs more labels (default: {CONFIDENCE.default:g})"
    group.add_argument("--confidence", type=float, help=told)
    told = "the earlier images' scores by the same method, as calibrate, sort --save-calibration or ComfyUI's Calibrate writes them "
    told += "(default: the first images of this run)"
    group.add_argument("--calibration", type=Path, help=told)
    add_whole(group, "--calibrate-with", bounds=IMAGES, help="how many first images those are, without --calibration")


def add_method_options(parser: argparse.ArgumentParser) -> None:
    add_whole(parser, "--members", bounds=bounds(GenerateOptions, "members"), help="generative: drawn last layers")
    add_whole(parser, "--member-steps", bounds=bounds(GenerateOptions, "member_steps"), help="generative: their steps, 0 = all")
    parser.add_argument("--encoder", help="generative: folder of a CLIP image model (default: the bundled classifier, for demo)")
    defaults = [options.draws.samples for options in (BayesDiffOptions(), InformationOptions())]
    samples = bounds(DrawOptions, "samples")
    told = f"{defaults[0]} for bayesdiff, {defaults[1]} for information, else {samples.default}"
    add_whole(parser, "--samples", bounds=samples, help="the others: draws a measured step or level", default=told)
    add_whole(parser, "--every", bounds=bounds(GenerateOptions, "every"), help="bayesdiff: uncertain steps, every k-th")
    parser.add_argument("--laplace", type=Path, help="what fit-laplace wrote (default: the bundled fit, for demo)")
    parser.add_argument("--prior-precision", type=float, help="of the posterior; more = nearer to the trained model (default: the fit's)")
    parser.add_argument("--noise-variance", type=float, help="of the posterior; more = wider (default: the fit's)")


def size(text: str) -> tuple[int, int]:
    """An argparse type."""
    try:
        return parse_size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def run_generate(arguments: argparse.Namespace) -> None:
    with needs_diffusers("Drawing"):
        from ..shared.engine import make_engine
        from .run import run
    lists = {"prune": tuple(arguments.prune), "prune_at": tuple(arguments.prune_at)}
    kinds = {"scorer": Scorer(arguments.scorer), "rule": FilterRule(arguments.rule), "mode": SearchMode(arguments.mode)}
    search = read_options(SearchOptions, arguments, **kinds, **lists)
    engine = make_engine(read_engine(arguments), arguments.device)
    method, loading = SamplingScore(arguments.method), read_loading(arguments)
    run(read_options(GenerateOptions, arguments, method=method, search=search, loading=loading), engine)
