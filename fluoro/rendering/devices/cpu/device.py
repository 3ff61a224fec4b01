"""The CPU as a compute device: NumPy arrays, native kernels, as many threads as requested."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, wait
from math import prod
from typing import Any, NamedTuple

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
)
from fluoro.rendering.devices.cpu.compiler import (
    PACKET_PIXELS,
    RAY_LANES,
    CpuKernel,
    load_thread_library,
)
from fluoro.rendering.devices.cpu.kernel_loader import KernelLoader
from fluoro.rendering.devices.cpu.worker_threads import available_cores
from fluoro.rendering.devices.launch_queue import LaunchQueue, QueueFence
from fluoro.steady_clock import steady_ns, unix_ns

__all__ = ["CpuDevice"]

NO_WORK = (None, 0, 0, 0, b"", 0, 1)
"""Row function, groups, block of uniforms and threads of a launch that has no kernel."""

TwoTimes = ctypes.c_int64 * 2

SMALL_DISPATCH_PIXELS = 4096
"""Images of fewer pixels are not worth starting operating-system threads for."""


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
        self.kernel_loader = KernelLoader()

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
        kernel = self.kernel_loader.begin(launch).result()
        kernel.dispatch(*self.prepared(launch, kernel))

    def prepared(self, launch: Launch, kernel: CpuKernel) -> tuple[int, int, int, bytes, int]:
        """Return what a dispatch takes: groups, block of uniforms, number of threads."""
        module, _, threads, uniforms, exact = launch
        columns, rows, layers = (
            -(-count // size) for count, size in zip(threads, kernel.group_size, strict=True)
        )
        packet = PACKET_PIXELS if kernel.group_size == (1, 1, 1) else 1
        small = exact and packet * prod(threads) < SMALL_DISPATCH_PIXELS
        one_thread = small or (isinstance(module, KernelText) and module.scatters)
        workers = 1 if one_thread else self.workers
        return columns, rows, layers, kernel.uniforms.pack(uniforms), workers

    @override
    def queue(self) -> CpuQueue:
        return CpuQueue(self)

    @override
    def watch(self, tell: Callable[[int, int], None]) -> None:
        self.kernel_loader.watch(tell)

    @override
    def close(self) -> None:
        self.kernel_loader.close()


class _Supply(NamedTuple):
    """A kernel that a launch waits for, and whether the launch has got it."""

    kernel: Future[CpuKernel]
    done: Future[None]


class CpuQueue(LaunchQueue):
    """Launches on threads of the queue's own, as many as the device's.

    A launch whose kernel has to be compiled waits for it in the queue, as do those behind it. So
    the kernels of a frame are compiled side by side. Who waits for a launch whose kernel does not
    compile gets the error. `close` gives up compilations that have not begun.

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
        self._unready: dict[int, list[_Supply]] = {}
        self._awaited: tuple[CpuQueue | None, int] = (None, 0)

    @override
    def after(self, fence: Fence) -> None:
        if isinstance(fence, QueueFence) and isinstance(fence.queue, CpuQueue):
            self._awaited = fence.queue, fence.mark[1]

    @override
    def _push(self, launch: Launch) -> None:
        kernel = self._cpu.kernel_loader.begin(launch)
        (other, others_number), self._awaited = self._awaited, (None, 0)
        ready = kernel.done()
        work = self._work(launch, kernel) if ready else NO_WORK
        address = other._queue if other else None
        number = self._threads.push(self._queue, *work, address, others_number)
        if not number:
            raise DeviceError("the device is closed")
        self._last = number
        waits_for = other._supplies(others_number) if other else []
        if not ready:
            waits_for.append(self._supply_later(number, launch, kernel))
        if waits_for:
            self._unready[number] = waits_for

    def _work(self, launch: Launch, kernel: Future[CpuKernel]) -> tuple[Any, ...]:
        """What the thread library takes of a launch; raises what became of its kernel."""
        found = kernel.result()
        *groups, block, workers = self._cpu.prepared(launch, found)
        return found.row, *groups, block, len(block), workers

    def _supply_later(self, number: int, launch: Launch, kernel: Future[CpuKernel]) -> _Supply:
        kept = launch._replace(uniforms=dict(launch.uniforms))
        supply = _Supply(kernel, Future())
        kernel.add_done_callback(lambda _: self._supply(number, kept, supply))
        return supply

    def _supply(self, number: int, launch: Launch, supply: _Supply) -> None:
        """Give a launch its kernel; without one nothing runs, and those behind it go on."""
        try:
            work = self._work(launch, supply.kernel)
        except Exception as error:  # noqa: BLE001  (who waits for the launch gets it)
            self._threads.supply(self._queue, number, *NO_WORK)
            closed = isinstance(error, CancelledError)
            supply.done.set_exception(DeviceError("the device is closed") if closed else error)
        else:
            self._threads.supply(self._queue, number, *work)
            supply.done.set_result(None)

    def _supplies(self, last: int) -> list[_Supply]:
        """What launches up to a number still wait for."""
        return [each for n, waits in [*self._unready.items()] if n <= last for each in waits]

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
        self._await_kernels(last)
        times = TwoTimes()
        self._threads.wait(self._queue, first, last, times)
        return Interval(begun_ns=unix_ns(times[0]), ended_ns=unix_ns(times[1]))

    def _await_kernels(self, last: int) -> None:
        """Return when the launches up to a number have kernels; a signal can end this wait."""
        supplies = [each.done for each in self._supplies(last)]
        wait(supplies)
        for number in [each for each in [*self._unready] if each <= last]:
            self._unready.pop(number, None)
        for supply in supplies:
            supply.result()

    @override
    def close(self) -> None:
        for supply in self._supplies(self._last):
            supply.kernel.cancel()
        self._threads.close_queue(self._queue)  # waits for all launches
        self._unready.clear()
        super().close()
