"""Artefacts on disk: safetensors with a checked header, written whole or not at all."""

from __future__ import annotations

import errno
import glob
import json
import os
import re
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


PRODUCER = "uncertainty_nodes"
BUSY = {errno.EACCES, errno.EAGAIN, errno.EDEADLK}  # what systems call a lock that another has
LEFTOVER = re.compile(r"\..+\.[0-9a-f]{32}\.tmp", re.DOTALL)
LOCK_SECONDS, LOCK_PAUSE = 60.0, 0.02


def reason_of(error: Exception) -> str:
    """In the system's own words, without the number and the names of files that its text has too."""
    return (error.strerror if isinstance(error, OSError) else None) or " ".join(str(error).split()) or type(error).__name__


def unwritable(path: str | Path, error: Exception) -> str:
    """The sentence for whoever asked for ``path``: why it could not be written, and the way out."""
    return f"Could not write {str(path)!r} ({reason_of(error)}); choose a folder that exists, is writable and has space."


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yields a temporary name beside ``path``; what was written there becomes ``path`` when the block ends well, and is removed otherwise.

    Missing parent folders are made. Raises OSError, as one sentence, when the folder or file cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except (OSError, SafetensorError) as error:
        raise OSError(unwritable(path, error)) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def remove_leftovers(path: str | Path, seconds: float = 0.0) -> None:
    """What a process that was killed inside ``replacing`` left beside ``path``. For who knows that no other writes it now.

    seconds: how long nothing must have been written to it, for who doesn't know.
    """
    for temporary in Path(path).parent.glob(f".{glob.escape(Path(path).name)}.*.tmp"):
        with suppress(OSError):
            if not seconds or time.time() - temporary.stat().st_mtime > seconds:
                temporary.unlink()


def remove_all_leftovers(folder: Path) -> None:
    """The same of whatever was being written in this very folder."""
    for temporary in folder.glob(".*.tmp"):
        if LEFTOVER.fullmatch(temporary.name):
            with suppress(OSError):
                temporary.unlink()


@contextmanager
def locked(path: str | Path, seconds: float = LOCK_SECONDS, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """The block has ``path`` for itself among all processes and threads that ask for it by this function: read, change and write in it.

    The system's own lock on a hidden file beside it, which a process that dies loses. on_wait: called while another has it; may raise.
    Raises TimeoutError after ``seconds``, OSError where the folder can't be written or has no locks, each as one sentence.
    """
    beside = lock_path(path)
    deadline = time.monotonic() + seconds
    try:
        beside.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(beside, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise OSError(unwritable(path, error)) from error
    try:
        while not _has_lock(descriptor, path):
            if time.monotonic() > deadline:
                raise TimeoutError(f"Another process has been writing {str(path)!r} for {seconds:g} s; end it, or use another name.")
            on_wait()
            time.sleep(LOCK_PAUSE)
        yield
    finally:
        os.close(descriptor)  # which gives up the lock


def lock_path(path: str | Path) -> Path:
    """The hidden file that ``locked`` locks, and leaves: another may wait for it."""
    return Path(path).with_name(f".{Path(path).name}.lock")


def _has_lock(descriptor: int, path: str | Path) -> bool:
    try:
        _lock(descriptor)
    except OSError as error:
        if error.errno in BUSY:
            return False
        raise OSError(f"The folder of {str(path)!r} has no file locks ({reason_of(error)}); choose one on a local disk.") from error
    return True


def save_tensors(path: str | Path, tensors: Mapping[str, Tensor], kind: str, version: int, metadata: Mapping[str, Any]) -> None:
    """Writes named tensors of any shape as safetensors; the header says who made it, what it is, which version, and ``metadata`` as JSON.

    An earlier file of that name stays until the new one is whole.
    Raises OSError when the file cannot be written, TypeError when metadata is not JSON.
    """
    header = {"producer": PRODUCER, "kind": kind, "version": str(version), "metadata": json.dumps(metadata)}
    # safetensors refuses views and tensors that share memory
    copies = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    with replacing(path) as temporary:
        temporary.write_bytes(save(copies, header))  # save_file has a hidden file of its own, which a kill would leave behind


def load_tensors(path: str | Path, kind: str, version: int = 1) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Reads what ``save_tensors`` wrote: the tensors, on the CPU, and the metadata.

    version: the newest version the caller understands.
    Raises FileNotFoundError for a missing file; ValueError for a truncated or foreign one, another kind, or a newer version.
    """
    tensors, header = read_safetensors(path, f"saved {kind}")
    return tensors, _read_metadata(Path(path), header, kind, version)


def read_safetensors(path: str | Path, what: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of any safetensors file, on the CPU, and its header. what: what the file should be, in words.

    Raises FileNotFoundError for a missing file, ValueError for one that is not whole.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {str(path)!r}; give the path of a {what}.")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            # cloned, because a mapped file could not be replaced on Windows
            return {name: file.get_tensor(name).clone() for name in file.keys()}, file.metadata() or {}  # noqa: SIM118 - it is no dict
    except (AttributeError, SafetensorError) as error:  # torch lacks some of the number types that the format has
        raise ValueError(f"{str(path)!r} is not a whole safetensors file ({reason_of(error)}); make or copy it again.") from error


def _read_metadata(path: Path, header: Mapping[str, str], kind: str, version: int) -> dict[str, Any]:
    if header.get("producer") != PRODUCER or header.get("kind") != kind:
        other = header.get("kind", "a file of another program") if header.get("producer") == PRODUCER else "a file of another program"
        raise ValueError(f"{str(path)!r} is not a saved {kind} but {other}; give the path of a saved {kind}.")
    try:
        file_version, metadata = int(header["version"]), json.loads(header["metadata"])
    except (KeyError, RecursionError, ValueError) as error:
        raise ValueError(f"{str(path)!r} has a damaged header; make or copy it again.") from error
    if file_version < 1 or not isinstance(metadata, dict):
        raise ValueError(f"{str(path)!r} has a damaged header; make or copy it again.")
    if file_version > version:
        raise ValueError(f"{str(path)!r} is in format {file_version}, this version reads up to {version}; update Uncertainty Nodes.")
    return metadata
