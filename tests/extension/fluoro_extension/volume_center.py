"""Where the middle of the volume lies in the image, as a keypoint of COCO."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fluoro.annotations.base import AnnotationSection, AnnotationSetup

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fluoro.geometry.projection import View

CATEGORY = 70_000
"""Above the numbers of structures, which have at most 16 bits, and of landmarks."""


class VolumeCenterConfig(AnnotationSection):
    """The middle of the volume, as a keypoint."""

    def make(self, setup: AnnotationSetup) -> VolumeCenter:
        """Return what projects the point."""
        return VolumeCenter(setup.volume.grid.center_xyz_mm)


class VolumeCenter:
    """Projects a point, patient LPS [mm], shape (3,)."""

    def __init__(self, point_xyz_mm: NDArray[Any]) -> None:
        self._point = point_xyz_mm

    def begin(self, view: View) -> FrameCenter:
        """Return the point of a view."""
        ((u, v),) = view.project(self._point[None]).tolist()
        return FrameCenter(u, v)

    def categories(self) -> list[dict[str, Any]]:
        """Return the category of the point."""
        return [{"id": CATEGORY, "name": "volume center", "keypoints": ["center"]}]


@dataclass(frozen=True)
class FrameCenter:
    """Column and row of the point [pixels]."""

    u: float
    v: float

    def tensors(self) -> Mapping[str, Any]:
        """Return the point on the host, float64."""
        return {"volume_center_px": np.array([self.u, self.v])}

    def coco(self) -> Mapping[int, Mapping[str, Any]]:
        """Return the point as a keypoint that is visible."""
        return {CATEGORY: {"keypoints": [self.u, self.v, 2], "num_keypoints": 1}}
