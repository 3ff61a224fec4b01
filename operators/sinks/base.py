"""What every sink of frames has in common."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from holoscan.core import (
    ExecutionContext,
    InputContext,
    IOSpec,
    Operator,
    OperatorSpec,
    OutputContext,
)

from fluoro.config import Config
from fluoro.imaging.frame import FluoroFrame, FrameHeader
from fluoro.registration.tracking.track_record import ScoredEstimate, TrackedFrame
from fluoro.rendering.devices.base import ComputeDevice
from operators.gil_state import keep_gil_state
from operators.messages import as_frame

if TYPE_CHECKING:
    from operators.context import RunContext

__all__ = ["Sink", "SinkOp"]


class Sink(Protocol):
    """Where frames go; a subclass overrides what it has need of.

    Attributes:
        name: Name of its operator, and of what it drops.
        port: `record`: it takes every frame and holds the graph back if need be; `view`: it takes
            the newest frame, and those that are overtaken are dropped.
        url: Address at which a user finds it; None: it has none.
    """

    name: ClassVar[str]
    port: Literal["record", "view"] = "view"
    url: str | None = None

    @classmethod
    def check(cls, config: Config) -> None:
        """See whether the sink can run here, before anything is loaded for it.

        Raises:
            DeviceError: It cannot.
        """

    @classmethod
    @abstractmethod
    def from_config(cls, context: RunContext) -> Sink | None:
        """Return the sink, open; None where the configuration does not ask for it.

        Raises:
            FluoroError: It cannot be opened.
        """

    def take(self, frame: FluoroFrame) -> None:
        """Take one frame, its image on the host, without waiting for a receiver."""

    def take_estimate(
        self, tracked: TrackedFrame, header: FrameHeader, scored: ScoredEstimate
    ) -> None:
        """Take the pose that registration found of a frame.

        Args:
            tracked: The estimate and the picture.
            header: Header of the frame, with the true pose.
            scored: The estimate, compared with the true pose.
        """

    def operator(self, fragment: Any, device: ComputeDevice) -> Operator:
        """Return the operator that feeds the sink, whose input is `frame`.

        Args:
            fragment: The graph.
            device: Where the pictures lie.
        """
        return SinkOp(fragment, sink=self, device=device, name=self.name)

    def flush(self) -> None:
        """Write what waits, after the last frame.

        Raises:
            OutputError: It cannot be written.
        """

    def conclude(self, *, interrupted: bool) -> None:
        """Make what is made from the whole run.

        Args:
            interrupted: Whether a user has stopped the run, and does not want to wait.
        """

    def dropped(self) -> dict[str, int]:
        """Return how many frames the sink has lost itself, by where."""
        return {}


class SinkOp(Operator):
    """Hands frames to a sink.

    Ports:
        frame (in): tensor (height, width) float32, display values in [0, 1], newest only; at the
            port `record` a `Picture`, every one.

    Args:
        sink: Takes the frames.
        device: Where the picture lies.
    """

    def __init__(
        self, fragment: Any, *args: Any, sink: Sink, device: ComputeDevice, **kwargs: Any
    ) -> None:
        self._sink, self._device = sink, device
        super().__init__(fragment, *args, **kwargs)

    def setup(self, spec: OperatorSpec) -> None:
        """Declare the port; for displays one frame deep, where a newer one replaces it."""
        if self._sink.port == "record":
            spec.input("frame")
        else:
            spec.input("frame", size=1, policy=IOSpec.QueuePolicy.POP)

    @keep_gil_state
    def compute(
        self, input_: InputContext, _output: OutputContext, _context: ExecutionContext
    ) -> None:
        """Hand on one frame."""
        self._sink.take(as_frame(self, input_.receive("frame"), self._device))
