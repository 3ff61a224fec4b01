"""Every frame into the run's record and, where one is wanted, to the recorder."""

from __future__ import annotations

from typing import Any

from holoscan.core import ExecutionContext, InputContext, Operator, OperatorSpec, OutputContext

from fluoro.io.recorder import Recorder
from fluoro.rendering.devices import ComputeDevice
from operators.messages import as_frame
from operators.monitor import StreamMonitor
from operators.threads import on_kept_thread

__all__ = ["RecorderOp"]


class RecorderOp(Operator):
    """Hands each frame to the recorder's queue, which drops or holds back as it was told.

    Ports:
        frame (in): `Picture` of (height, width) float32, display values in [0, 1]; loses nothing.

    Args:
        device: Where the picture lies.
        monitor: Counts every frame.
        recorder: Writes them; None: only counted.
    """

    def __init__(
        self,
        fragment: Any,
        *args: Any,
        device: ComputeDevice,
        monitor: StreamMonitor,
        recorder: Recorder | None,
        **kwargs: Any,
    ) -> None:
        self._device, self._monitor, self._recorder = device, monitor, recorder
        super().__init__(fragment, *args, **kwargs)

    def setup(self, spec: OperatorSpec) -> None:
        """Declare the port."""
        spec.input("frame")

    @on_kept_thread
    def compute(
        self, input_: InputContext, _output: OutputContext, _context: ExecutionContext
    ) -> None:
        """Take one frame."""
        frame = as_frame(self, input_.receive("frame"), self._device)
        self._monitor.add(frame)
        if self._recorder and not self._recorder.put(frame):
            self._monitor.count_dropped("recorder")
