"""What argparse is told that several commands share. Defaults and ranges come from the options of the core."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Any, NoReturn, TypeVar

from ...core.options.bounds import Bounds
from ...core.options.limits import BATCH, DIGIT, SEED, THREADS, WORKERS
from .checks import DEMO
from .engine_options import EngineKind, EngineOptions
from .text import printable

Options = TypeVar("Options")
Commands = argparse._SubParsersAction  # argparse has no public name for it
Group = argparse._ActionsContainer
DEFAULT = "(default: %(default)s)"


class Parser(argparse.ArgumentParser):
    """What is wrong stands alone: beside the usage of a command with fifty options nobody would find it."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}. All options: {self.prog} --help\n")


def add_command(commands: Commands[argparse.ArgumentParser], name: str, help: str, text: str = "") -> argparse.ArgumentParser:
    """A command's parser, whose text keeps its lines."""
    return commands.add_parser(name, help=help, description=text or None, formatter_class=argparse.RawDescriptionHelpFormatter)


def add_whole(group: Group, *flags: str, bounds: Bounds, help: str, default: str = "") -> None:
    """A whole number within bounds. default: in words, of an option that is None until the command knows more."""
    told = f"(default: {default})" if default else DEFAULT
    group.add_argument(*flags, type=whole(bounds), default=None if default else int(bounds.default), help=f"{help} {told}".strip())


def whole(bounds: Bounds) -> Callable[[str], int]:
    """An argparse type: a whole number within bounds."""

    def parse(text: str) -> int:
        if not text.isdecimal() or not bounds.low <= int(text) <= bounds.high:
            raise argparse.ArgumentTypeError(f"must be a whole number from {bounds.low} to {bounds.high}, got {text!r}")
        return int(text)

    return parse


def words(text: str) -> str:
    """An argparse type: what a text encoder can read."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError(f"must be UTF-8 text, got {printable(text)!r}; set the terminal to UTF-8") from None
    return text


def add_model(parser: argparse.ArgumentParser) -> None:
    told = "demo, the folder of a saved diffusers pipeline, or one .safetensors file of a whole model"
    parser.add_argument("--model", default=DEMO, help=f"{told} {DEFAULT}")


def add_class(group: Group, help: str) -> None:
    group.add_argument("--class", dest="label", type=whole(DIGIT), help=f"demo: {help}")


def add_batch(parser: argparse.ArgumentParser) -> None:
    add_whole(parser, "--batch", bounds=BATCH, help="how many images at once; no result depends on it")


def add_seed_and_device(parser: argparse.ArgumentParser, seed: str = "number that all random draws begin from") -> None:
    add_whole(parser, "--seed", bounds=SEED, help=seed)
    parser.add_argument("--device", default="cpu", help=f"where torch computes: cpu, cuda, mps {DEFAULT}")


def add_engine(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("where it runs", "results are the same, and a stopped run may go on with the other engine")
    told = "process: one after another, here; ray: several at once, on this machine or a cluster"
    kinds = [kind.value for kind in EngineKind]
    group.add_argument("--engine", choices=kinds, default=EngineOptions.engine.value, help=f"{told} {DEFAULT}")
    add_whole(group, "--workers", bounds=WORKERS, help="ray: processes, each with a model; 0 = one for each GPU, else for each processor")
    group.add_argument("--address", help="ray: of a running cluster, such as auto or ray://host:10001 (default: this machine)")
    add_whole(group, "--threads", bounds=THREADS, help="torch's threads in each process; 0 = its own choice, 1 for ray")


def read_engine(arguments: argparse.Namespace) -> EngineOptions:
    return read_options(EngineOptions, arguments, engine=EngineKind(arguments.engine))


def read_options(options: type[Options], arguments: argparse.Namespace, **converted: Any) -> Options:
    """An options class from the arguments of the same names. converted: values that are not taken as argparse gives them."""
    names = [field.name for field in fields(options) if field.name not in converted]  # type: ignore[arg-type]
    return options(**{name: getattr(arguments, name) for name in names}, **converted)


@contextmanager
def needs_diffusers(what: str) -> Iterator[None]:
    """For late imports, which ``--help`` must not wait for: a missing package becomes a sentence with the way out."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{what} needs {error.name}: pip install 'uncertainty-nodes[diffusers]'.") from error
