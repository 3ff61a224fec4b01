"""plastimatch: `drr -nrm ... -vup ... -g "sad sid"`, world LPS, isocentre in mm.

The camera stands at isocenter + sad nrm. The panel's left is nrm x vup, its up left x nrm; columns
run to its right, rows down. Pixel centres at integers. Images are as seen from the source.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fluoro.errors import InputError
from fluoro.geometry.converters.oriented_pose import vector
from fluoro.geometry.converters.patient_frames import Matrix, ViewParts, view_from_parts, view_parts
from fluoro.geometry.projection import View

__all__ = ["PlastimatchPose"]

Vector2 = tuple[float, float]
Vector3 = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class PlastimatchPose:
    """A projection in plastimatch's words.

    Attributes:
        nrm: Panel's normal, from the isocentre to the source (LPS, of any length).
        vup: What shows upwards (LPS); (0, 0, 1) by default, as there.
        sad_mm: Source to isocentre [mm].
        sid_mm: Source to panel [mm].
        isocenter_xyz_mm: Patient LPS [mm].
        image_center_px: Column and row at which the central ray lands, pixel centres at integers.
        spacing_mm: Distance of columns and of rows [mm]: panel size by resolution.
        size_px: Columns and rows.

    Raises:
        InputError: nrm along vup, or without length.
    """

    nrm: Vector3
    vup: Vector3 = (0.0, 0.0, 1.0)
    sad_mm: float
    sid_mm: float
    isocenter_xyz_mm: Vector3 = (0.0, 0.0, 0.0)
    image_center_px: Vector2
    spacing_mm: Vector2
    size_px: tuple[int, int]

    def __post_init__(self) -> None:
        if not np.linalg.norm(np.cross(self.nrm, self.vup)) > 1e-9:
            raise InputError(f"nrm must not run along vup {self.vup}, got {self.nrm}")

    def view(self) -> View:
        """Return what it projects, world LPS [mm]."""
        normal = _unit(np.asarray(self.nrm, float))
        left = _unit(np.cross(normal, self.vup))
        column, row = self.image_center_px
        return view_from_parts(
            ViewParts(
                source=np.asarray(self.isocenter_xyz_mm, float) + self.sad_mm * normal,
                u=-left,
                v=-np.cross(left, normal),
                normal=-normal,
                spacing_mm=self.spacing_mm,
                source_to_detector_mm=self.sid_mm,
                foot_uv=(column + 0.5, row + 0.5),
                size_px=self.size_px,
            )
        )

    @classmethod
    def from_view(cls, view: View, *, sad_mm: float) -> PlastimatchPose:
        """Return a view in plastimatch's words, the isocentre `sad_mm` before the source.

        Raises:
            InputError: The image is seen from the detector (as a C-arm's are), or the detector
                has no right angles.
        """
        parts = view_parts(view, program="plastimatch", seen_from_detector=False)
        return cls(
            nrm=vector(-parts.normal),
            vup=vector(-parts.v),
            sad_mm=sad_mm,
            sid_mm=parts.source_to_detector_mm,
            isocenter_xyz_mm=vector(parts.source + sad_mm * parts.normal),
            image_center_px=(parts.foot_uv[0] - 0.5, parts.foot_uv[1] - 0.5),
            spacing_mm=parts.spacing_mm,
            size_px=parts.size_px,
        )


def _unit(values: Matrix) -> Matrix:
    return np.asarray(values / np.linalg.norm(values))
