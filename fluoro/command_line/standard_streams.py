"""Standard streams of a program whose files matter more than what it prints."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress

__all__ = ["LossyText", "guard_standard_streams", "silence_output"]


class LossyText(io.TextIOWrapper):
    """A text stream that loses what cannot be written: a log never ends the program."""

    def write(self, text: str) -> int:
        """Write the text, or lose it.

        Returns:
            The number of characters of the text.
        """
        with suppress(OSError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        """Write what is buffered, or lose it."""
        with suppress(OSError):
            super().flush()


def guard_standard_streams() -> None:
    """Open what is closed of descriptors 0, 1 and 2, and make standard error lossy.

    A closed descriptor would go to the next file that is opened, and native libraries would write
    their log into it. To be called before any file is opened to stay.
    """
    for number in (0, 1, 2):
        _reserve(number)
    sys.stdin = sys.stdin or open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    binary = sys.stderr.buffer if sys.stderr else open(2, "wb", closefd=False)  # noqa: SIM115
    encoding = sys.stderr.encoding if sys.stderr else "utf-8"
    sys.stderr = LossyText(binary, encoding, errors="backslashreplace", line_buffering=True)


def silence_output() -> None:
    """Discard standard output from now on: its reader is gone or its disk is full."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _reserve(number: int) -> None:
    """Open a descriptor on the null device if it is closed."""
    try:
        os.fstat(number)
    except OSError:
        opened = os.open(os.devnull, os.O_RDWR)
        if opened == number:
            os.set_inheritable(number, True)
        else:
            os.dup2(opened, number)
            os.close(opened)
