"""The files in a folder and in the folders below it, and the entries that are not read."""

from __future__ import annotations

import stat
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fluoro.errors import InputError

__all__ = ["FolderWalk", "walk"]

HIDDEN = "hidden by a dot in front"
NOWHERE = "linked to nothing"
TWICE = "linked to a folder that is read already"
FORBIDDEN = "without permission"
NO_FILE = "neither file nor folder"


@dataclass(frozen=True, kw_only=True)
class FolderWalk:
    """What was found.

    Attributes:
        files: All regular files by path, links to files among them.
        left_out: The entries that are not read, by reason.
    """

    files: tuple[Path, ...]
    left_out: Mapping[str, tuple[Path, ...]]


def walk(folder: Path) -> FolderWalk:
    """Return all files in a folder and below it.

    A linked folder is followed once, after all other folders. A link to a folder that holds the
    start is not followed.

    Args:
        folder: Where to start.

    Raises:
        InputError: The folder cannot be read, or an entry cannot be for another reason than a
            missing permission.
    """
    walker = _Walker(folder)
    try:
        walker.run()
    except OSError as error:
        where = error.filename or folder
        raise InputError(f"{where}: cannot be read: {error.strerror or error}") from None
    if folder in walker.left_out.get(FORBIDDEN, ()):
        raise InputError(f"{folder}: cannot be read: Permission denied")
    left_out = {reason: tuple(sorted(found)) for reason, found in walker.left_out.items()}
    return FolderWalk(files=tuple(sorted(walker.files)), left_out=left_out)


class _Walker:
    """Visits folders until none is left.

    Attributes:
        files: All regular files so far.
        left_out: The entries that are not read, by reason.
    """

    def __init__(self, start: Path) -> None:
        self.files: list[Path] = []
        self.left_out: dict[str, list[Path]] = {}
        self._pending = deque([start])
        self._seen = {_identity(holder) for holder in start.resolve().parents}

    def run(self) -> None:
        """Visit all folders."""
        while self._pending:
            self._visit(self._pending.popleft())

    def _visit(self, folder: Path) -> None:
        identity = _identity(folder)
        if identity in self._seen:
            self._leave_out(TWICE, folder)
            return
        self._seen.add(identity)
        try:
            entries = sorted(folder.iterdir())
        except PermissionError:
            self._leave_out(FORBIDDEN, folder)
            return
        for entry in entries:
            self._take(entry)

    def _take(self, entry: Path) -> None:
        if entry.name.startswith("."):
            self._leave_out(HIDDEN, entry)
            return
        try:
            mode = entry.stat().st_mode
        except PermissionError:
            self._leave_out(FORBIDDEN, entry)
        except OSError:
            if not entry.is_symlink():
                raise
            self._leave_out(NOWHERE, entry)
        else:
            self._take_known(entry, mode)

    def _take_known(self, entry: Path, mode: int) -> None:
        if stat.S_ISREG(mode):
            self.files.append(entry)
        elif not stat.S_ISDIR(mode):
            self._leave_out(NO_FILE, entry)
        elif entry.is_symlink():
            self._pending.append(entry)
        else:
            self._pending.appendleft(entry)

    def _leave_out(self, reason: str, entry: Path) -> None:
        self.left_out.setdefault(reason, []).append(entry)


def _identity(folder: Path) -> tuple[int, int]:
    """Return the identity of a folder, the same for every path that leads to it."""
    status = folder.stat()
    return status.st_dev, status.st_ino
