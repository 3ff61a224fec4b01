"""The newest frame to 3D Slicer and others by OpenIGTLink."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fluoro.config.addresses import host_and_port
from fluoro.imaging.frame import FluoroFrame
from operators.monitor import StreamMonitor
from operators.sinks.base import Sink

if TYPE_CHECKING:
    from fluoro.interop.igtl.igtl_server import IgtlServer
    from operators.context import RunContext

__all__ = ["IgtlSink"]


class IgtlSink(Sink):
    """Offers frames to the clients of a server, and counts the frames that it missed.

    Args:
        server: Serves the newest frame.
        monitor: Counts what was dropped here.
    """

    name = "igtl"

    def __init__(self, server: IgtlServer, monitor: StreamMonitor) -> None:
        self._server, self._monitor = server, monitor

    @classmethod
    def from_config(cls, context: RunContext) -> IgtlSink | None:
        """Return the sink, its server open; None where it is off.

        Raises:
            DeviceError: The port is in use.
        """
        config, links = context.config.igtl, context.links
        if not config.enabled:
            return None
        from fluoro.interop.igtl.igtl_poses import instruments_first
        from fluoro.interop.igtl.igtl_server import IgtlServer

        server = IgtlServer(
            config.host,
            config.port,
            context.isocenter_xyz_mm,
            instruments_first(links.steering, links.take_transform),
            [host_and_port(address) for address in config.servers],
        )
        context.stack.callback(server.close)
        links.igtl_place = f"{config.host}, port {server.port}"
        links.refusing["igtl"] = server.refusals
        return cls(server, context.monitor)

    def take(self, frame: FluoroFrame) -> None:
        """Offer one frame."""
        self._server.send(frame)
        self._monitor.count_shown(self.name, frame.number)
