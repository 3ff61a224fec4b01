"""What every writer shares: one-line errors, and files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import av

from fluoro.errors import OutputError

__all__ = ["replacing", "writing"]


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
    except (OSError, av.FFmpegError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"{path}: cannot be written: {reason}") from error


@contextmanager
def replacing(path: Path) -> Iterator[TextIO]:
    """A text file that takes its name only once it is complete; an earlier one stays till then.

    Raises:
        OutputError: It cannot be written.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    with writing(path):
        try:
            with unfinished.open("w", encoding="utf-8") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
