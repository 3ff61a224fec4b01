"""What a run's images cost the patient: kerma-area product, air kerma, an estimate for the skin.

From the dose at the detector back to the tube: `fluoro.physics.dose`. Nothing is measured in the
patient; the field's unevenness (heel effect, slant) is left aside.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace

from fluoro.config import ImageChainConfig, RectangleCollimator
from fluoro.geometry.carm import CarmGeometry
from fluoro.imaging.configured_beam import primary_share
from fluoro.imaging.exposure.tube import TubeSetting
from fluoro.physics.dose import SKIN_DOSE_PER_KERMA, open_kerma_ngy, reference_distance_mm

__all__ = ["DoseMeter", "DoseTotal", "Exposure", "Pulse", "field_area_cm2"]


RATE_S = 2.0
"""Beam over which the rate is a mean [s]."""
ALARM_S = 300.0
"""Beam after which a fluoroscopy timer sounds, again and again [s] (IEC 60601-2-54)."""


@dataclass(frozen=True, kw_only=True)
class Pulse:
    """What the image chain made one image with.

    Attributes:
        dose_ngy: Air kerma at the detector behind 20 cm of water [nGy].
        measured_ngy: What the brightness control measured at the detector [nGy]; None: it is off.
        tube: Its setting; None: no tube is described.
        open_ngy: Air kerma in the detector's plane with nothing in the beam [nGy]; None: that of
            the nominal beam.
    """

    dose_ngy: float
    measured_ngy: float | None = None
    tube: TubeSetting | None = None
    open_ngy: float | None = None


@dataclass(frozen=True, kw_only=True)
class DoseTotal:
    """A run's dose so far.

    Attributes:
        pulses: Of X-rays.
        beam_s: Time with the beam on [s].
        kerma_area_mgycm2: Kerma-area product [mGy cm2].
        reference_kerma_mgy: Air kerma at the reference point, 15 cm from the isocentre towards
            the tube (IEC 60601-2-43) [mGy].
        rate_mgy_per_min: The same by time, the mean over the last two seconds [mGy/min].
    """

    pulses: int = 0
    beam_s: float = 0.0
    kerma_area_mgycm2: float = 0.0
    reference_kerma_mgy: float = 0.0
    rate_mgy_per_min: float = 0.0

    @property
    def alarms(self) -> int:
        """How often five minutes of beam have passed; the operator is alarmed each time."""
        return int(self.beam_s // ALARM_S)

    @property
    def skin_dose_mgy(self) -> float:
        """Estimate for the skin, all of it at one place: kerma x back scatter x tissue [mGy]."""
        return self.reference_kerma_mgy * SKIN_DOSE_PER_KERMA


@dataclass(frozen=True, kw_only=True)
class Exposure:
    """How one frame was made, and what the run has cost up to it.

    Attributes:
        pulse: What the image was made with; of a held image, that of its pulse.
        total: The dose so far.
    """

    pulse: Pulse
    total: DoseTotal


class DoseMeter:
    """Adds up a run's dose, frame by frame."""

    def __init__(self) -> None:
        self.total = DoseTotal()
        self._past: deque[tuple[float, float]] = deque([(0.0, 0.0)])
        open_kerma_ngy(1.0)  # reads its tables now, not amid a stream's first frame

    def add(
        self,
        pulse: Pulse,
        config: ImageChainConfig,
        geometry: CarmGeometry,
        *,
        is_pulse: bool,
        beam_s: float,
    ) -> Exposure:
        """Take one frame into account.

        Args:
            pulse: What its image was made with.
            config: Of the chain that made it: the collimator.
            geometry: Of the C-arm.
            is_pulse: False: it holds the last pulse's image.
            beam_s: How long the beam has been on so far [s].
        """
        self.total = replace(self.total, beam_s=beam_s)
        if is_pulse:
            self._count(pulse, config, geometry)
        self.total = replace(self.total, rate_mgy_per_min=self._rate(beam_s))
        return Exposure(pulse=pulse, total=self.total)

    def _rate(self, beam_s: float) -> float:
        """Return the air kerma by time [mGy/min] over the last `RATE_S` of beam."""
        past = self._past
        past.append((beam_s, self.total.reference_kerma_mgy))
        while len(past) > 2 and past[1][0] <= beam_s - RATE_S:
            past.popleft()
        seconds, kerma_mgy = beam_s - past[0][0], past[-1][1] - past[0][1]
        return 60 * kerma_mgy / seconds if seconds > 0 else 0.0

    def _count(self, pulse: Pulse, config: ImageChainConfig, geometry: CarmGeometry) -> None:
        nominal_ngy = open_kerma_ngy(pulse.dose_ngy) / primary_share(config.grid)
        at_detector_mgy = (nominal_ngy if pulse.open_ngy is None else pulse.open_ngy) * 1e-6
        reference_mm = reference_distance_mm(geometry.source_to_isocenter_mm)
        nearer = (geometry.source_to_detector_mm / reference_mm) ** 2
        area_cm2 = field_area_cm2(config, geometry)
        before = self.total
        self.total = replace(
            before,
            pulses=before.pulses + 1,
            kerma_area_mgycm2=before.kerma_area_mgycm2 + at_detector_mgy * area_cm2,
            reference_kerma_mgy=before.reference_kerma_mgy + at_detector_mgy * nearer,
        )


def field_area_cm2(config: ImageChainConfig, geometry: CarmGeometry) -> float:
    """Area of the beam in the detector's plane [cm2]: the detector, as far as it is collimated."""
    width_mm, height_mm = geometry.detector_size_mm
    collimator = config.collimator
    if collimator is None:
        return width_mm * height_mm * 1e-2
    if isinstance(collimator, RectangleCollimator):
        part_mm = min(width_mm, collimator.width_mm), min(height_mm, collimator.height_mm)
        return part_mm[0] * part_mm[1] * 1e-2
    return _disc_in_rectangle_mm2(collimator.diameter_mm / 2, width_mm, height_mm) * 1e-2


def _disc_in_rectangle_mm2(radius_mm: float, width_mm: float, height_mm: float) -> float:
    """Area that a disc and a rectangle about the same middle have in common."""
    half_width, half_height = width_mm / 2, height_mm / 2
    if math.hypot(half_width, half_height) <= radius_mm:
        return width_mm * height_mm
    total = math.pi * radius_mm**2
    for half in (half_width, half_height):
        if half < radius_mm:
            angle = math.acos(half / radius_mm)
            total -= 2 * (radius_mm**2 * angle - half * math.sqrt(radius_mm**2 - half**2))
    return total
