"""Launches that line up: they run one after another, and `launch` returns before they are done.

A stream has two queues on one device, one for its renderer and one for its image chain: the next
picture is there to be rendered when the last one is done, and no time passes between two stages.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from numpy.typing import ArrayLike, DTypeLike, NDArray
from typing_extensions import override

from fluoro.rendering.devices.base import ComputeDevice, Launch, Span, Ticket, Uniform

__all__ = ["LaunchQueue"]


class QueueTicket(Ticket):
    """Stands for launches of a queue; keeps alive what they work on."""

    def __init__(self, queue: LaunchQueue, mark: Any, held: list[Any]) -> None:
        self.queue, self.mark, self._held = queue, mark, held
        self._span: Span | None = None

    @override
    def wait(self) -> Span:
        if self._span is None:
            self._span = self.queue.wait_for(self.mark)
            self.queue.forget(self)
            self._held = []
        return self._span


class LaunchQueue(ComputeDevice):
    """Takes a device's place where launches are to line up.

    When launches began and ended is known of the last 4096 at least.

    One thread launches; any thread may wait for a ticket. Arrays that the host writes must not be
    those of launches that are not done; `to_host` waits first.

    Args:
        device: Whose launches.
    """

    def __init__(self, device: ComputeDevice) -> None:
        self._device = device
        self.kind, self.name = device.kind, device.name
        self.rays_per_thread, self.one_order = device.rays_per_thread, device.one_order
        self.fused_pixels, self.on_host = device.fused_pixels, device.on_host
        self._held: list[Any] = []
        self._open: set[QueueTicket] = set()

    @override
    def run(self, launch: Launch) -> None:
        self._held.append(launch.uniforms)
        self._push(launch)

    @override
    def ticket(self) -> QueueTicket:
        held, self._held = self._held, []
        ticket = QueueTicket(self, self._mark(), held)
        self._open.add(ticket)
        return ticket

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
        for ticket in [*self._open, self.ticket()]:
            ticket.wait()

    def forget(self, ticket: QueueTicket) -> None:
        """Called by a ticket whose launches are done."""
        self._open.discard(ticket)

    @abstractmethod
    def _push(self, launch: Launch) -> None:
        """Line up one launch."""

    @abstractmethod
    def _mark(self) -> Any:
        """What `wait_for` needs to know the launches since the last mark by."""

    @abstractmethod
    def wait_for(self, mark: Any) -> Span:
        """Return when the launches of a mark are done; without the interpreter's lock."""
