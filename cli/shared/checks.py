"""What several commands check before they load anything."""

from __future__ import annotations

from pathlib import Path

DEMO = "demo"  # the bundled model


def check_condition(model: str, label: int | None, has_prompt: bool) -> None:
    """Raises ValueError for a class or prompt that is not of this model's kind."""
    if model == DEMO and has_prompt:
        raise ValueError("The demo model knows no prompts; name a digit with --class.")
    if model != DEMO and label is not None:
        raise ValueError(f"--class is for the demo model; give --prompt for {model!r}.")


def check_folder(out: Path) -> None:
    """Raises ValueError unless ``out`` is a folder or can become one."""
    if next(p for p in [out, *out.parents] if p.exists()).is_file():
        raise ValueError(f"out must be a folder, but {str(out)!r} lies in or is a file; choose another.")
    if out.suffix in (".json", ".csv") and not out.is_dir():
        raise ValueError(f"out must be a folder, which gets the pictures and their results, got {str(out)!r}; leave out the {out.suffix}.")


def check_new_file(out: Path) -> None:
    """Raises ValueError unless ``out`` names a .safetensors file that is not there."""
    if out.suffix != ".safetensors":
        raise ValueError(f"out must name a .safetensors file, got {str(out)!r}.")
    if out.exists():
        raise ValueError(f"{str(out)!r} is already there: choose another name for out, or delete it.")
