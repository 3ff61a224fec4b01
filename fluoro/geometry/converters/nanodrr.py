"""nanodrr 0.1: `make_rt_inv` and `make_k_inv`.

World RAS. A camera's columns run along its +x, rows along +y, the beam along +z; pixel centres at
+ 0.5. `pose = R(ZXY angles)`, the camera stands at `isocenter + R translation`, and a fixed matrix
for the orientation turns the camera's axes into those of the pose: for "AP" a rotation (images
as seen from the source), for "PA" a reflection (as seen from the detector).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from fluoro.errors import InputError
from fluoro.geometry.converters.patient_frames import (
    Matrix,
    ViewParts,
    angles_deg,
    centered_ras,
    inverse,
    moved_view,
    turn,
    view_from_parts,
    view_parts,
)
from fluoro.geometry.projection import View
from fluoro.names import ViewName

__all__ = ["NanodrrPose"]

Vector3 = tuple[float, float, float]
ORIENTATIONS = {
    "AP": [[-1, 0, 0], [0, 0, -1], [0, -1, 0]],
    "PA": [[-1, 0, 0], [0, 0, 1], [0, -1, 0]],
    None: [[-1, 0, 0], [0, -1, 0], [0, 0, 1]],
}
"""Camera axes (columns) in the pose's frame at zero angles: beam to the back, front, head."""


@dataclass(frozen=True, kw_only=True)
class NanodrrPose:
    """A projection in nanodrr's words.

    Attributes:
        rotation_deg: ZXY Euler angles [degrees], as `make_rt_inv` takes them.
        translation_mm: Camera's place before the turn, relative to the isocentre [mm, RAS].
        orientation: "AP", "PA" or None.
        sdd_mm: Source to detector [mm].
        height_px: Rows.
        width_px: Columns.
        delx_mm: Distance of columns [mm].
        dely_mm: Distance of rows [mm].
        x0_mm: Principal point off the detector's middle along the columns [mm].
        y0_mm: The same along the rows [mm].
        isocenter_xyz_mm: nanodrr's isocentre in patient LPS [mm], not RAS: for its default, the
            volume's centre, `VolumeGrid.center_xyz_mm`.

    Raises:
        InputError: An unknown orientation.
    """

    rotation_deg: Vector3
    translation_mm: Vector3
    orientation: ViewName | None = "AP"
    sdd_mm: float
    height_px: int
    width_px: int
    delx_mm: float
    dely_mm: float
    x0_mm: float = 0.0
    y0_mm: float = 0.0
    isocenter_xyz_mm: Vector3 = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        require_orientation(self.orientation)

    def view(self) -> View:
        """What it projects, world LPS [mm]."""
        pose = turn("ZXY", self.rotation_deg)
        u, v, beam = (pose @ np.asarray(ORIENTATIONS[self.orientation], float)).T
        parts = ViewParts(
            source=pose @ np.asarray(self.translation_mm, float),
            u=u,
            v=v,
            normal=beam,
            spacing_mm=(self.delx_mm, self.dely_mm),
            source_to_detector_mm=self.sdd_mm,
            foot_uv=(
                self.width_px / 2 + self.x0_mm / self.delx_mm,
                self.height_px / 2 + self.y0_mm / self.dely_mm,
            ),
            size_px=(self.width_px, self.height_px),
        )
        return moved_view(view_from_parts(parts), centered_ras(self.isocenter_xyz_mm))

    @classmethod
    def from_view(
        cls,
        view: View,
        *,
        orientation: ViewName | None = "PA",
        isocenter_xyz_mm: ArrayLike = (0.0, 0.0, 0.0),
    ) -> NanodrrPose:
        """A view in nanodrr's words; a C-arm's view is a "PA".

        Raises:
            InputError: The image is from the side that the orientation cannot show, or the
                detector has no right angles.
        """
        require_orientation(orientation)
        parts = view_parts(
            view, program=f"nanodrr's {orientation}", seen_from_detector=orientation == "PA"
        )
        ras = ras_parts(parts, isocenter_xyz_mm)
        pose = np.column_stack([ras.u, ras.v, ras.normal]) @ np.transpose(ORIENTATIONS[orientation])
        (delx, dely), (width, height) = ras.spacing_mm, ras.size_px
        return cls(
            rotation_deg=angles_deg("ZXY", pose),
            translation_mm=vector(pose.T @ ras.source),
            orientation=orientation,
            sdd_mm=ras.source_to_detector_mm,
            height_px=height,
            width_px=width,
            delx_mm=delx,
            dely_mm=dely,
            x0_mm=(ras.foot_uv[0] - width / 2) * delx,
            y0_mm=(ras.foot_uv[1] - height / 2) * dely,
            isocenter_xyz_mm=vector(isocenter_xyz_mm),
        )


def require_orientation(orientation: str | None) -> None:
    """Refuse what is no orientation.

    Raises:
        InputError: Anything but "AP", "PA" and None.
    """
    if orientation not in ORIENTATIONS:
        raise InputError(f"orientation must be 'AP', 'PA' or None, got {orientation!r}")


def ras_parts(parts: ViewParts, isocenter_xyz_mm: ArrayLike) -> ViewParts:
    """The same view in RAS about a point given in LPS [mm]."""
    view = moved_view(view_from_parts(parts), inverse(centered_ras(isocenter_xyz_mm)))
    return view_parts(view, program="RAS")


def vector(values: ArrayLike | Matrix) -> Vector3:
    """Three numbers as a tuple."""
    x, y, z = np.asarray(values, float).tolist()
    return x, y, z
