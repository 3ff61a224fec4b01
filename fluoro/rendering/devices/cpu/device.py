"""The CPU as a compute device: NumPy arrays, native kernels, as many threads as requested."""

from __future__ import annotations

import ctypes
import os
from math import prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray
from typing_extensions import override

from fluoro.errors import DeviceError
from fluoro.rendering.devices.base import (
    ComputeDevice,
    Fence,
    Interval,
    KernelText,
    Launch,
    Threads,
)
from fluoro.rendering.devices.cpu.compiler import (
    PACKET_PIXELS,
    RAY_LANES,
    CpuKernel,
    load_cpu_kernel,
    load_thread_library,
)
from fluoro.rendering.devices.launch_queue import LaunchQueue, QueueFence
from fluoro.steady_clock import steady_ns, unix_ns

__all__ = ["CpuDevice", "available_cores"]

TwoTimes = ctypes.c_int64 * 2

SMALL_DISPATCH_PIXELS = 4096
"""Images of fewer pixels are not worth starting operating-system threads for."""


def available_cores() -> int:
    """Return cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        return os.cpu_count() or 1


class CpuDevice(ComputeDevice):
    """Runs kernels outside the interpreter's lock on `workers` threads (0: one per core)."""

    kind = "cpu"
    rays_per_thread = RAY_LANES
    packet_pixels = PACKET_PIXELS
    on_host = True
    one_order = False

    def __init__(self, workers: int = 0) -> None:
        self.workers = workers or available_cores()
        self.name = f"CPU, {self.workers} thread{'s' if self.workers > 1 else ''}"
        self._kernels: dict[tuple[str | KernelText, str, bool], CpuKernel] = {}

    @override
    def empty(self, shape: tuple[int, ...], dtype: DTypeLike = np.float32) -> NDArray[Any]:
        return np.empty(shape, dtype)

    @override
    def to_device(self, values: ArrayLike) -> NDArray[Any]:
        return np.ascontiguousarray(values)

    @override
    def to_host(self, array: NDArray[Any], *, settled: bool = False) -> NDArray[Any]:
        del settled
        return array

    @override
    def owns(self, array: Any) -> bool:
        return isinstance(array, np.ndarray) and array.flags.c_contiguous

    @override
    def run(self, launch: Launch) -> None:
        kernel, groups, block, workers = self.prepared(launch)
        kernel.dispatch(*groups, block, workers)

    def prepared(self, launch: Launch) -> tuple[CpuKernel, Threads, bytes, int]:
        """Return what a dispatch takes: kernel, groups, block of uniforms, number of threads."""
        module, entry, threads, uniforms, exact = launch
        kernel = self._kernel(module, entry, exact)
        columns, rows, layers = (
            -(-count // size) for count, size in zip(threads, kernel.group_size, strict=True)
        )
        packet = PACKET_PIXELS if kernel.group_size == (1, 1, 1) else 1
        small = exact and packet * prod(threads) < SMALL_DISPATCH_PIXELS
        one_thread = small or (isinstance(module, KernelText) and module.scatters)
        workers = 1 if one_thread else self.workers
        return kernel, (columns, rows, layers), kernel.uniforms.pack(uniforms), workers

    @override
    def queue(self) -> CpuQueue:
        return CpuQueue(self)

    @override
    def close(self) -> None:
        self._kernels.clear()

    def _kernel(self, module: str | KernelText, entry: str, exact: bool) -> CpuKernel:
        key = (module, entry, exact)
        if key not in self._kernels:
            self._kernels[key] = load_cpu_kernel(module, entry, exact=exact)
        return self._kernels[key]


class CpuQueue(LaunchQueue):
    """Launches on threads of the queue's own, as many as the device's.

    Args:
        device: Whose launches.

    Raises:
        DeviceError: The system has no threads left.
    """

    def __init__(self, device: CpuDevice) -> None:
        super().__init__(device)
        self._cpu, self.workers = device, device.workers
        self._threads = load_thread_library()
        self._queue = self._threads.open_queue(self.workers)
        if self._queue is None:
            raise DeviceError("the system has no threads left for the renderer")
        self._first = self._last = 0
        self._awaited: tuple[Any, int] = (None, 0)

    @override
    def after(self, fence: Fence) -> None:
        if isinstance(fence, QueueFence) and isinstance(fence.queue, CpuQueue):
            self._awaited = fence.queue._queue, fence.mark[1]

    @override
    def _push(self, launch: Launch) -> None:
        kernel, groups, block, workers = self._cpu.prepared(launch)
        awaited, self._awaited = self._awaited, (None, 0)
        number = self._threads.push(
            self._queue, kernel.row, *groups, block, len(block), workers, *awaited
        )
        if not number:
            raise DeviceError("the device is closed")
        self._last = number

    @override
    def _mark(self) -> tuple[int, int]:
        first, self._first = self._first + 1, self._last
        return first, self._last

    @override
    def wait_for(self, mark: tuple[int, int]) -> Interval:
        first, last = mark
        if last < first:  # nothing was launched
            now_ns = steady_ns()
            return Interval(begun_ns=now_ns, ended_ns=now_ns)
        times = TwoTimes()
        self._threads.wait(self._queue, first, last, times)
        return Interval(begun_ns=unix_ns(times[0]), ended_ns=unix_ns(times[1]))

    @override
    def close(self) -> None:
        self._threads.close_queue(self._queue)  # waits for all launches
        super().close()
