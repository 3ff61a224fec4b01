"""What time, pulse and injection make of a frame before it is exposed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fluoro.config import Config, pulses_fit
from fluoro.console.controls import ControlState
from fluoro.geometry.carm import CarmGeometry
from fluoro.imaging.frame import FrameHeader
from fluoro.imaging.pulses import PulseClock

__all__ = ["StreamClock", "with_lengths"]


class StreamClock:
    """Gives frames their time, the time of the last injection, and holds them between pulses.

    Args:
        config: Frame rate, injection, and whether pulses are possible.
    """

    def __init__(self, config: Config) -> None:
        self._fps = config.run.fps
        contrast = config.volume.contrast
        self._injected_s = contrast.start_s if contrast else None
        self._injections = 0
        self._pulses = PulseClock(self._fps) if pulses_fit(config) else None

    def header(self, state: ControlState, *, number: int, **known: Any) -> FrameHeader:
        """A frame's header with all that depends on time and on the console's buttons.

        Args:
            state: Of the controls.
            number: Of the frame.
            known: What else is known of it, by the header's names.
        """
        time_s = number / self._fps
        if state.injections != self._injections:
            self._injections, self._injected_s = state.injections, time_s
        header = FrameHeader(number=number, time_s=time_s, injected_s=self._injected_s, **known)
        return self._pulses.applied(header, state.pulse_rate_hz) if self._pulses else header


def with_lengths(geometry: CarmGeometry, state: ControlState) -> CarmGeometry:
    """The C-arm with the distance to the detector and the field that a user has set."""
    distance_mm = state.source_to_detector_mm
    if distance_mm == geometry.source_to_detector_mm and state.magnification == 1:
        return geometry
    return replace(geometry, source_to_detector_mm=distance_mm).magnified(state.magnification)
