"""The command ``train-ensemble``."""
