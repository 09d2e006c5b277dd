"""Nodes that only tests need. Linked into a ComfyUI by tests/support/comfyui/comfy_server.py, never shipped."""

from .caches import NODES as CACHES
from .disturb import NODES as DISTURB
from .inputs import NODES as INPUTS
from .observe import NODES as OBSERVE
from .special import NODES as SPECIAL

NODE_CLASS_MAPPINGS = {f"UQTest_{node.__name__}": node for node in [*INPUTS, *DISTURB, *OBSERVE, *SPECIAL, *CACHES]}
