"""What a host with a whole picture pipeline asks besides: which of its samplings are meant, and where rejected pictures go."""

from __future__ import annotations

from enum import Enum


class SamplingPasses(str, Enum):
    """Which samplings of a picture that is drawn twice, small and then enlarged, are measured and steered."""

    BOTH = "both"
    FIRST = "first"
    SECOND = "second"


class RejectedTo(str, Enum):
    """What becomes of pictures that a filter rejects."""

    FOLDER = "folder"  # saved in a folder of their own, and not shown
    GALLERY = "gallery"  # shown behind the accepted, and not saved
    BOTH = "both"
