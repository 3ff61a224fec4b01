"""Errors for missing things: fluoro's one-line messages, with Python's exception types."""

from __future__ import annotations

from pathlib import Path

from fluoro.errors import InputError

__all__ = ["MissingError", "require_there"]


class MissingError(InputError, FileNotFoundError):
    """A file or folder that is not there; also Python's FileNotFoundError, which scripts catch."""

    def __str__(self) -> str:
        return str(self.args[0])


def require_there(path: Path, what: str) -> None:
    """Check that a file or folder exists.

    Raises:
        MissingError: It does not; the message names `what` was expected there.
    """
    if not path.exists():
        raise MissingError(f"{path}: there is no such {what}")
