"""Boxes around what the image shows of structures: those of their voxels' corners, projected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fluoro.annotations.base import AnnotationSection, AnnotationSetup

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fluoro.annotations.cut_boxes import Box
    from fluoro.annotations.moving_labels import MovingLabels
    from fluoro.geometry.projection import View
    from fluoro.volume.labels.label_volume import LabelVolume
    from fluoro.volume.labels.structures import Structure

__all__ = ["BoxAnnotator", "BoxConfig", "FrameBoxes", "hull_points_xyz_mm"]


class BoxConfig(AnnotationSection):
    """A box around each structure, whatever lies before it, to a fraction of a pixel."""

    def make(self, setup: AnnotationSetup) -> BoxAnnotator:
        """Return what projects boxes."""
        from fluoro.annotations.moving_labels import split_labels

        assert setup.labels is not None
        return BoxAnnotator(*split_labels(setup.labels, setup.posed))


class BoxAnnotator:
    """Projects the convex hull of each structure, or its surface if the image's border cuts it.

    Args:
        labels: The structures.
        moving: Labels of the same structures that move with fragments.
    """

    def __init__(self, labels: LabelVolume, moving: Sequence[MovingLabels] = ()) -> None:
        from fluoro.annotations.cut_boxes import surface_blocks

        self._structures, self._moving = labels.structures, moving
        parts = [labels, *(each.labels for each in moving)]
        self._hulls = [hull_points_xyz_mm(each) for each in parts]
        self._from_index = [each.grid.world_from_index for each in parts]
        self._surfaces = [surface_blocks(each) for each in parts]

    def begin(self, view: View) -> FrameBoxes:
        """Return the boxes of a view."""
        return self.begin_at(view, 0.0)

    def begin_at(self, view: View, time_s: float) -> FrameBoxes:
        """Return the boxes of a view at a moment of the run [s]."""
        import numpy as np

        motions = [np.eye(4), *(each.motion(time_s) for each in self._moving)]
        whole = [_bounds(view, hulls, motions) for hulls in zip(*self._hulls, strict=True)]
        cut = np.array([_is_cut(each, view) for each in whole])
        boxes = self._cut_boxes(view, motions, cut) if cut.any() else [None] * len(whole)
        found = [
            each if each is not None and _is_inside(each, view) else box
            for box, each in zip(boxes, whole, strict=True)
        ]
        return FrameBoxes(structures=self._structures, boxes_px=tuple(found))

    def _cut_boxes(
        self, view: View, motions: Sequence[NDArray[np.float64]], cut: NDArray[np.bool_]
    ) -> list[Box | None]:
        """Return the boxes of structures that the image's border cuts; None for the others."""
        from fluoro.annotations.cut_boxes import boxes_in_image

        projection = view.projection_matrix("integer")
        both = zip(motions, self._from_index, strict=True)
        matrices = [projection @ motion @ from_index for motion, from_index in both]
        parts = list(zip(self._surfaces, matrices, strict=True))
        return boxes_in_image(parts, cut, view.width_px, view.height_px)

    def categories(self) -> list[dict[str, Any]]:
        """Return a category for each structure."""
        from fluoro.annotations.coco import structure_categories

        return structure_categories(self._structures)


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameBoxes:
    """Boxes of one frame.

    Attributes:
        structures: K of them.
        boxes_px: Left, top, right and bottom of what the image shows of each, in pixels from the
            image's corner; None: nothing.
    """

    structures: tuple[Structure, ...]
    boxes_px: tuple[Box | None, ...]

    def tensors(self) -> Mapping[str, Any]:
        """Return left, top, right and bottom [px], shape (K, 4), float32; NaN: not in the image."""
        import numpy as np

        rows = [box or (np.nan,) * 4 for box in self.boxes_px]
        return {"boxes_px": np.array(rows, np.float32).reshape(-1, 4)}

    def coco(self) -> Mapping[int, Mapping[str, Any]]:
        """Return left, top, width and height of the structures in the image."""
        found = {}
        for each, box in zip(self.structures, self.boxes_px, strict=True):
            if box is not None:
                left, top, right, bottom = box
                found[each.number] = {"bbox": [left, top, right - left, bottom - top]}
        return found


def hull_points_xyz_mm(labels: LabelVolume) -> list[NDArray[np.float64] | None]:
    """Return corners of the convex hull of each structure's voxels, patient LPS [mm], shape (N, 3).

    None for a structure without voxels. Seen from outside, a box around these points is the box
    around all voxels, from face to face.
    """
    import numpy as np

    found: list[NDArray[np.float64] | None] = []
    for label, box in enumerate(labels.boxes(), start=1):
        if box is None:
            found.append(None)
            continue
        corners = _corners(labels.label_zyx[box] == label)
        z, y, x = box
        index = corners + np.array([x.start, y.start, z.start])
        found.append(index @ labels.grid.world_from_index[:3, :3].T + labels.grid.origin_xyz_mm)
    return found


def _corners(inside: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Corners of the convex hull of voxels, index (x, y, z) from the first voxel's centre."""
    import numpy as np
    from scipy.spatial import ConvexHull

    z, y = np.nonzero(inside.any(axis=2))  # of each row of voxels the ends are enough
    first = inside[z, y].argmax(axis=1) - 0.5
    last = inside.shape[2] - inside[z, y][:, ::-1].argmax(axis=1) - 0.5
    ends = np.concatenate([np.stack([first, y, z], 1), np.stack([last, y, z], 1)])
    around = [[0.0, dy, dz] for dy in (-0.5, 0.5) for dz in (-0.5, 0.5)]
    corners = np.unique((ends[:, None] + around).reshape(-1, 3), axis=0)
    return np.asarray(corners[ConvexHull(corners).vertices], np.float64)


def _bounds(
    view: View,
    hulls_xyz_mm: Sequence[NDArray[np.float64] | None],
    motions: Sequence[NDArray[np.float64]],
) -> Box | None:
    """The box of all parts of a structure, also outside of the image; NaN: behind the source."""
    import numpy as np

    points = [
        hull @ motion[:3, :3].T + motion[:3, 3]
        for hull, motion in zip(hulls_xyz_mm, motions, strict=True)
        if hull is not None
    ]
    if not points:
        return None
    pixels = view.project(np.concatenate(points))
    (left, top), (right, bottom) = pixels.min(axis=0).tolist(), pixels.max(axis=0).tolist()
    return left, top, right, bottom


def _is_inside(box: Box, view: View) -> bool:
    left, top, right, bottom = box
    return left >= 0 and top >= 0 and right <= view.width_px and bottom <= view.height_px


def _is_outside(box: Box, view: View) -> bool:
    left, top, right, bottom = box
    return right <= 0 or bottom <= 0 or left >= view.width_px or top >= view.height_px


def _is_cut(box: Box | None, view: View) -> bool:
    return box is not None and not _is_inside(box, view) and not _is_outside(box, view)
