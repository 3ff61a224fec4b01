"""Named points of the patient, projected into the image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import Field

from fluoro.annotations.base import AnnotationSection, AnnotationSetup
from fluoro.config.section import FilePath
from fluoro.names import AxesName

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fluoro.geometry.projection import View
    from fluoro.volume.grid import VolumeGrid

__all__ = ["LANDMARKS_CATEGORY", "FrameLandmarks", "LandmarkAnnotator", "LandmarkConfig"]

LANDMARKS_CATEGORY = 65536
"""Number of the category that has the landmarks, above those of all structures."""

VISIBLE, ABSENT = 2, 0
"""COCO's words for a keypoint in the image, and for one that is not."""


class LandmarkConfig(AnnotationSection):
    """Named points, where they are in the image, and whether they are in it.

    Points in a fragment, or at most a voxel beside it, move with it.
    """

    path: FilePath | None = Field(
        None,
        description="3D Slicer's .mrk.json or .fcsv, or CSV with the columns name, x, y and z "
        "[mm], relative to the YAML file; null: a phantom's own.",
    )
    coordinates: AxesName | None = Field(
        None, description="What the numbers are; null: what the file says, of CSV LPS."
    )

    def make(self, setup: AnnotationSetup) -> LandmarkAnnotator:
        """Return what projects the points.

        Raises:
            InputError: A file that cannot be used, or points outside of the volume.
        """
        from fluoro.annotations.landmark_files import read_landmarks

        if self.path is None:
            from fluoro.volume.phantom.patient import phantom_landmarks

            points = phantom_landmarks(setup.config.volume)
            return LandmarkAnnotator(_within(points, setup.volume.grid), setup)
        points = read_landmarks(self.path, self.coordinates)
        _require_within(self.path, points, setup.volume.grid)
        return LandmarkAnnotator(points, setup)


def _within(
    points: Mapping[str, tuple[float, float, float]], grid: VolumeGrid
) -> dict[str, tuple[float, float, float]]:
    """Those that lie within the volume."""
    return {name: point for name, point in points.items() if _is_within(point, grid)}


def _is_within(point: tuple[float, float, float], grid: VolumeGrid) -> bool:
    index = (grid.index_from_world @ [*point, 1.0])[:3]
    return all(-0.5 <= i <= n - 0.5 for i, n in zip(index.tolist(), grid.shape_xyz, strict=True))


def _require_within(
    path: object, points: Mapping[str, tuple[float, float, float]], grid: VolumeGrid
) -> None:
    from fluoro.errors import InputError

    outside = [name for name, point in points.items() if not _is_within(point, grid)]
    if not outside:
        return
    x, y, z = points[outside[0]]
    line = (
        f"{path}: {outside[0]!r} lies at ({x:.1f}, {y:.1f}, {z:.1f}) mm (LPS), outside the volume"
    )
    turned = all(_is_within((-x, -y, z), grid) for x, y, z in points.values())
    advice = "; in RAS all would lie inside: see annotations.landmarks.coordinates"
    raise InputError(line + (advice if turned else ""))


class LandmarkAnnotator:
    """Projects points.

    Args:
        points_xyz_mm: By name, where the CT has them, patient LPS [mm].
        setup: Whose fragments take points along; None: all stay.
    """

    def __init__(
        self,
        points_xyz_mm: Mapping[str, tuple[float, float, float]],
        setup: AnnotationSetup | None = None,
    ) -> None:
        import numpy as np

        from fluoro.annotations.moving_labels import MovingPoints

        self._names = tuple(points_xyz_mm)
        self._points = np.array([*points_xyz_mm.values()], float).reshape(-1, 3)
        self._moving = MovingPoints(self._points, setup.volume.grid, setup.posed) if setup else None

    def begin(self, view: View) -> FrameLandmarks:
        """Return the points of a view."""
        return self.begin_at(view, 0.0)

    def begin_at(self, view: View, time_s: float) -> FrameLandmarks:
        """Return the points of a view at a moment of the run [s]."""
        import numpy as np

        pixels = view.project(self._moving.at(time_s) if self._moving else self._points)
        size = (view.width_px, view.height_px)
        with np.errstate(invalid="ignore"):
            inside = np.asarray(((pixels >= 0) & (pixels < size)).all(axis=1))
        return FrameLandmarks(names=self._names, pixels_uv=pixels, inside=inside)

    def categories(self) -> list[dict[str, Any]]:
        """Return one category, whose keypoints are the landmarks."""
        return [{"id": LANDMARKS_CATEGORY, "name": "landmarks", "keypoints": list(self._names)}]


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameLandmarks:
    """Landmarks of one frame.

    Attributes:
        names: N of them.
        pixels_uv: Column and row of each in pixels from the image's corner, shape (N, 2); NaN
            where a point is not before the source.
        inside: Whether each is in the image, shape (N,).
    """

    names: tuple[str, ...]
    pixels_uv: NDArray[np.float64]
    inside: NDArray[np.bool_]

    def tensors(self) -> Mapping[str, Any]:
        """Return column and row [px], shape (N, 2), float32; NaN: not in the image."""
        import numpy as np

        pixels = np.where(self.inside[:, None], self.pixels_uv, np.nan)
        return {"landmarks_px": pixels.astype(np.float32)}

    def coco(self) -> Mapping[int, Mapping[str, Any]]:
        """Return u, v and visibility of each point in turn; 0, 0, 0 outside of the image."""
        flat: list[float] = []
        for (u, v), inside in zip(self.pixels_uv.tolist(), self.inside.tolist(), strict=True):
            flat += [u, v, VISIBLE] if inside else [0.0, 0.0, ABSENT]
        count = int(self.inside.sum())
        return {LANDMARKS_CATEGORY: {"keypoints": flat, "num_keypoints": count}}
