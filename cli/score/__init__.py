"""The command ``score``."""
