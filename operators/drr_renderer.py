"""Poses to line integrals."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from holoscan.core import ExecutionContext, InputContext, Operator, OperatorSpec, OutputContext

from fluoro.annotations.truth import FrameTruth, TruthMaker
from fluoro.geometry.projection import View
from fluoro.geometry.view_text import angle_label
from fluoro.imaging.frame import FrameHeader
from fluoro.rendering.empty_image import explain_miss
from fluoro.rendering.patient_renderer import PatientRenderer, Rendering
from fluoro.steady_clock import steady_ns
from operators.gil_state import keep_gil_state
from operators.live_chain import BegunImage, LiveChain
from operators.messages import PortFrame

__all__ = ["DrrRendererOp"]

log = logging.getLogger(__name__)


class DrrRendererOp(Operator):
    """Begins to render the view of each pose; who receives the image waits for it.

    So the next image is begun when the last one is done, without a gap, and the image chain when
    its image is rendered. Between pulses the last line integrals go on once more. The first view
    whose beam misses the volume is explained in the log.

    Ports:
        pose (in): `FrameHeader`.
        integrals (out): `PortFrame` of (height, width) float32, line integrals, dimensionless; or
            (materials, height, width), thicknesses [mm], of a renderer of materials; with the
            rendering where there is something to wait for, and what the chain has begun of it.

    Args:
        renderer: What renders.
        chain: Queues its work behind the rendering; None: the receiver of the image starts it.
        isocenter_xyz_mm: Isocentre of the untranslated C-arm, patient LPS [mm].
        truth: Annotates frames; None: not requested.
    """

    def __init__(
        self,
        fragment: Any,
        *args: Any,
        renderer: PatientRenderer,
        chain: LiveChain | None,
        isocenter_xyz_mm: Sequence[float],
        truth: TruthMaker | None = None,
        **kwargs: Any,
    ) -> None:
        self._renderer, self._chain, self._truth = renderer, chain, truth
        self._last_truth: FrameTruth | None = None
        self._isocenter_xyz_mm = isocenter_xyz_mm
        self._miss_explained = False
        self._integrals: Any = None
        super().__init__(fragment, *args, **kwargs)

    def setup(self, spec: OperatorSpec) -> None:
        """Declare the ports."""
        spec.input("pose")
        spec.output("integrals")

    @keep_gil_state
    def compute(
        self, input_: InputContext, output: OutputContext, _context: ExecutionContext
    ) -> None:
        """Begin one frame."""
        header: FrameHeader = input_.receive("pose")
        view = header.geometry.view(header.pose, self._isocenter_xyz_mm)
        rendering = self._render(header, view)
        header = replace(header, truth=self._last_truth) if self._truth else header
        if rendering is None and not header.pulse:
            now_ns = steady_ns()
            header = header.stamped(render_start=now_ns, render_end=now_ns)
        begun = self._begun(header, rendering)
        if begun and rendering is None and header.pulse:  # the chain's kernel renders
            rendering = Rendering(begun.fence, begun.begun_ns)
        image = PortFrame(array=self._integrals, header=header, rendering=rendering, begun=begun)
        output.emit(image, "integrals")
        if not self._miss_explained:
            self._explain(header, view)

    def _render(self, header: FrameHeader, view: View) -> Rendering | None:
        """Begin with the line integrals, or keep the last pulse's; what to wait for."""
        if self._integrals is not None and not header.pulse:
            return None
        if self._truth:
            self._last_truth = self._truth.begin(view, header.time_s)
        self._integrals, rendering = self._renderer.start(view, header.time_s, header.injected_s)
        if self._truth and rendering is None:  # the chain renders, on a queue that may be another
            self._truth.finish()
        return rendering

    def _begun(self, header: FrameHeader, rendering: Rendering | None) -> BegunImage | None:
        """What the chain has begun, behind the rendering."""
        if self._chain is None:
            return None
        fence = rendering.fence if rendering else None
        return self._chain.begin(self._integrals, header, fence)

    def _explain(self, header: FrameHeader, view: View) -> None:
        """Say once why an image is empty."""
        miss = explain_miss(view, self._renderer.grid)
        if miss is None:
            return
        self._miss_explained = True
        shift = ", ".join(f"{value:g}" for value in header.pose.translation_mm)
        where = f"{angle_label(header.pose)}, translation ({shift}) mm"
        log.warning("frame %d at %s: %s", header.number, where, miss)
