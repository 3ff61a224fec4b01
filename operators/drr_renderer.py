"""Poses to line integrals."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from threading import Semaphore
from typing import Any

from holoscan.core import ExecutionContext, InputContext, Operator, OperatorSpec, OutputContext

from fluoro.geometry.labels import angle_label
from fluoro.geometry.projection import View
from fluoro.imaging.frame import FrameHeader
from fluoro.rendering.miss import explain_miss
from fluoro.rendering.patient_renderer import PatientRenderer
from operators.messages import emit

__all__ = ["DrrRendererOp"]

log = logging.getLogger(__name__)


class DrrRendererOp(Operator):
    """Renders the view of each pose, outside the interpreter's lock.

    Between pulses the last line integrals go on once more. The first view whose beam misses
    the volume is explained in the log.

    Ports:
        pose (in): `FrameHeader`.
        integrals (out): tensor (height, width) float32, line integrals, dimensionless; or
            (materials, height, width), thicknesses [mm], of a renderer of materials; the header
            with stamps `render_start` and `render_end` as metadata.

    Args:
        renderer: What renders.
        isocenter_xyz_mm: Isocentre of the untranslated C-arm, patient LPS [mm].
        free: Released after each frame, for a source that waits for its turn; None: nobody waits.
    """

    def __init__(
        self,
        fragment: Any,
        *args: Any,
        renderer: PatientRenderer,
        isocenter_xyz_mm: Sequence[float],
        free: Semaphore | None = None,
        **kwargs: Any,
    ) -> None:
        self._renderer, self._isocenter_xyz_mm = renderer, isocenter_xyz_mm
        self._free = free
        self._miss_explained = False
        self._integrals: Any = None
        super().__init__(fragment, *args, **kwargs)

    def setup(self, spec: OperatorSpec) -> None:
        """Declare the ports."""
        spec.input("pose")
        spec.output("integrals")

    def compute(
        self, input_: InputContext, output: OutputContext, _context: ExecutionContext
    ) -> None:
        """Render one frame."""
        header: FrameHeader = input_.receive("pose")
        header = header.stamped("render_start")
        view = header.geometry.view(header.pose, self._isocenter_xyz_mm)
        if header.pulse or self._integrals is None:
            self._integrals = self._renderer.render(view, header.time_s, header.injected_s)
        integrals = self._integrals
        emit(self, output, "integrals", integrals, header.stamped("render_end"))
        if self._free:
            self._free.release()
        if not self._miss_explained:
            self._explain(header, view)

    def _explain(self, header: FrameHeader, view: View) -> None:
        """Say once why a picture is empty."""
        miss = explain_miss(view, self._renderer.grid)
        if miss is None:
            return
        self._miss_explained = True
        shift = ", ".join(f"{value:g}" for value in header.pose.translation_mm)
        where = f"{angle_label(header.pose)}, translation ({shift}) mm"
        log.warning("frame %d at %s: %s", header.number, where, miss)
