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

__all__ = ["NanodrrPose"]

ORIENTATIONS = {
    "AP": [[-1, 0, 0], [0, 0, -1], [0, -1, 0]],
    "PA": [[-1, 0, 0], [0, 0, 1], [0, -1, 0]],
    None: [[-1, 0, 0], [0, -1, 0], [0, 0, 1]],
}
"""Camera axes (columns) in the pose's frame at zero angles: beam to the back, front, head."""


@dataclass(frozen=True, kw_only=True)
class NanodrrPose(OrientedPose):
    """A projection in nanodrr's words: the fields of `OrientedPose`, and an isocentre.

    Attributes:
        isocenter_xyz_mm: nanodrr's isocentre in patient LPS [mm], not RAS: for its default, the
            volume's centre, `VolumeGrid.center_xyz_mm`.

    Raises:
        InputError: An unknown orientation.
    """

    isocenter_xyz_mm: Vector3 = (0.0, 0.0, 0.0)

    def view(self) -> View:
        """Return what it projects, world LPS [mm]."""
        return self._view(_axes(self.orientation), 1, self.isocenter_xyz_mm)

    @classmethod
    def from_view(
        cls,
        view: View,
        *,
        orientation: ViewName | None = "PA",
        isocenter_xyz_mm: ArrayLike = (0.0, 0.0, 0.0),
    ) -> NanodrrPose:
        """Return a view in nanodrr's words; a C-arm's view is a "PA".

        Raises:
            InputError: The image is from the side that the orientation cannot show, or the
                detector has no right angles.
        """
        require_orientation(orientation)
        axes = _axes(orientation)
        values = oriented_values(view, "nanodrr", orientation, axes, 1, isocenter_xyz_mm)
        return cls(**values, isocenter_xyz_mm=vector(isocenter_xyz_mm))


def _axes(orientation: ViewName | None) -> Matrix:
    return np.asarray(ORIENTATIONS[orientation], float)
