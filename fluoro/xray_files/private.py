"""What XA has no attribute for, in a private block of fluoro's own files.

XA says the primary and secondary angle and how the table moved. The detector's turn about the
beam, the C-arm's place and the isocentre in the CT are here, so that a recording gives its poses
back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fluoro.geometry.carm import CarmPose

__all__ = ["PrivateGeometry"]

GROUP, CREATOR = 0x0019, "FLUORO GEOMETRY 1"
POSES, ISOCENTER = 0x01, 0x02
"""Elements of the block: 6 FD a frame (lao, cra, roll [degrees], translation [mm]); 3 FD [mm]."""
Vector3 = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class PrivateGeometry:
    """The poses of all frames as fluoro has them.

    Attributes:
        poses: One a frame.
        isocenter_xyz_mm: Isocentre of the untranslated C-arm, patient LPS of the CT [mm]; None:
            not known.
    """

    poses: tuple[CarmPose, ...]
    isocenter_xyz_mm: Vector3 | None

    def pose(self, index: int) -> CarmPose:
        """The pose of a frame, counted from 0."""
        return self.poses[index]

    def write(self, dataset: Any) -> None:
        """Add the block to a dataset."""
        block = dataset.private_block(GROUP, CREATOR, create=True)
        block.add_new(POSES, "FD", [value for pose in self.poses for value in _values(pose)])
        if self.isocenter_xyz_mm:
            block.add_new(ISOCENTER, "FD", list(self.isocenter_xyz_mm))

    @classmethod
    def of(cls, dataset: Any, frames: int) -> PrivateGeometry | None:
        """The block of a dataset; None where there is none that is whole."""
        try:
            block = dataset.private_block(GROUP, CREATOR)
            values = [float(value) for value in block[POSES].value]
            known = [float(v) for v in block[ISOCENTER].value] if ISOCENTER in block else []
            poses = tuple(_pose(values[at : at + 6]) for at in range(0, len(values), 6))
        except Exception:  # noqa: BLE001  (pydicom raises all kinds; the standard tags count then)
            return None
        if len(poses) != frames or len(known) not in (0, 3):
            return None
        isocenter = (known[0], known[1], known[2]) if known else None
        return cls(poses=poses, isocenter_xyz_mm=isocenter)


def _values(pose: CarmPose) -> Sequence[float]:
    return (pose.lao_deg, pose.cra_deg, pose.roll_deg, *pose.translation_mm)


def _pose(values: Sequence[float]) -> CarmPose:
    lao, cra, roll, x, y, z = values
    return CarmPose(lao_deg=lao, cra_deg=cra, roll_deg=roll, translation_mm=(x, y, z))
