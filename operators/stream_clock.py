"""What time, pulse and injection make of a frame before it is exposed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fluoro.config import Config, pulses_fit
from fluoro.console.controls import ControlState
from fluoro.geometry.carm import CarmGeometry
from fluoro.imaging.frame import FrameHeader, PoseOrigin
from fluoro.imaging.pulses import PulseClock

__all__ = ["StreamClock", "with_lengths"]


class StreamClock:
    """Gives frames their times, the time of the last injection, and holds them between pulses.

    The content of a frame (motion, contrast) has the time of the pose that was sent, counted from
    the first pose of the run, or number / fps where no one sends poses: so a replay is exact. Film
    and beam-on time follow the stamps of a clock that never jumps; or the content's time, where
    the run does not keep the pace of a clock: in lockstep and free-running.

    Args:
        config: Frame rate, pacing, injection, and whether pulses are possible.
    """

    def __init__(self, config: Config) -> None:
        self._fps = config.run.fps
        contrast = config.volume.contrast
        self._injected_s = contrast.start_s if contrast else None
        self._injections = 0
        self._pulses = PulseClock(self._fps) if pulses_fit(config) else None
        self._keeps_pace = config.pose_source.keeps_pace(paced=config.run.pacing == "paced")
        self._first_pose_ns: int | None = None
        self._first_frame_ns: int | None = None
        self._last_shown_s: float | None = None
        self._beam_s = 0.0

    def header(
        self,
        state: ControlState,
        *,
        number: int,
        stamps_ns: dict[str, int],
        origin: PoseOrigin | None = None,
        **known: Any,
    ) -> FrameHeader:
        """Return a frame's header with all that depends on time and on the console's buttons.

        Args:
            state: Of the controls.
            number: Of the frame.
            stamps_ns: As `FrameHeader` has it, with the stamp `pose`.
            origin: Sender of the pose; None: it was not sent.
            known: What else is known of it, by the header's names.
        """
        time_s = self._content_s(number, origin)
        shown_s = self._since_first_frame_s(stamps_ns["pose"]) if self._keeps_pace else time_s
        if state.injections != self._injections:
            self._injections, self._injected_s = state.injections, time_s
        header = FrameHeader(
            number=number,
            stamps_ns=stamps_ns,
            origin=origin,
            time_s=time_s,
            shown_s=shown_s,
            beam_s=self._beam_on_s(shown_s),
            injected_s=self._injected_s,
            **known,
        )
        return self._pulses.applied(header, state.pulse_rate_hz) if self._pulses else header

    def pause(self) -> None:
        """Take note that the beam is off: the time up to the next frame does not count for it."""
        self._last_shown_s = None

    def _content_s(self, number: int, origin: PoseOrigin | None) -> float:
        if origin is None:
            return number / self._fps
        if self._first_pose_ns is None:
            self._first_pose_ns = origin.time_ns
        return (origin.time_ns - self._first_pose_ns) * 1e-9

    def _since_first_frame_s(self, now_ns: int) -> float:
        if self._first_frame_ns is None:
            self._first_frame_ns = now_ns
        return (now_ns - self._first_frame_ns) * 1e-9

    def _beam_on_s(self, shown_s: float) -> float:
        """The beam-on time, where the first frame after a pause counts 1 / fps."""
        last_s, self._last_shown_s = self._last_shown_s, shown_s
        step_s = 0.0 if last_s is None else shown_s - last_s
        self._beam_s += step_s if step_s > 0 else 1 / self._fps
        return self._beam_s


def with_lengths(geometry: CarmGeometry, state: ControlState) -> CarmGeometry:
    """Return the C-arm with the distance to the detector and the field that a user has set."""
    distance_mm = state.source_to_detector_mm
    if distance_mm == geometry.source_to_detector_mm and state.magnification == 1:
        return geometry
    return replace(geometry, source_to_detector_mm=distance_mm).magnified(state.magnification)
