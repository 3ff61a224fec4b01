"""A frame's image on the device, and how a stage runs kernels on it."""

from __future__ import annotations

from typing import Any

from fluoro.imaging.device_tables import Tables
from fluoro.imaging.fused import Stage, StageRunner
from fluoro.rendering.devices.base import ComputeDevice

__all__ = ["KernelRun"]


class KernelRun:
    """Runs the kernels of a frame's stages.

    Args:
        device: Where the image lies.
        tables: What the stages keep on the device from frame to frame.
        shape: Rows and columns of the image.
        fused: Whether neighbouring kernels of single pixels become one.
        runner: What launches them; None: a `StageRunner`.

    Attributes:
        image: float32 array of the device, which the next kernel changes.
    """

    def __init__(
        self,
        device: ComputeDevice,
        tables: Tables,
        shape: tuple[int, int],
        *,
        fused: bool,
        runner: StageRunner | None = None,
    ) -> None:
        self.device, self.tables = device, tables
        self._runner = runner or StageRunner(device, fused=fused)
        self.size = (shape[1], shape[0], 1)
        self.image = device.empty(shape)

    def pixels(self, kernel: Stage, **uniforms: Any) -> None:
        """Run a kernel that looks at no other pixel of the image: a struct with RUNS_ALONE."""
        self._runner.run(kernel, self.image, self.size, uniforms)

    def alone(self, kernel: str, **uniforms: Any) -> None:
        """Run a kernel whose threads have a pixel each, by itself."""
        self._runner.run_alone(kernel, self.image, self.size, uniforms)

    def packets(self, module: str, entry: str, **uniforms: Any) -> None:
        """Run a kernel whose threads carry a packet of pixels each."""
        self._runner.run_packets(module, entry, self.image, self.size, uniforms)

    def replaced(self) -> Any:
        """Return the image; the next kernel writes to a new one."""
        before, self.image = self.image, self.device.empty((self.size[1], self.size[0]))
        return before

    def on_cells(self, kernel: str, shape: tuple[int, int], **uniforms: Any) -> Any:
        """Return the result of a kernel on an image of another shape, a new array."""
        full = self.image, self.size
        self.image, self.size = self.device.empty(shape), (shape[1], shape[0], 1)
        self.alone(kernel, **uniforms)
        result, (self.image, self.size) = self.image, full
        return result

    def beside(self, shape: tuple[int, int]) -> KernelRun:
        """Return a run on a new image of another shape, whose kernels come after those so far."""
        self.finish()
        return KernelRun(self.device, self.tables, shape, fused=False)

    def finish(self) -> None:
        """Run what waits to be put together with others."""
        self._runner.finish()
