"""The frame: what the image chain hands to every sink."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fluoro.annotations.truth import FrameTruth
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.imaging.exposure.dose_meter import Exposure

__all__ = ["FluoroFrame", "FrameHeader", "PoseOrigin", "to_uint8"]


@dataclass(frozen=True, kw_only=True)
class PoseOrigin:
    """The sender's stamp and number of a pose that was sent.

    Attributes:
        stamp_ns: The sender's stamp [ns], by the sender's clock.
        sequence: Counts the poses that came, from 0, those refused among them.
        time_ns: Time that the frame shows [ns]: the stamp, or where a pose is held, of the frame.
    """

    stamp_ns: int
    sequence: int
    time_ns: int


@dataclass(frozen=True, kw_only=True, eq=False)
class FluoroFrame:
    """One image of the stream and how it came about.

    Attributes:
        image: Display values in [0, 1], shape (height, width), float32; row 0 is cranial and
            column 0 the patient's right at the frontal view.
        number: Counts from 0.
        pose: Where the C-arm stood.
        geometry: The C-arm's lengths and detector at that moment.
        stamps_ns: Unix time [ns] by stage, in order: `pose` (the pose was issued), `render_start`,
            `render_end`, `chain_end`; of a clock that never jumps.
        origin: Who sent the pose; None: it is our own.
        pulse: False: no X-rays; the image of the last pulse is held, and the pose is its.
        exposure: What the image was made with, and the run's dose so far; None: not known.
        shown_s: When a film shows the frame, from the run's first one [s]; None: number / fps.
        truth: Annotations of what is in the image; None: not requested.
    """

    image: NDArray[np.float32]
    number: int
    pose: CarmPose
    geometry: CarmGeometry
    stamps_ns: dict[str, int]
    origin: PoseOrigin | None = None
    pulse: bool = True
    exposure: Exposure | None = None
    shown_s: float | None = None
    truth: FrameTruth | None = None


@dataclass(frozen=True, kw_only=True)
class FrameHeader:
    """What is known of a frame on its way through the graph, before it has an image.

    Attributes:
        number: Counts from 0.
        pose: Where the C-arm stands.
        geometry: The C-arm's lengths and detector.
        stamps_ns: Unix time [ns] by stage, as in `FluoroFrame`.
        origin: Who sent the pose; None: it is our own.
        time_s: Of the run at which the patient is seen [s]; docs/conventions.md says which.
        injected_s: When contrast was injected, in the run's time [s]; None: it was not.
        pulse: False: no X-rays; the image of the last pulse is held, pose and time are its.
        exposure: What the image was made with; None: not exposed yet.
        shown_s: When a film shows the frame, from the run's first one [s]; None: number / fps.
        beam_s: How long the beam has been on in the run, this frame included [s].
        truth: Annotations of what is in the image; None: not requested.
    """

    number: int
    pose: CarmPose
    geometry: CarmGeometry
    stamps_ns: dict[str, int]
    origin: PoseOrigin | None = None
    time_s: float = 0.0
    injected_s: float | None = None
    pulse: bool = True
    exposure: Exposure | None = None
    shown_s: float | None = None
    beam_s: float = 0.0
    truth: FrameTruth | None = None

    def stamped(self, **times_ns: int) -> FrameHeader:
        """Return a copy with Unix times [ns] by stage."""
        return replace(self, stamps_ns={**self.stamps_ns, **times_ns})

    def exposed(self, exposure: Exposure, **times_ns: int) -> FrameHeader:
        """Return a copy with what the image was made with, and Unix times [ns] by stage."""
        return replace(self, exposure=exposure, stamps_ns={**self.stamps_ns, **times_ns})

    def frame(self, image: NDArray[np.float32]) -> FluoroFrame:
        """Return the frame of which this is the header."""
        return FluoroFrame(
            image=image,
            number=self.number,
            pose=self.pose,
            geometry=self.geometry,
            stamps_ns=self.stamps_ns,
            origin=self.origin,
            pulse=self.pulse,
            exposure=self.exposure,
            shown_s=self.shown_s,
            truth=self.truth,
        )


def to_uint8(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return display values [0, 1] as 8-bit grey levels, rounded to the nearest, same shape."""
    levels = image * np.float32(255)
    levels += np.float32(0.5)
    np.clip(levels, np.float32(0), np.float32(255.5), out=levels)  # in place: live frames hurry
    return np.asarray(levels.astype(np.uint8))
