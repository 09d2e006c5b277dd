"""What is written into an image file about how sure the model was of it: ``Note``, ``write_note``, ``read_notes``."""

from .note import Note, parse_notes, to_text
from .reading import KEY
from .store import read_notes, write_note, write_notes

__all__ = ["KEY", "Note", "parse_notes", "read_notes", "to_text", "write_note", "write_notes"]
