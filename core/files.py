"""Artefacts on disk: safetensors with a checked header, written whole or not at all."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

PRODUCER = "uncertainty_nodes"


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
        raise OSError(f"Could not write {str(path)!r} ({error}); choose a folder that exists, is writable and has space.") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def save_tensors(path: str | Path, tensors: Mapping[str, Tensor], kind: str, version: int, metadata: Mapping[str, Any]) -> None:
    """Writes named tensors of any shape as safetensors; the header says who made it, what it is, which version, and ``metadata`` as JSON.

    An earlier file of that name stays until the new one is whole.
    Raises OSError when the file cannot be written, TypeError when metadata is not JSON.
    """
    header = {"producer": PRODUCER, "kind": kind, "version": str(version), "metadata": json.dumps(metadata)}
    # safetensors refuses views and tensors that share memory
    copies = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    with replacing(path) as temporary:
        save_file(copies, temporary, header)


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
        raise ValueError(f"{str(path)!r} is not a whole safetensors file ({error}); make or copy it again.") from error


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
