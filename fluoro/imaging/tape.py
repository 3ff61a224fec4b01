"""What takes a derivative back through a frame's kernels."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from fluoro.imaging.device_tables import Tables
from fluoro.imaging.fused import SlopeRunner
from fluoro.imaging.kernel_run import KernelRun
from fluoro.rendering.devices.base import ComputeDevice

__all__ = ["KernelPull", "Tape"]

KernelPull = Callable[[KernelRun], None]
"""Takes the image of a `KernelRun` from the derivative with respect to a result to the one with
respect to what went in."""


class Tape:
    """Notes what takes a derivative back through a frame's stages.

    Stages of single pixels leave the product of their slopes, an image for each launch; others
    say their transpose.

    Args:
        device: Where the image lies.
        tables: What the stages keep on the device from frame to frame.
        shape: Rows and columns of the image.

    Attributes:
        kernels: Runs stages of single pixels; refuses other kernels.
    """

    def __init__(self, device: ComputeDevice, tables: Tables, shape: tuple[int, int]) -> None:
        self._device, self._tables, self._shape = device, tables, shape
        self._pulls: list[KernelPull] = []
        runner = SlopeRunner(device, partial(_note_slopes, self._pulls))  # not the tape: a cycle
        self.kernels = KernelRun(device, tables, shape, fused=True, runner=runner)

    def through(self, run: Callable[[KernelRun], Any], pull: KernelPull) -> None:
        """Run kernels that look at other pixels, and note the way back through them.

        Args:
            run: Runs them on an image.
            pull: The way back.
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

    def back(self, upstream: Any) -> KernelRun:
        """Return a run whose image is the derivative with respect to what the stages began with.

        Args:
            upstream: Derivative with respect to each value of the image, float32 array of the
                device, shape (height, width); left as it is.
        """
        kernels = self._plain(self._device.empty(self._shape))
        kernels.pixels("copy_integrals", integrals=upstream)
        for pull in reversed(self._pulls):
            pull(kernels)
        return kernels

    def _plain(self, image: Any) -> KernelRun:
        kernels = KernelRun(self._device, self._tables, self._shape, fused=True)
        kernels.image = image
        return kernels


def _note_slopes(pulls: list[KernelPull], slopes: Any) -> None:
    pulls.append(lambda kernels: kernels.pixels("pixel_gains", gains=slopes))
