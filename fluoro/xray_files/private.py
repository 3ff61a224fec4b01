"""What XA has no attribute for, in a private block of fluoro's own files.

XA says the primary and secondary angle and how the table moved. The detector's turn about the
beam and its offset, the C-arm's place and the isocentre in the CT are here, so that a recording
gives its poses back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fluoro.geometry.carm import CarmPose

__all__ = ["PrivateGeometry"]

GROUP, CREATOR = 0x0019, "FLUORO GEOMETRY 1"
POSES, ISOCENTER, OFFSET = 0x01, 0x02, 0x03
"""Elements of the block: 6 numbers a frame (lao, cra, roll [degrees], translation [mm]) in an OD,
which may be long; 3 and 2 FD [mm]."""
Vector3 = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class PrivateGeometry:
    """The poses of all frames as fluoro has them.

    Attributes:
        poses: One a frame.
        isocenter_xyz_mm: Isocentre of the untranslated C-arm, patient LPS of the CT [mm]; None:
            not known.
        detector_offset_mm: Detector's middle off the central ray [mm]; None: in other attributes.
    """

    poses: tuple[CarmPose, ...]
    isocenter_xyz_mm: Vector3 | None = None
    detector_offset_mm: tuple[float, float] | None = None

    def pose(self, index: int) -> CarmPose:
        """Return the pose of a frame, counted from 0."""
        return self.poses[index]

    def write(self, dataset: Any) -> None:
        """Add the block to a dataset."""
        block = dataset.private_block(GROUP, CREATOR, create=True)
        values = np.array([_values(pose) for pose in self.poses], "<f8")
        block.add_new(POSES, "OD", values.tobytes())
        if self.isocenter_xyz_mm:
            block.add_new(ISOCENTER, "FD", list(self.isocenter_xyz_mm))
        if self.detector_offset_mm:
            block.add_new(OFFSET, "FD", list(self.detector_offset_mm))

    @classmethod
    def of(cls, dataset: Any, frames: int) -> PrivateGeometry | None:
        """Return the block of a dataset; None where there is none that is whole."""
        try:
            block = dataset.private_block(GROUP, CREATOR)
            values = np.frombuffer(block[POSES].value, "<f8").reshape(frames, 6)
            poses = tuple(_pose(row) for row in values.tolist())
            known, offset = (_numbers(block, element) for element in (ISOCENTER, OFFSET))
        except Exception:  # noqa: BLE001  (pydicom raises all kinds; the standard tags count then)
            return None
        return cls(
            poses=poses,
            isocenter_xyz_mm=(known[0], known[1], known[2]) if len(known) == 3 else None,
            detector_offset_mm=(offset[0], offset[1]) if len(offset) == 2 else None,
        )


def _numbers(block: Any, element: int) -> list[float]:
    return [float(value) for value in block[element].value] if element in block else []


def _values(pose: CarmPose) -> Sequence[float]:
    return (pose.lao_deg, pose.cra_deg, pose.roll_deg, *pose.translation_mm)


def _pose(values: Sequence[float]) -> CarmPose:
    lao, cra, roll, x, y, z = values
    return CarmPose(lao_deg=lao, cra_deg=cra, roll_deg=roll, translation_mm=(x, y, z))
