"""Why is my image black: by how much a beam misses the volume, and what would make it hit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fluoro.geometry.projection import View, camera_matrices
from fluoro.volume.grid import VolumeGrid

__all__ = ["Miss", "beam_meets", "explain_miss"]

Array = NDArray[np.float64]
Mend = Callable[[View, VolumeGrid], View]
"""A view as it would be without one error."""
WEIGHT = 1e5
"""Of the condition that barycentric weights sum to 1, beside distances in units of the scene."""
LONGEST_CARM_MM = 10_000.0
SHORTEST_CARM_MM = 10.0
"""Source to detector beyond these is no C-arm in millimetres, but one in another unit."""


@dataclass(frozen=True, kw_only=True)
class Miss:
    """A beam that does not meet the volume.

    Attributes:
        distance_mm: Shortest way between the beam (source to detector) and the volume's box [mm].
        where: On which side of the beam the volume's middle lies.
        would_hit: Errors in the view; without one of them the volume's middle is in the beam.
        source_xyz_mm: The source, rounded [mm].
        center_xyz_mm: The volume's middle, rounded [mm].
    """

    distance_mm: float
    where: str
    would_hit: tuple[str, ...]
    source_xyz_mm: tuple[float, ...]
    center_xyz_mm: tuple[float, ...]

    def __str__(self) -> str:
        if self.would_hit:
            advice = f"It would hit if {'; or if '.join(self.would_hit)}."
        else:
            advice = "None of the usual errors of convention explains it: check the isocentre."
        return (
            f"No ray meets the volume, so the image is empty: the beam misses it by "
            f"{self.distance_mm:.0f} mm. The source is at {self.source_xyz_mm}, the volume's "
            f"middle at {self.center_xyz_mm} (patient LPS, mm), {self.where}. {advice}"
        )


def explain_miss(view: View, grid: VolumeGrid) -> Miss | None:
    """Return why a view of a volume is empty; None where its beam meets the volume's box."""
    if _hits_middle(view, grid) or beam_meets(view, grid):  # the first is quick, and usual
        return None
    return Miss(
        distance_mm=_distance(_beam(view), _box(grid)),
        where=_where(view, grid.center_xyz_mm),
        would_hit=tuple(
            what for what, mend in MISTAKES.items() if _hits_middle(mend(view, grid), grid)
        ),
        source_xyz_mm=tuple(view.source_xyz_mm.round(1).tolist()),
        center_xyz_mm=tuple(grid.center_xyz_mm.round(1).tolist()),
    )


def beam_meets(view: View, grid: VolumeGrid) -> bool:
    """Return whether the pyramid from the source to the detector meets the volume's box.

    Two convex bodies are apart just if a face of one, or a plane along an edge of each, lies
    between them (separating axes).
    """
    beam, box = _beam(view), _box(grid)
    box_edges = box[[1, 2, 4]] - box[0]
    beam_edges = np.concatenate([beam[1:] - beam[0], beam[[2, 4]] - beam[1]])
    axes = np.concatenate(
        [
            _normals(box_edges, box_edges),
            _normals(beam_edges, beam_edges),
            _normals(box_edges, beam_edges),
        ]
    )
    along_beam, along_box = axes @ beam.T, axes @ box.T
    apart = (along_beam.max(axis=1) < along_box.min(axis=1)) | (
        along_box.max(axis=1) < along_beam.min(axis=1)
    )
    return not apart.any()


def _normals(edges: Array, others: Array) -> Array:
    return np.asarray(np.cross(edges[:, None], others[None]).reshape(-1, 3))


def _beam(view: View) -> Array:
    """Source and the detector's corners in their order around it, shape (5, 3)."""
    right, down = view.column_step_xyz_mm * view.width_px, view.row_step_xyz_mm * view.height_px
    corners = view.corner_xyz_mm + np.stack([0 * right, right, right + down, down])
    return np.asarray(np.concatenate([view.source_xyz_mm[None], corners]))


def _box(grid: VolumeGrid) -> Array:
    """Corners of the volume, voxel face to voxel face, shape (8, 3); x changes fastest."""
    shape = np.asarray(grid.shape_xyz, float)
    ends = np.stack([np.full(3, -0.5), shape - 0.5])
    corners = [
        [ends[i, 0], ends[j, 1], ends[k, 2], 1.0] for k in (0, 1) for j in (0, 1) for i in (0, 1)
    ]
    return np.asarray((np.array(corners) @ grid.world_from_index.T)[:, :3])


def _distance(a: Array, b: Array) -> float:
    """Between two convex hulls: least squares over their points' barycentric weights."""
    from scipy.optimize import nnls

    middle = (a.mean(axis=0) + b.mean(axis=0)) / 2
    scale = max(np.abs(a - middle).max(), np.abs(b - middle).max())
    columns = np.concatenate([a - middle, middle - b]).T / scale
    in_a = np.arange(len(a) + len(b)) < len(a)
    system = np.concatenate([columns, WEIGHT * in_a[None], WEIGHT * ~in_a[None]])
    weights, _ = nnls(system, np.array([0.0, 0.0, 0.0, WEIGHT, WEIGHT]))
    return float(np.linalg.norm(columns @ weights) * scale)


