"""Bytes that a kernel moves at least: what it touches once, and what it changes once more.

Linux notes for each page whether it was touched (/proc/self/clear_refs and smaps). NumPy must not
ask for huge pages (NUMPY_MADVISE_HUGEPAGE=0), or a page has 2 MiB.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.rendering.devices.base import Launch

__all__ = ["touched_bytes"]

LARGE_BYTES = 32 << 20
"""From here on an array has pages of its own. A smaller one counts whole."""

Array = NDArray[Any]


def touched_bytes(launch: Launch, dispatch: Callable[[], None]) -> int:
    """Dispatch a launch, and return the bytes of its arrays that it touches and changes.

    Args:
        launch: Whose arrays.
        dispatch: Runs it.
    """
    given = (each for each in launch.uniforms.values() if isinstance(each, np.ndarray))
    arrays = list({_address(each): each for each in given}.values())
    before = [each.copy() for each in arrays]
    Path("/proc/self/clear_refs").write_text("1")
    dispatch()
    touched = _referenced_bytes([each for each in arrays if each.nbytes >= LARGE_BYTES])
    touched += sum(each.nbytes for each in arrays if each.nbytes < LARGE_BYTES)
    return touched + sum(map(_changed_bytes, arrays, before))


def _changed_bytes(after: Array, before: Array) -> int:
    return int(np.count_nonzero(after != before)) * after.itemsize


def _referenced_bytes(arrays: Iterable[Array]) -> int:
    """What was touched of the parts of memory that hold the arrays."""
    ranges = [(_address(each), _address(each) + each.nbytes) for each in arrays]
    found, holds = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        head, *others = line.split()
        if not head.endswith(":"):
            begin, end = (int(each, 16) for each in head.split("-"))
            holds = any(begin < last and first < end for first, last in ranges)
        elif holds and head == "Referenced:":
            found += 1024 * int(others[0])
    return found


def _address(array: Array) -> int:
    address: int = array.__array_interface__["data"][0]
    return address
