"""The graph over two machines: renderer and display in two fragments, joined by Holoscan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from holoscan.core import Application, Fragment

from fluoro.errors import InputError
from fluoro.geometry.carm import CarmGeometry
from operators.assembly import Run
from operators.frame_transfer import FrameDownlinkOp
from operators.graph import PROGRAM, Graph, make_scheduler
from operators.messages import Host
from operators.monitor import StreamMonitor
from operators.sinks.base import Sink

__all__ = ["DisplaySetup", "SplitApp", "SplitOptions"]

RENDER, DISPLAY = "render", "display"
DISPLAY_THREADS = 2


@dataclass(frozen=True, kw_only=True)
class SplitOptions:
    """This process's part of an application that runs over several machines.

    Attributes:
        fragment: What runs here.
        driver: Whether this process also brings the others together.
        address: Of the driver, host:port.
        worker_address: Of this process, host[:port]; None: Holoscan chooses.

    Raises:
        InputError: An address without host or port.
    """

    fragment: Literal["render", "display"]
    driver: bool
    address: str
    worker_address: str | None = None

    def __post_init__(self) -> None:
        host, colon, port = self.address.rpartition(":")
        if not (host and colon and port.isdigit() and self.address.isascii()):
            raise InputError(f"--address must be HOST:PORT, got {self.address!r}")
        if not (self.worker_address or "").isascii():
            raise InputError(f"--worker-address must be HOST[:PORT], got {self.worker_address!r}")

    def arguments(self) -> list[str]:
        """As Holoscan reads them."""
        words = [*PROGRAM, "--worker", f"--address={self.address}"]
        words += [f"--fragments={self.fragment}"]
        words += ["--driver"] if self.driver else []
        return words + ([f"--worker-address={self.worker_address}"] if self.worker_address else [])


@dataclass(frozen=True, kw_only=True, eq=False)
class DisplaySetup:
    """What the display works with.

    Attributes:
        sink: Shows the frames.
        geometry: The C-arm as configured.
        monitor: Told of each frame.
    """

    sink: Sink
    geometry: CarmGeometry
    monitor: StreamMonitor


class SplitApp(Application):
    """Both fragments and what joins them; only the one that runs here needs its parts."""

    def __init__(self, options: SplitOptions, parts: Run | DisplaySetup) -> None:
        self._parts = parts
        super().__init__(options.arguments())

    def compose(self) -> None:
        """Connect the fragments; Holoscan composes those that run here."""
        render = RenderFragment(self, self._parts)
        display = DisplayFragment(self, self._parts)
        self.add_flow(render, display, {("uplink.packet", "downlink.packet")})


class RenderFragment(Graph, Fragment):
    """The whole graph, whose sinks have an uplink in the place of the console."""

    def __init__(self, app: Application, run: Any) -> None:
        self._prepare(run)
        super().__init__(app, name=RENDER)
        self.scheduler(make_scheduler(self))


class DisplayFragment(Fragment):
    """Frames from the renderer's machine to the console."""

    def __init__(self, app: Application, parts: Any) -> None:
        self._parts = parts
        super().__init__(app, name=DISPLAY)
        self.scheduler(make_scheduler(self, DISPLAY_THREADS))

    def compose(self) -> None:
        """Downlink -> console."""
        parts = self._parts
        downlink = FrameDownlinkOp(
            self,
            geometry=parts.geometry,
            monitor=parts.monitor,
            again=parts.sink.show_again,
            name="downlink",
        )
        console = parts.sink.operator(self, Host())
        self.add_flow(downlink, console, {("view", "frame")})
