"""What an artefact's values may be. Every loader checks by these, so that a damaged file is a sentence and never a wrong number."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

SYMMETRIC = 1e-6  # relative to the largest value: what may be left of rounding


@contextmanager
def intact(path: str | Path, kind: str) -> Iterator[None]:
    """Around what makes an object of a file's content: what is missing or impossible there is a ValueError that names the file."""
    try:
        yield
    except KeyError as error:
        reason = f"it lacks {error.args[0]!r}" if error.args else "it lacks a part"
        raise ValueError(f"{str(path)!r} is not a whole saved {kind} ({reason}); make or copy it again.") from error
    except (IndexError, TypeError, ValueError) as error:
        raise ValueError(f"{str(path)!r} is not a whole saved {kind} ({error}); make or copy it again.") from error


def check_tensor(
    name: str,
    tensor: Tensor,
    shape: tuple[int | None, ...] | None = None,
    low: float = -math.inf,
    high: float = math.inf,
    whole: bool = False,
    missing: bool = False,
) -> Tensor:
    """The tensor, when its shape fits and every value is a finite number from ``low`` to ``high``.

    shape: None stands for any length of at least 1; any shape where left out. whole: of an integer type. missing: NaN is allowed too.
    Raises ValueError naming the tensor and the first value that is none.
    """
    if shape is not None and not _fits(tuple(tensor.shape), shape):
        lengths = ", ".join("any" if want is None else str(want) for want in shape)
        raise ValueError(f"{name} must have the shape ({lengths}), got {tuple(tensor.shape)}")
    integer = not tensor.is_floating_point() and not tensor.is_complex() and tensor.dtype is not torch.bool
    if not (integer if whole else tensor.is_floating_point()):
        raise ValueError(f"{name} must hold {'whole' if whole else 'real'} numbers, got {str(tensor.dtype).removeprefix('torch.')}")
    values = tensor.long() if whole else _widen(tensor)
    possible = (values >= low) & (values <= high) & values.isfinite()
    if missing:
        possible |= values.isnan()
    if not bool(possible.all()):
        raise ValueError(f"{name} must be {_range(low, high)}, got {values[~possible][0].item():g}")
    return tensor


def check_spread(name: str, matrix: Tensor, size: int | None = None) -> Tensor:
    """A sum of outer products v v^T, (D, D): symmetric, and no diagonal entry below 0. Raises ValueError, naming the matrix."""
    check_tensor(name, matrix, (size, size))
    values = _widen(matrix)
    if matrix.shape[0] != matrix.shape[1] or float((values - values.T).abs().max()) > SYMMETRIC * float(values.abs().max()):
        raise ValueError(f"{name} must be symmetric, got shape {tuple(matrix.shape)} and entries that differ from their mirror images")
    check_tensor(f"The diagonal of {name}", matrix.diagonal(), low=0)
    return matrix


def check_number(name: str, value: Any, low: float = -math.inf, high: float = math.inf) -> float:
    """The value, when it is a finite number (no text, no truth value) from ``low`` to ``high``. Raises ValueError, naming both."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high or not abs(value) < math.inf:
        raise ValueError(f"{name} must be {_range(low, high)}, got {value!r:.100}")
    return value


def check_count(name: str, value: Any, low: int = 0, high: int = 2**63 - 1) -> int:
    """``check_number`` for a whole number."""
    if not isinstance(value, int):
        raise ValueError(f"{name} must be a whole number, got {value!r:.100}")
    return int(check_number(name, value, low, high))


def check_counts(name: str, value: Any) -> dict[str, int]:
    """The value, when it maps texts to whole numbers from 0 on. Raises ValueError, naming both."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise ValueError(f"{name} must map names to whole numbers, got {value!r:.100}")
    return {key: check_count(name, count) for key, count in value.items()}


def check_text(name: str, value: Any) -> str:
    """The value, when it is a text that is not empty. Raises ValueError, naming both."""
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name} must be a text, got {value!r:.100}")
    return value


def check_texts(name: str, value: Any) -> dict[str, str]:
    """The value, when it maps texts to texts. Raises ValueError, naming both."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) and isinstance(text, str) for key, text in value.items()):
        raise ValueError(f"{name} must map names to texts, got {value!r:.100}")
    return dict(value)


def check_names(what: str, values: Mapping[str, Any], names: Sequence[str]) -> None:
    """Raises ValueError unless ``values`` holds just what is named."""
    if set(values) != set(names):
        wrong = ", ".join(sorted(set(values) ^ set(names)))
        raise ValueError(f"{what} must be {', '.join(names)}; missing or too much: {wrong:.100}")


def check_list(name: str, value: Any) -> list[Any]:
    """The value, when it is a list. Raises ValueError, naming both."""
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"{name} must be a list, got {value!r:.100}")
    return list(value)


def _widen(tensor: Tensor) -> Tensor:
    """float32 or wider: the narrow types know little arithmetic."""
    return tensor.float() if tensor.element_size() < 4 else tensor


def _fits(shape: tuple[int, ...], pattern: tuple[int | None, ...]) -> bool:
    return len(shape) == len(pattern) and all(n > 0 if want is None else n == want for n, want in zip(shape, pattern, strict=True))


def _range(low: float, high: float) -> str:
    if high < math.inf:
        return f"finite numbers from {low:g} to {high:g}" if low > -math.inf else f"finite numbers up to {high:g}"
    return f"finite numbers of at least {low:g}" if low > -math.inf else "finite numbers"
