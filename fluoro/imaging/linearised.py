"""A frame's expected image and its derivative, by kernels."""

from __future__ import annotations

from typing import Any

from fluoro.imaging.device_tables import Tables
from fluoro.imaging.stage import FrameContext
from fluoro.imaging.tape import Tape
from fluoro.rendering.devices.base import ComputeDevice

__all__ = ["LinearisedImage"]


class LinearisedImage:
    """A frame's expected image and its derivative.

    Args:
        device: Where the integrals lie.
        tables: What the stages keep on the device from frame to frame.
        frame: Before its first stage, without noise.

    Attributes:
        image: Display values without noise, float32 array of the device, shape (height, width).
    """

    def __init__(self, device: ComputeDevice, tables: Tables, frame: FrameContext) -> None:
        self._device, self._frame = device, frame
        self._tape = Tape(device, tables, frame.shape)
        for stage in frame.stages:
            stage.run_linear(frame, self._tape)
        self._tape.kernels.finish()
        device.finish()
        self.image: Any = self._tape.kernels.image

    def pull_back(self, upstream: Any) -> Any:
        """Return the derivative, with respect to line integrals, of a function of display values.

        Args:
            upstream: Derivative with respect to each display value, float32 array of the device,
                shape (height, width); left as it is.

        Returns:
            Derivative with respect to each line integral or thickness, float32 array of the
            device, of the integrals' shape.
        """
        found = self._frame.to_integrals
        found.clear()
        kernels = self._tape.back(upstream)
        if self._frame.beam is None and found:
            kernels.alone("add_integrals", integrals=found[0], factor=1.0)
        kernels.finish()
        self._device.finish()
        return kernels.image if self._frame.beam is None else found[0]
