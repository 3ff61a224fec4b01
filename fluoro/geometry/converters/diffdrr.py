"""DiffDRR 0.6: `DRR(subject, sdd, height, delx, ...)(rotations, translations, "euler_angles")`.

World RAS with the volume's centre at the origin (`read(center_volume=True)`). The detector's rows
run along the camera's -y, its columns along -x (`reverse_x_axis=True`, the default) or +x, the
beam along +z; pixel centres at + 0.5. `pose = R(ZXY angles)`, the camera stands at
`R translation`, and `orientation` turns the camera's axes into those of the pose: "AP" by a
rotation, "PA" by a reflection.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from fluoro.geometry.converters.nanodrr import ras_parts, require_orientation, vector
from fluoro.geometry.converters.patient_frames import (
    Matrix,
    ViewParts,
    angles_deg,
    centered_ras,
    moved_view,
    turn,
    view_from_parts,
    view_parts,
)
from fluoro.geometry.projection import View
from fluoro.names import ViewName

__all__ = ["DiffdrrPose", "camera_axes"]

Vector3 = tuple[float, float, float]
REORIENT = {
    "AP": [[1, 0, 0], [0, 0, -1], [0, 1, 0]],
    "PA": [[1, 0, 0], [0, 0, 1], [0, 1, 0]],
    None: [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
}
"""Camera axes (columns) in the pose's frame at zero angles, by `orientation` of `read`."""


@dataclass(frozen=True, kw_only=True)
class DiffdrrPose:
    """A projection in DiffDRR's words, with angles in degrees (DiffDRR: `degrees=True`).

    Attributes:
        rotation_deg: Euler angles in the order "ZXY" [degrees].
        translation_mm: Camera's place before the turn [mm, RAS].
        orientation: That of `read`: "AP", "PA" or None.
        sdd_mm: Source to detector [mm].
        height_px: Rows.
        width_px: Columns.
        delx_mm: Distance of columns [mm].
        dely_mm: Distance of rows [mm].
        x0_mm: DiffDRR's x0 [mm].
        y0_mm: DiffDRR's y0 [mm].
        reverse_x_axis: DiffDRR's argument of that name.
        center_xyz_mm: Where DiffDRR's origin lies, patient LPS [mm]: the volume's centre,
            `VolumeGrid.center_xyz_mm`; (0, 0, 0) with `center_volume=False`.

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
    reverse_x_axis: bool = True
    center_xyz_mm: Vector3 = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        require_orientation(self.orientation)

    def view(self) -> View:
        """What it projects, world LPS [mm]."""
        pose = turn("ZXY", self.rotation_deg)
        u, v, beam = (pose @ camera_axes(self.orientation, self.reverse_x_axis)).T
        parts = ViewParts(
            source=pose @ np.asarray(self.translation_mm, float),
            u=u,
            v=v,
            normal=beam,
            spacing_mm=(self.delx_mm, self.dely_mm),
            source_to_detector_mm=self.sdd_mm,
            foot_uv=(
                self.width_px / 2 + _sign(self.reverse_x_axis) * self.x0_mm / self.delx_mm,
                self.height_px / 2 + self.y0_mm / self.dely_mm,
            ),
            size_px=(self.width_px, self.height_px),
        )
        return moved_view(view_from_parts(parts), centered_ras(self.center_xyz_mm))

    @classmethod
    def from_view(
        cls,
        view: View,
        *,
        orientation: ViewName | None = "PA",
        reverse_x_axis: bool = True,
        center_xyz_mm: ArrayLike = (0.0, 0.0, 0.0),
    ) -> DiffdrrPose:
        """A view in DiffDRR's words; a C-arm's view is a "PA".

        Raises:
            InputError: The image is from the side that the orientation cannot show, or the
                detector has no right angles.
        """
        require_orientation(orientation)
        axes = camera_axes(orientation, reverse_x_axis)
        # a pose is a rotation: it keeps the side from which the axes show the image
        parts = view_parts(
            view,
            program=f"DiffDRR's {orientation}",
            seen_from_detector=bool(np.linalg.det(axes) < 0),
        )
        ras = ras_parts(parts, center_xyz_mm)
        pose = np.column_stack([ras.u, ras.v, ras.normal]) @ axes.T
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
            x0_mm=_sign(reverse_x_axis) * (ras.foot_uv[0] - width / 2) * delx,
            y0_mm=(ras.foot_uv[1] - height / 2) * dely,
            reverse_x_axis=reverse_x_axis,
            center_xyz_mm=vector(center_xyz_mm),
        )


def _sign(reverse_x_axis: bool) -> int:
    return 1 if reverse_x_axis else -1


def camera_axes(orientation: str | None, reverse_x_axis: bool) -> Matrix:
    """Columns, rows and beam, as columns, in the pose's frame at zero angles."""
    return np.asarray(REORIENT[orientation], float) * [-_sign(reverse_x_axis), -1, 1]
