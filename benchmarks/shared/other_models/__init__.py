"""Models beside the bundled one, with judges of their own: drawn shapes, colour photos."""
