"""What every writer shares: one-line errors, and files that appear whole or not at all."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TextIO

from fluoro.errors import OutputError

__all__ = ["WholeAppends", "remove_unfinished", "replacing", "whole_file", "writing"]

UNFINISHED = ".unfinished"
"""How the names of files end that are being written."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a failure of the disk or of the encoder into an error that names the file.

    Raises:
        OutputError: What is done meanwhile fails to write.
    """
    try:
        yield
    except OutputError:
        raise
    except Exception as error:
        if not isinstance(error, _failures()):
            raise
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"{path}: cannot be written: {reason}") from error


def _failures() -> tuple[type[Exception], ...]:
    """Errors of the disk and, where PyAV has been imported (0.1 s), of its encoder."""
    av = sys.modules.get("av")
    return (OSError, av.FFmpegError) if av else (OSError,)


class WholeAppends:
    """A new file that grows by whole pieces: what a full disk cuts short is taken back.

    Args:
        path: File to make.

    Raises:
        OutputError: It cannot be made, or exists.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._length = path, 0
        with writing(path):
            self._file: BinaryIO = path.open("xb", buffering=0)

    def append(self, data: bytes) -> None:
        """Put a piece on disk.

        Raises:
            OutputError: It cannot be written; the file is as before.
        """
        rest = memoryview(data)
        with writing(self._path):
            try:
                while rest:
                    rest = rest[self._file.write(rest) :]
            except OSError:
                self._file.truncate(self._length)
                raise
        self._length += len(data)

    def fileno(self) -> int:
        """Return the file's descriptor."""
        return self._file.fileno()

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        self._file.close()


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A path to write to: what is there at the end takes the name `path`.

    An earlier file stays till then. A program that is killed meanwhile leaves a hidden file, which
    `remove_unfinished` removes.

    Raises:
        OutputError: It cannot be written.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}{UNFINISHED}")
    with writing(path):
        unfinished.unlink(missing_ok=True)  # of a killed program that had this number
        try:
            yield unfinished
            unfinished.replace(path)
        except OutputError as error:
            raise OutputError(str(error).replace(str(unfinished), str(path))) from error
        finally:
            unfinished.unlink(missing_ok=True)


def remove_unfinished(folder: Path) -> None:
    """Remove what `whole_file` has left where a program was killed, also in folders below.

    Raises:
        OutputError: A file cannot be removed.
    """
    with writing(folder):
        for path in folder.rglob(f".*{UNFINISHED}"):
            path.unlink(missing_ok=True)


@contextmanager
def replacing(path: Path) -> Iterator[TextIO]:
    """A text file that takes its name once it is complete and on disk; see `whole_file`.

    Raises:
        OutputError: It cannot be written.
    """
    with whole_file(path) as unfinished, unfinished.open("w", encoding="utf-8") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
