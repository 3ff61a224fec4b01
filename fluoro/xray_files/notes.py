"""What reading an X-ray file had to leave open or to assume."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from fluoro.volume.formats.dicom.tags import named

__all__ = ["NoteKind", "Notes"]

NoteKind = Literal["missing", "assumed", "contradictory"]
"""Not in the file; assumed by fluoro; given twice with different values."""


class Notes:
    """Remarks by kind; a remark about several frames is kept once."""

    def __init__(self) -> None:
        self._said: dict[tuple[NoteKind, str], None] = {}

    def __iter__(self) -> Iterator[tuple[NoteKind, str]]:
        return iter(self._said)

    def missing(self, keyword: str, by_hand: str) -> None:
        """Note an attribute that is not there, and the key that says it in its place."""
        self._said[("missing", f"{named(keyword)}; give {by_hand}")] = None

    def assumed(self, text: str) -> None:
        """Note what is taken without the file's word."""
        self._said[("assumed", text)] = None

    def contradictory(self, text: str) -> None:
        """Note what the file says in two ways that differ, or cannot mean."""
        self._said[("contradictory", text)] = None
