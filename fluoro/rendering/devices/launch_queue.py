"""Launches that line up: they run one after another, and `launch` returns before they are done.

A stream has two queues on one device, one for its renderer and one for its image chain: the next
image is there to be rendered when the last one is done, and no time passes between two stages.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from numpy.typing import ArrayLike, DTypeLike, NDArray
from typing_extensions import override

from fluoro.rendering.devices.base import ComputeDevice, Fence, Interval, Launch, Uniform

__all__ = ["LaunchQueue"]


class QueueFence(Fence):
    """Stands for launches of a queue; keeps alive what they work on."""

    def __init__(self, queue: LaunchQueue, mark: Any, held: list[Any]) -> None:
        self.queue, self.mark, self._held = queue, mark, held
        self._interval: Interval | None = None

    @override
    def wait(self) -> Interval:
        if self._interval is None:
            self._interval = self.queue.wait_for(self.mark)
            self.queue.forget(self)
            self._held = []
        return self._interval


class LaunchQueue(ComputeDevice):
    """Takes a device's place where launches are to line up.

    When launches began and ended is known of the last 4096 at least.

    One thread launches; any thread may wait for a fence. Arrays that the host writes must not be
    those of launches that are not done; `to_host` waits first.

    Args:
        device: Whose launches.
    """

    def __init__(self, device: ComputeDevice) -> None:
        self._device = device
        self.kind, self.name = device.kind, device.name
        self.rays_per_thread, self.one_order = device.rays_per_thread, device.one_order
        self.packet_pixels, self.on_host = device.packet_pixels, device.on_host
        self._held: list[Any] = []
        self._open: set[QueueFence] = set()

    @override
    def run(self, launch: Launch) -> None:
        self._held.append(launch.uniforms)
        self._push(launch)

    @override
    def fence(self) -> QueueFence:
        held, self._held = self._held, []
        fence = QueueFence(self, self._mark(), held)
        self._open.add(fence)
        return fence

    @override
    def queue(self) -> ComputeDevice:
        return self._device.queue()

    @override
    def empty(self, shape: tuple[int, ...], dtype: DTypeLike = "float32") -> Any:
        return self._device.empty(shape, dtype)

    @override
    def to_device(self, values: ArrayLike) -> Any:
        return self._device.to_device(values)

    @override
    def to_host(self, array: Any, *, settled: bool = False) -> NDArray[Any]:
        if not settled:
            self.finish()
        return self._device.to_host(array, settled=settled)

    @override
    def owns(self, array: Any) -> bool:
        return self._device.owns(array)

    @override
    def texture(self, mu_zyx: Any) -> dict[str, Uniform]:
        return self._device.texture(mu_zyx)

    @override
    def close(self) -> None:
        """Wait for all launches. The device stays open."""
        for fence in [*self._open, self.fence()]:
            fence.wait()

    def forget(self, fence: QueueFence) -> None:
        """Called by a fence whose launches are done."""
        self._open.discard(fence)

    @abstractmethod
    def _push(self, launch: Launch) -> None:
        """Line up one launch."""

    @abstractmethod
    def _mark(self) -> Any:
        """What `wait_for` needs to know the launches since the last mark by."""

    @abstractmethod
    def wait_for(self, mark: Any) -> Interval:
        """Return when the launches of a mark are done; without the interpreter's lock."""
