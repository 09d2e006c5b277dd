"""``python -m uncertainty_nodes.cli``: the same as ``uncertainty-nodes``."""

import sys

from . import main

if __name__ == "__main__":
    sys.exit(main())