def _where(view: View, middle: Array) -> str:
    """Where a point lies, as the image shows it."""
    columns = (
        view.column_step_xyz_mm,
        view.row_step_xyz_mm,
        view.corner_xyz_mm - view.source_xyz_mm,
    )
    u, v, w = np.linalg.solve(np.column_stack(columns), middle - view.source_xyz_mm)
    if w <= 0:
        return "behind the source"
    if w > 1:
        return "behind the detector"
    sides = {
        "left of": -u / w,
        "right of": u / w - view.width_px,
        "above": -v / w,
        "below": v / w - view.height_px,
    }
    side = max(sides, key=lambda name: sides[name])
    return f"{side} the image"


def _hits_middle(view: View, grid: VolumeGrid) -> bool:
    """Whether the volume's middle is in the beam; plain numbers, because each frame needs it."""
    source = view.source_xyz_mm
    column, row = view.column_step_xyz_mm.tolist(), view.row_step_xyz_mm.tolist()
    corner = (view.corner_xyz_mm - source).tolist()
    middle = (grid.center_xyz_mm - source).tolist()
    # middle = depth (corner + u column + v row), by Cramer's rule
    whole = _determinant(column, row, corner)
    depth = _determinant(column, row, middle)
    u = _determinant(middle, row, corner)
    v = _determinant(column, middle, corner)
    if whole == 0 or not 0 < depth / whole <= 1:
        return False
    return 0 <= u / depth <= view.width_px and 0 <= v / depth <= view.height_px


def _determinant(a: list[float], b: list[float], c: list[float]) -> float:
    return (
        a[0] * (b[1] * c[2] - b[2] * c[1])
        + a[1] * (b[2] * c[0] - b[0] * c[2])
        + a[2] * (b[0] * c[1] - b[1] * c[0])
    )


def _mapped(linear: Array) -> Mend:
    """A view whose points are taken elsewhere."""
    return lambda view, _grid: _moved(view, linear, np.zeros(3))


def _about_middle(linear: Array) -> Mend:
    """The same for coordinates that were counted from the volume's middle."""
    return lambda view, grid: _moved(view, linear, grid.center_xyz_mm)


def _from_metres(view: View, _grid: VolumeGrid) -> View:
    """A view far too small to be in mm, enlarged; any other as it is."""
    small = np.linalg.norm(view.corner_xyz_mm - view.source_xyz_mm) < SHORTEST_CARM_MM
    return _moved(view, np.eye(3) * (1000.0 if small else 1.0), np.zeros(3))


def _from_micrometres(view: View, _grid: VolumeGrid) -> View:
    """A view far too large to be in mm, reduced; any other as it is."""
    large = np.linalg.norm(view.corner_xyz_mm - view.source_xyz_mm) > LONGEST_CARM_MM
    return _moved(view, np.eye(3) * (1e-3 if large else 1.0), np.zeros(3))


def _moved(view: View, linear: Array, shift: Array) -> View:
    return View(
        source_xyz_mm=linear @ view.source_xyz_mm + shift,
        corner_xyz_mm=linear @ view.corner_xyz_mm + shift,
        column_step_xyz_mm=linear @ view.column_step_xyz_mm,
        row_step_xyz_mm=linear @ view.row_step_xyz_mm,
        width_px=view.width_px,
        height_px=view.height_px,
    )


def _other_side(view: View, _grid: VolumeGrid) -> View:
    """The detector on the other side of the source: P with the other sign."""
    return View(
        source_xyz_mm=view.source_xyz_mm,
        corner_xyz_mm=2 * view.source_xyz_mm - view.corner_xyz_mm,
        column_step_xyz_mm=-view.column_step_xyz_mm,
        row_step_xyz_mm=-view.row_step_xyz_mm,
        width_px=view.width_px,
        height_px=view.height_px,
    )


def _inverse(view: View, _grid: VolumeGrid) -> View:
    """The camera whose pose is the inverse of this one's."""
    camera_from_world = _camera_from_world(view)
    twice = camera_from_world @ camera_from_world
    return _moved(view, twice[:3, :3], twice[:3, 3])


def _camera_from_world(view: View) -> Array:
    square = View(
        source_xyz_mm=view.source_xyz_mm,
        corner_xyz_mm=view.corner_xyz_mm,
        column_step_xyz_mm=view.column_step_xyz_mm,
        row_step_xyz_mm=_at_right_angles(view.row_step_xyz_mm, view.column_step_xyz_mm),
        width_px=view.width_px,
        height_px=view.height_px,
    )
    return camera_matrices(square)[1]


def _at_right_angles(vector: Array, axis: Array) -> Array:
    return np.asarray(vector - axis * (vector @ axis) / (axis @ axis))


RAS = np.diag([-1.0, -1.0, 1.0])
ZYX = np.eye(3)[::-1]
MISTAKES: Mapping[str, Mend] = {
    "its coordinates were RAS and must be made LPS (negate x and y)": _mapped(RAS),
    "its coordinates count from the volume's middle and must have that added": _about_middle(
        np.eye(3)
    ),
    "its coordinates are RAS and count from the volume's middle": _about_middle(RAS),
    "its coordinates were metres and must be made millimetres": _from_metres,
    "its coordinates were micrometres and must be made millimetres": _from_micrometres,
    "its coordinates were in the order z, y, x and must be x, y, z": _mapped(ZYX),
    "its camera matrix was world from camera and must be inverted": _inverse,
    "its detector was on the other side of the source (negate the projection matrix, or let the "
    "principal axis point the other way)": _other_side,
}
"""What was wrong with the view, and the view put right."""
