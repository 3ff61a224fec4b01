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

from fluoro.geometry.converters.oriented_pose import (
    OrientedPose,
    Vector3,
    oriented_values,
    require_orientation,
    vector,
)
from fluoro.geometry.converters.patient_frames import Matrix
from fluoro.geometry.projection import View
from fluoro.names import ViewName

__all__ = ["DiffdrrPose", "camera_axes"]

REORIENT = {
    "AP": [[1, 0, 0], [0, 0, -1], [0, 1, 0]],
    "PA": [[1, 0, 0], [0, 0, 1], [0, 1, 0]],
    None: [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
}
"""Camera axes (columns) in the pose's frame at zero angles, by `orientation` of `read`."""


@dataclass(frozen=True, kw_only=True)
class DiffdrrPose(OrientedPose):
    """A projection in DiffDRR's words: the fields of `OrientedPose`, its x axis and its centre.

    Angles are in degrees (DiffDRR: `degrees=True`); x0 and y0 are DiffDRR's.

    Attributes:
        reverse_x_axis: DiffDRR's argument of that name.
        center_xyz_mm: Where DiffDRR's origin lies, patient LPS [mm]: the volume's centre,
            `VolumeGrid.center_xyz_mm`; (0, 0, 0) with `center_volume=False`.

    Raises:
        InputError: An unknown orientation.
    """

    reverse_x_axis: bool = True
    center_xyz_mm: Vector3 = (0.0, 0.0, 0.0)

    def view(self) -> View:
        """Return what it projects, world LPS [mm]."""
        axes = camera_axes(self.orientation, self.reverse_x_axis)
        return self._view(axes, _sign(self.reverse_x_axis), self.center_xyz_mm)

    @classmethod
    def from_view(
        cls,
        view: View,
        *,
        orientation: ViewName | None = "PA",
        reverse_x_axis: bool = True,
        center_xyz_mm: ArrayLike = (0.0, 0.0, 0.0),
    ) -> DiffdrrPose:
        """Return a view in DiffDRR's words; a C-arm's view is a "PA".

        Raises:
            InputError: The image is from the side that the orientation cannot show, or the
                detector has no right angles.
        """
        require_orientation(orientation)
        axes, sign = camera_axes(orientation, reverse_x_axis), _sign(reverse_x_axis)
        values = oriented_values(view, "DiffDRR", orientation, axes, sign, center_xyz_mm)
        return cls(**values, reverse_x_axis=reverse_x_axis, center_xyz_mm=vector(center_xyz_mm))


def _sign(reverse_x_axis: bool) -> int:
    return 1 if reverse_x_axis else -1


def camera_axes(orientation: str | None, reverse_x_axis: bool) -> Matrix:
    """Return columns, rows and beam, as columns, in the pose's frame at zero angles."""
    return np.asarray(REORIENT[orientation], float) * [-_sign(reverse_x_axis), -1, 1]
