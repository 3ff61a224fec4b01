"""Line integrals to the picture."""

from __future__ import annotations

import time
from dataclasses import replace
from threading import Semaphore
from typing import Any

from holoscan.core import (
    ConditionType,
    ExecutionContext,
    InputContext,
    Operator,
    OperatorSpec,
    OutputContext,
)

from fluoro.config import ImageChainConfig, WindowConfig
from fluoro.console.controls import ControlState, LiveControls
from fluoro.imaging.chain import ImageChain
from fluoro.imaging.dose_meter import DoseMeter
from fluoro.imaging.frame import FrameHeader
from operators.messages import as_array, emit, header_of, rendering_of

__all__ = ["ImageChainOp"]


class ImageChainOp(Operator):
    """Waits for a rendering, applies the image chain with the console's dose, window and polarity.

    On a device with one order of launches, the chain's line up behind the rendering at once.

    Ports:
        integrals (in): tensor (height, width) float32, line integrals; or (materials, height,
            width), thicknesses [mm], where the chain has a beam; as metadata the rendering that
            has to be waited for.
        record (out): tensor (height, width) float32, display values in [0, 1], every frame; the
            header with stamps `render_start`, `render_end` and `chain_end` as metadata.
        view (out): the same tensor for displays; what they do not take in time is dropped.

    Args:
        chain: The stages.
        config: Which of them, with which numbers.
        controls: Dose, window, polarity, mask and pulses.
        meter: Adds up the dose.
        displays: Whether anything listens at `view`.
        turn: Released when a frame is rendered, for a source that waits for its turn; None: none
            waits.
    """

    def __init__(
        self,
        fragment: Any,
        *args: Any,
        chain: ImageChain,
        config: ImageChainConfig,
        controls: LiveControls,
        meter: DoseMeter,
        displays: bool,
        turn: Semaphore | None = None,
        **kwargs: Any,
    ) -> None:
        self._chain, self._config, self._controls = chain, config, controls
        self._displays, self._meter, self._turn = displays, meter, turn
        self._in_order = chain.device.one_order
        self._masks, self._first_of_series = 0, config.dsa.first_frame if config.dsa else 0
        self._state: ControlState | None = None
        self._shown = config
        super().__init__(fragment, *args, **kwargs)

    def setup(self, spec: OperatorSpec) -> None:
        """Declare the ports."""
        spec.input("integrals")
        spec.output("record")
        if self._displays:
            spec.output("view").condition(ConditionType.NONE)

    def compute(
        self, input_: InputContext, output: OutputContext, _context: ExecutionContext
    ) -> None:
        """Make one picture."""
        integrals = as_array(input_.receive("integrals"))
        header = header_of(self)
        in_order, geometry = self._in_order, header.geometry
        if not in_order:
            header = self._rendered(header)
        config = self._config_of(header)
        image = self._chain.start(
            integrals,
            config,
            header.number,
            geometry.pixel_spacing_mm,
            geometry,
            pulse=header.pulse,
        )
        if in_order:
            header = self._rendered(header)
        self._chain.finish()
        exposure = self._meter.add(self._chain.pulse, config, geometry, is_pulse=header.pulse)
        header = replace(header.stamped(chain_end=time.time_ns()), exposure=exposure)
        emit(self, output, "record", image, header)
        if self._displays:
            emit(self, output, "view", image, header)

    def _rendered(self, header: FrameHeader) -> FrameHeader:
        """The header once the received picture is there."""
        rendering = rendering_of(self)
        if rendering:
            span = rendering.wait()
            header = header.stamped(render_start=span.begun_ns, render_end=span.ended_ns)
        if self._turn:
            self._turn.release()
        return header

    def _config_of(self, header: FrameHeader) -> ImageChainConfig:
        """The configuration of a frame; a mask that was asked for begins with it."""
        state = self._controls.snapshot()
        if state is not self._state:
            if state.masks != self._masks:
                self._masks, self._first_of_series = state.masks, header.number
            self._state, self._shown = state, self._controlled(state)
        return self._shown

    def _controlled(self, state: ControlState) -> ImageChainConfig:
        config = with_controls(self._config, state)
        if config.dsa is None:
            return config
        dsa = config.dsa.model_copy(update={"first_frame": self._first_of_series})
        return config.model_copy(update={"dsa": dsa})


def with_controls(config: ImageChainConfig, state: ControlState) -> ImageChainConfig:
    """The configuration with what a user has set on the console."""
    window = WindowConfig(level=state.window_level, width=state.window_width)
    changes: dict[str, Any] = {
        "dose_ngy": state.dose_ngy,
        "polarity": state.polarity,
        "pulse_rate_hz": state.pulse_rate_hz,
    }
    if config.dsa:
        shift = (state.mask_shift_x_px, state.mask_shift_y_px)
        changes["dsa"] = config.dsa.model_copy(update={"pixel_shift": shift, "window": window})
    else:
        changes["window"] = window
    if config.image_intensifier and state.magnification != 1:
        field_mm = config.image_intensifier.diameter_mm / state.magnification
        changes["image_intensifier"] = config.image_intensifier.model_copy(
            update={"diameter_mm": field_mm}
        )
    return config.model_copy(update=changes)
