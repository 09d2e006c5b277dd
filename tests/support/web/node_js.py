"""Node, which runs the parts of the front-end that need no page."""

from __future__ import annotations

import re
import shutil
import subprocess

NODE = shutil.which("node")


def has_modules() -> bool:
    """Whether this Node reads a .js file as a module without a package.json that says so."""
    if NODE is None:
        return False
    version = subprocess.run([NODE, "--version"], capture_output=True, text=True, check=True).stdout
    major, minor = map(int, re.match(r"v(\d+)\.(\d+)", version).groups())
    return major >= 23 or (major, minor) >= (22, 7) or (major == 20 and minor >= 19)
