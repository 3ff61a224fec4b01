"""A volume packed for Joseph's method: copies of 16 bits a voxel or exact, one a leading axis.

What a copy holds, and why, is written in shaders/cells.slang. A copy is made when the first view
comes that needs it, or before by `make`.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from itertools import accumulate
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.geometry.projection import View
from fluoro.rendering.devices.base import ComputeDevice
from fluoro.rendering.devices.cpu.worker_threads import available_cores
from fluoro.rendering.packing import leading_axes
from fluoro.volume.grid import VolumeGrid

__all__ = [
    "PackedVolume",
    "Precision",
    "can_be_packed",
    "packed_bytes",
    "packed_values",
    "packed_words",
    "value_range",
]


class Precision(Enum):
    """How a copy stores a voxel."""

    ROOTS = "the square root of the attenuation, in 16 bits"
    EXACT = "the attenuation itself, in 32 bits"

    @property
    def per_word(self) -> int:
        """Values in 4 bytes."""
        return 2 if self is Precision.ROOTS else 1


COUNTS = 65535**2
"""That the volume's range of attenuation is divided into; a voxel is stored as their root, in 16
bits, so that near 0 the steps are finest and at the top 2 / 65535 of the range."""
MAX_CELLS = 2**31 - 1
"""Kernels index the values of the copies with 32-bit integers."""
MARGIN = 32
"""Words before the first copy and behind the last one: kernels read whole vectors."""
BOX_BYTES, MAX_BOXES = 2**22, 256
"""Least bytes of the pieces that CPU threads make (two large pages), and their largest number. Two
threads that touch a page for the first time together would both clear it."""
PARTS_PER_THREAD = 8
"""Of a volume whose range is looked for: the last ones end together."""
ORDERS = ((0, 1, 2), (1, 0, 2), (2, 0, 1))
"""Axes (a, b, c) by leading axis, x first."""


def packed_words(
    shape_xyz: Sequence[int], axis: int, thickness: int, *, precision: Precision = Precision.ROOTS
) -> tuple[int, int, int]:
    """Words, of 4 bytes, of the copy for rays that `axis` leads, along b, a and c."""
    a, b, c = (shape_xyz[k] for k in ORDERS[axis])
    return -(-(b + 2) // precision.per_word), -(-a // thickness), c + 2


def packed_bytes(
    shape_xyz: Sequence[int], thickness: int, *, precision: Precision = Precision.ROOTS
) -> int:
    """Return bytes of the copies for all three axes."""
    copies = (packed_words(shape_xyz, axis, thickness, precision=precision) for axis in range(3))
    return 4 * sum(map(prod, copies))


def can_be_packed(
    shape_xyz: Sequence[int], thickness: int, *, precision: Precision = Precision.ROOTS
) -> bool:
    """Return whether the kernels can index the copies for all three axes."""
    words = packed_bytes(shape_xyz, thickness, precision=precision) // 4
    return words * precision.per_word <= MAX_CELLS


def packed_values(mu_per_mm: NDArray[np.float64], largest_per_mm: float) -> NDArray[np.float64]:
    """Return what copies hold of attenuation [1/mm] from 0 to `largest_per_mm`, any shape."""
    count_per_mm = largest_per_mm / COUNTS
    return np.asarray(np.floor(np.sqrt(mu_per_mm / count_per_mm) + 0.5) ** 2 * count_per_mm)


def value_range(values: NDArray[np.float32], threads: int) -> tuple[float, float]:
    """Return the smallest and the largest of values, any shape of three axes.

    Both are looked for in one plane after the other, the second from the cache, and by several
    threads: a volume of gigabytes that a file is mapped to is read at the memory's own rate.
    """
    parts = np.array_split(np.asarray(values), PARTS_PER_THREAD * threads)
    with ThreadPoolExecutor(threads) as pool:
        lowest, highest = np.concatenate(list(pool.map(_ranges, parts))).T
    return float(lowest.min()), float(highest.max())


def _ranges(planes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Smallest and largest value of each plane, shape (planes, 2)."""
    ranges = [(plane.min(), plane.max()) for plane in planes]
    return np.array(ranges, np.float32).reshape(-1, 2)


def _threads(device: ComputeDevice) -> int:
    return int(getattr(device, "workers", 0)) or available_cores()


