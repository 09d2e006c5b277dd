"""The command ``sort``."""
