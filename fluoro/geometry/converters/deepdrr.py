"""DeepDRR 1.2: `MobileCArm` at alpha, beta, gamma.

The arm's frame is Ry(beta) Rx(alpha) at the isocentre of the device's frame; the source is at
(0, horizontal offset, -source to isocentre) in it, the beam along its +z. The camera is the arm's
frame turned by 90 degrees about z (`rotate_camera_left`), then by gamma; columns along its +x, rows
along +y, pixel centres at + 0.5. Images are as seen from the source. A patient placed by
`supine()` lies with feet to +x, left to +y, front to +z of the world.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from fluoro.errors import InputError
from fluoro.geometry.converters.oriented_pose import vector
from fluoro.geometry.converters.patient_frames import (
    LPS_FROM_SUPINE_TABLE,
    Frame,
    Matrix,
    ViewParts,
    angles_deg,
    inverse,
    moved_view,
    turn,
    view_from_parts,
    view_parts,
)
from fluoro.geometry.projection import View

__all__ = ["DeepdrrPose"]

Vector3 = tuple[float, float, float]
LEFT_DEG = 90.0


@dataclass(frozen=True, kw_only=True)
class DeepdrrPose:
    """A projection in DeepDRR's words.

    Attributes:
        alpha_deg: Turn about the device's x [degrees].
        beta_deg: Turn about its y [degrees].
        gamma_deg: Turn of the camera about the beam [degrees].
        isocenter_mm: In the device's frame [mm].
        source_to_detector_mm: Source to detector [mm].
        source_to_isocenter_mm: `source_to_isocenter_vertical_distance` [mm].
        horizontal_offset_mm: `source_to_isocenter_horizontal_offset` [mm].
        sensor_width_px: Columns.
        sensor_height_px: Rows.
        pixel_size_mm: Pitch [mm].
        rotate_camera_left: DeepDRR's argument of that name.
        lps_from_device: From the device's frame to patient LPS: the inverse of
            `device_from_world @ world_from_anatomical`, the latter for LPS. The default is a
            patient placed by `supine()` and a device at the world's origin.
    """

    alpha_deg: float
    beta_deg: float
    gamma_deg: float = 0.0
    isocenter_mm: Vector3 = (0.0, 0.0, 0.0)
    source_to_detector_mm: float = 1020.0
    source_to_isocenter_mm: float = 530.0
    horizontal_offset_mm: float = 0.0
    sensor_width_px: int = 1536
    sensor_height_px: int = 1536
    pixel_size_mm: float = 0.194
    rotate_camera_left: bool = True
    lps_from_device: Frame = LPS_FROM_SUPINE_TABLE

    def view(self) -> View:
        """Return what it projects, world LPS [mm]."""
        arm = _arm(self.alpha_deg, self.beta_deg)
        left = LEFT_DEG if self.rotate_camera_left else 0.0
        u, v, beam = (arm @ turn("z", self.gamma_deg + left).T).T
        source = [0.0, self.horizontal_offset_mm, -self.source_to_isocenter_mm]
        parts = ViewParts(
            source=arm @ source + self.isocenter_mm,
            u=u,
            v=v,
            normal=beam,
            spacing_mm=(self.pixel_size_mm, self.pixel_size_mm),
            source_to_detector_mm=self.source_to_detector_mm,
            foot_uv=(self.sensor_width_px / 2, self.sensor_height_px / 2),
            size_px=(self.sensor_width_px, self.sensor_height_px),
        )
        return moved_view(view_from_parts(parts), self.lps_from_device)

    @classmethod
    def from_view(
        cls,
        view: View,
        *,
        source_to_isocenter_mm: float = 530.0,
        rotate_camera_left: bool = True,
        lps_from_device: ArrayLike = LPS_FROM_SUPINE_TABLE,
    ) -> DeepdrrPose:
        """Return a view in DeepDRR's words, the isocentre on the central ray.

        Raises:
            InputError: The image is seen from the detector (as a C-arm's are), or the detector
                has no right angles, no square pixels or is off the central ray.
        """
        frame = np.asarray(lps_from_device, float)
        parts = view_parts(
            moved_view(view, inverse(frame)), program="DeepDRR", seen_from_detector=False
        )
        _require_plain(parts)
        left = LEFT_DEG if rotate_camera_left else 0.0
        camera_from_device = np.stack([parts.u, parts.v, parts.normal])
        about_beam, alpha, beta = angles_deg("ZXY", camera_from_device)
        return cls(
            alpha_deg=-alpha,
            beta_deg=-beta,
            gamma_deg=about_beam - left,
            isocenter_mm=vector(parts.source + source_to_isocenter_mm * parts.normal),
            source_to_detector_mm=parts.source_to_detector_mm,
            source_to_isocenter_mm=source_to_isocenter_mm,
            sensor_width_px=parts.size_px[0],
            sensor_height_px=parts.size_px[1],
            pixel_size_mm=parts.spacing_mm[0],
            rotate_camera_left=rotate_camera_left,
            lps_from_device=tuple(tuple(line) for line in frame.tolist()),
        )


def _arm(alpha_deg: float, beta_deg: float) -> Matrix:
    return turn("YX", (beta_deg, alpha_deg))


def _require_plain(parts: ViewParts) -> None:
    if abs(parts.spacing_mm[0] - parts.spacing_mm[1]) > 1e-6 * parts.spacing_mm[0]:
        raise InputError(f"DeepDRR needs square pixels, got {parts.spacing_mm} mm")
    off = np.subtract(parts.foot_uv, np.divide(parts.size_px, 2))
    if np.abs(off).max() > 1e-3:
        raise InputError(
            f"DeepDRR needs the central ray in the detector's middle, got {off.round(3).tolist()} "
            "pixels off"
        )
