"""The garbage collector at the start and the end of a program, where it finds nothing.

Imports make some hundred thousand objects that stay. To look through them again and again took a
tenth of a stream's start, and a sixth of a second at its end.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["keep_what_is_there", "no_collections"]


@contextmanager
def no_collections() -> Iterator[None]:
    """Around imports: what they make is left out from then on."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        keep_what_is_there()
        if enabled:
            gc.enable()


def keep_what_is_there() -> None:
    """Leave all objects that there are out of later collections, Python's own last one too."""
    gc.freeze()
