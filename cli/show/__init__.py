"""The command ``show``."""
