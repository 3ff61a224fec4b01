"""A frame's kernels without noise, and the way back through them: derivatives on the device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fluoro.imaging.device_tables import Tables
from fluoro.imaging.fused import SlopeRunner
from fluoro.imaging.kernel_run import KernelRun
from fluoro.imaging.stage import FrameContext, KernelPull
from fluoro.rendering.devices.base import ComputeDevice

__all__ = ["LinearisedImage", "Tape"]


class LinearisedImage:
    """A frame's expected image and its derivative.

    Args:
        tape: Of the frame, whose stages have not run.

    Attributes:
        image: Display values without noise, float32 array of the device, shape (height, width).
    """

    def __init__(self, tape: Tape) -> None:
        self._tape = tape
        self.image = tape.run()

    def pull_back(self, upstream: Any) -> Any:
        """Return the derivative, with respect to line integrals, of a function of display values.

        Args:
            upstream: Derivative with respect to each display value, float32 array of the device,
                shape (height, width); left as it is.

        Returns:
            Derivative with respect to each line integral or thickness, float32 array of the
            device, of the integrals' shape.
        """
        return self._tape.back(upstream)


class Tape:
    """Notes what takes a derivative back through a frame's stages.

    Stages of single pixels leave the product of their slopes, an image for each launch; others
    say their transpose.

    Args:
        device: Where the image lies.
        tables: What the stages keep on the device from frame to frame.
        frame: Whose stages run.

    Attributes:
        kernels: Runs stages of single pixels; refuses other kernels.
    """

    def __init__(self, device: ComputeDevice, tables: Tables, frame: FrameContext) -> None:
        self._device, self._tables, self._frame = device, tables, frame
        self._pulls: list[KernelPull] = []
        runner = SlopeRunner(device, self._take_slopes)
        self.kernels = KernelRun(device, tables, frame.shape, fused=True, runner=runner)

    def run(self) -> Any:
        """Run the frame's stages; return the image."""
        for stage in self._frame.stages:
            stage.run_linear(self._frame, self)
        self.kernels.finish()
        self._device.finish()
        return self.kernels.image

    def through(self, run: Callable[[KernelRun], Any], pull: KernelPull) -> None:
        """Run kernels that look at other pixels, and note the way back through them.

        Args:
            run: Runs them on an image.
            pull: Takes the derivative with respect to the result, which is the image, to the one
                with respect to what went in; appends to the frame's `to_integrals`, if need be.
        """
        self.kernels.finish()
        plain = self._plain(self.kernels.image)
        run(plain)
        plain.finish()
        self.kernels.image = plain.image
        self._pulls.append(pull)

    def kept(self) -> Any:
        """Return the image so far, which stays as it is; the stages go on with a copy."""
        self.kernels.finish()
        before = self.kernels.replaced()
        plain = self._plain(self.kernels.image)
        plain.pixels("copy_integrals", integrals=before)
        plain.finish()
        return before

    def back(self, upstream: Any) -> Any:
        """Return the derivative with respect to the frame's integrals, an array of the device.

        Args:
            upstream: Derivative with respect to each value of the image, float32 array of the
                device, shape (height, width); left as it is.
        """
        to_integrals = self._frame.to_integrals
        to_integrals.clear()
        kernels = self._plain(self._device.empty(self._frame.shape))
        kernels.pixels("copy_integrals", integrals=upstream)
        for pull in reversed(self._pulls):
            pull(kernels)
        if self._frame.beam is None and to_integrals:
            kernels.alone("add_integrals", integrals=to_integrals[0], factor=1.0)
        kernels.finish()
        self._device.finish()
        return kernels.image if self._frame.beam is None else to_integrals[0]

    def _plain(self, image: Any) -> KernelRun:
        kernels = KernelRun(self._device, self._tables, self._frame.shape, fused=True)
        kernels.image = image
        return kernels

    def _take_slopes(self, slopes: Any) -> None:
        self._pulls.append(lambda kernels: kernels.pixels("pixel_gains", gains=slopes))