class PackedVolume:
    """The packed copies of one volume on one device.

    Args:
        mu: Attenuation [1/mm], array of the device, shape (z, y, x).
        values: The same on the host, for its range.
        grid: Where the voxels lie.
        device: Where the copies are.
        thickness: Voxel planes whose mean is one slab.
        precision: How a voxel is stored; if exact, `thickness` is 1.

    Attributes:
        low_per_mm: Attenuation of count 0 [1/mm].
        count_per_mm: Attenuation of one count more [1/mm].
    """

    def __init__(
        self,
        mu: Any,
        values: NDArray[np.float32],
        grid: VolumeGrid,
        device: ComputeDevice,
        *,
        thickness: int,
        precision: Precision = Precision.ROOTS,
    ) -> None:
        self._mu, self._grid, self._device = mu, grid, device
        self.thickness, self.exact = thickness, precision is Precision.EXACT
        lowest, highest = (0.0, COUNTS) if self.exact else value_range(values, _threads(device))
        self.low_per_mm = min(lowest, 0.0)
        self.count_per_mm = (highest - self.low_per_mm) / COUNTS or 1.0
        self._words = [
            packed_words(grid.shape_xyz, axis, thickness, precision=precision) for axis in range(3)
        ]
        *begins, self._end = accumulate(map(prod, self._words), initial=MARGIN)
        self._first_cell = tuple(begins)
        self._cells: Any = None
        self._made: set[int] = set()
        self._lock = threading.Lock()
        self._axis_locks = tuple(threading.Lock() for _ in ORDERS)

    def made_bytes(self) -> int:
        """Memory of the copies that exist [bytes]."""
        return 4 * sum(prod(self._words[axis]) for axis in self._made)

    def uniforms(self, batch: Sequence[View]) -> dict[str, Any]:
        """Return what kernels need of the copies for these views; missing copies are made."""
        self.make(batch, self._device)
        return {
            "cells": self._cells,
            "first_cell": self._first_cell,
            "thickness": self.thickness,
            "count_per_mm": self.count_per_mm,
            "low_counts": self.low_per_mm / self.count_per_mm,
        }

    def make(self, views: Sequence[View], device: ComputeDevice) -> None:
        """Make the copies that these views need and that are missing.

        Any thread may call this while others render from copies that exist. A view that needs a
        copy which another thread is making waits for it.

        Args:
            views: Any number.
            device: Runs the kernels; one whose launches wait, or the one that renders.
        """
        self._allocate()
        if len(self._made) == len(ORDERS):
            return
        for axis in sorted(leading_axes(views, self._grid) - self._made):
            with self._axis_locks[axis]:
                if axis not in self._made:
                    self._make(axis, device)
                    self._made.add(axis)

    def _allocate(self) -> None:
        with self._lock:
            if self._cells is None:
                self._cells = self._memory(self._end + MARGIN)

    def _memory(self, count: int) -> Any:
        """For all copies; on the CPU its pages come as copies are made.

        Rays that miss read from the first copy, made or not, and count it 0 times: what lies there
        must be a number, as any 16 bits are.
        """
        if self.exact:
            return self._device.to_device(np.zeros(count, np.uint32))
        return self._device.empty((count,), np.uint32)

    def _make(self, axis: int, device: ComputeDevice) -> None:
        shape = self._grid.shape_xyz
        strides = (1, shape[0], shape[0] * shape[1])
        a, b, c = ORDERS[axis]
        words = self._words[axis]
        box = self._box(words)
        threads = tuple(-(-count // part) for count, part in zip(words, box, strict=True))
        device.launch(
            "make_cells",
            "make_exact_cells" if self.exact else "make_cells",
            (threads[0], threads[1], threads[2]),
            {
                "mu_per_mm": self._mu,
                "sizes": (shape[a], shape[b], shape[c]),
                "strides": (strides[a], strides[b], strides[c]),
                "words": words,
                "box": box,
                "cells": self._cells,
                "first_cell": self._first_cell[axis],
                "thickness": self.thickness,
                "low_per_mm": self.low_per_mm,
                "counts_per_mu": 1.0 / self.count_per_mm,
            },
        )

    def _box(self, words: tuple[int, int, int]) -> tuple[int, int, int]:
        """Words along b, a, c that a thread makes: on the CPU whole layers along c."""
        if self._device.kind != "cpu":
            return (1, 1, 1)
        columns, slabs, layers = words
        wanted = max(BOX_BYTES // 4, columns * slabs * layers // MAX_BOXES)
        return (columns, slabs, -(-wanted // (columns * slabs)))
