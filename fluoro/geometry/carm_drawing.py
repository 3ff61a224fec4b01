"""The C-arm as it is drawn: tube, detector, arc, beam and table of one view, in world LPS [mm].

The movie and the console draw the same parts. All of them but the table are rigid in the C-arm's
own frame, so a renderer may build them once and move them with `CarmPose.world_from_carm`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fluoro.geometry.projection import View
from fluoro.geometry.triangles import Surface, box, merged, swept_bar

__all__ = ["CarmScene", "carm_scene"]

Array = NDArray[np.float64]

TABLE_BEHIND_ISOCENTER_MM = 130.0
"""Table top below the isocentre where nothing is known of the patient: half a chest."""
TABLE_SIZE_MM = (460.0, 30.0, 1000.0)
"""Width, thickness and drawn length of the table."""
TABLE_HEAD_MM = 330.0
"""How far the table reaches from the isocentre towards the head; the arc stands beyond it."""
TUBE_HALF_MM = (120.0, 85.0, 110.0)
"""Half the tube housing along the columns, the patient and the beam."""
TUBE_BEHIND_SOURCE_MM = 80.0
"""Housing's middle behind the focal spot."""
DETECTOR_MARGIN_MM = 30.0
"""Frame of the detector housing around its active area."""
DETECTOR_HALF_DEPTH_MM = 35.0
"""Half the depth of the detector's housing."""
ARC_HALF_MM = (45.0, 32.0)
"""Half the arc's section: across its plane, and along its radius."""
MOUNT_HALF_MM = (55.0, 55.0, 50.0)
"""Half the block between detector and arc; so deep that the arc clears a 43 cm detector's edge."""
ARC_POINTS = 49
"""Points of the arc's polyline: one each 3.75 degrees."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CarmScene:
    """Plain data of one drawn C-arm in world LPS [mm].

    Attributes:
        source_xyz_mm: Focal spot, shape (3,).
        isocenter_xyz_mm: The patient's point that the C-arm turns about untranslated, shape (3,).
        detector_corners_xyz_mm: Active area, shape (4, 3): the image's top left, top right,
            bottom right, bottom left.
        beam_edges_xyz_mm: Source and corner of each of the beam's four edges, shape (4, 2, 3).
        arc_xyz_mm: Middle line of the arc from the tube round the head to the detector, (N, 3).
        arc: The arc as a solid, with the block that carries the detector.
        tube: Tube housing, a box around the source.
        detector: Detector housing, a box behind the active area.
        table: Table top, a flat box under the patient; stays where the patient is.
    """

    source_xyz_mm: Array
    isocenter_xyz_mm: Array
    detector_corners_xyz_mm: Array
    beam_edges_xyz_mm: Array
    arc_xyz_mm: Array
    arc: Surface
    tube: Surface
    detector: Surface
    table: Surface


def carm_scene(
    view: View, isocenter_xyz_mm: Sequence[float], *, table_top_y_mm: float | None = None
) -> CarmScene:
    """Return the parts to draw for one view.

    Args:
        view: Source and detector at the pose.
        isocenter_xyz_mm: Isocentre of the untranslated C-arm in world LPS [mm].
        table_top_y_mm: LPS y of the table top [mm], such as the surface's most posterior point;
            None: 130 mm behind the isocentre.
    """
    isocenter = np.asarray(isocenter_xyz_mm, float)
    corners = _detector_corners(view)
    beam, across, along = _gantry_axes(view, corners.mean(axis=0))
    path, heights = _arc(view.source_xyz_mm, corners.mean(axis=0), beam, along)
    axes = (across, along, beam)
    top_y = isocenter[1] + TABLE_BEHIND_ISOCENTER_MM if table_top_y_mm is None else table_top_y_mm
    return CarmScene(
        source_xyz_mm=view.source_xyz_mm,
        isocenter_xyz_mm=isocenter,
        detector_corners_xyz_mm=corners,
        beam_edges_xyz_mm=np.stack([np.broadcast_to(view.source_xyz_mm, (4, 3)), corners], axis=1),
        arc_xyz_mm=path,
        arc=merged(
            [
                swept_bar(path, across * ARC_HALF_MM[0], heights * ARC_HALF_MM[1]),
                _oriented_box(path[-1] - beam * MOUNT_HALF_MM[2], axes, MOUNT_HALF_MM),
            ]
        ),
        tube=_oriented_box(view.source_xyz_mm - beam * TUBE_BEHIND_SOURCE_MM, axes, TUBE_HALF_MM),
        detector=_detector(view, corners.mean(axis=0), beam),
        table=_table(isocenter, top_y),
    )


def _detector_corners(view: View) -> Array:
    right = view.column_step_xyz_mm * view.width_px
    down = view.row_step_xyz_mm * view.height_px
    return view.corner_xyz_mm + np.stack([0 * right, right, right + down, down])


def _gantry_axes(view: View, detector_center: Array) -> tuple[Array, Array, Array]:
    """Unit vectors along the beam, across the arc's plane, and in it towards the head.

    They do not turn with the detector's roll, as the arc does not. The beam along the patient's
    axis leaves the arc's plane open; then the detector's columns stand across it.
    """
    beam = _unit(detector_center - view.source_xyz_mm)
    level = np.array([-beam[1], beam[0], 0.0])
    across = _unit(level if np.linalg.norm(level) > 1e-6 else view.column_step_xyz_mm)
    return beam, across, np.cross(beam, across)


def _arc(source: Array, detector_center: Array, beam: Array, along: Array) -> tuple[Array, Array]:
    """Half a circle from behind the tube to behind the detector, and its unit radii."""
    start = source - beam * (TUBE_BEHIND_SOURCE_MM + TUBE_HALF_MM[2])
    end = detector_center + beam * 2 * (DETECTOR_HALF_DEPTH_MM + MOUNT_HALF_MM[2])
    turn = np.linspace(-np.pi / 2, np.pi / 2, ARC_POINTS)[:, None]
    radii = np.cos(turn) * along + np.sin(turn) * beam
    return (start + end) / 2 + radii * np.linalg.norm(end - start) / 2, radii


def _oriented_box(center: Array, axes: Sequence[Array], half_sizes_mm: Sequence[float]) -> Surface:
    return box(center, [axis * half for axis, half in zip(axes, half_sizes_mm, strict=True)])


def _detector(view: View, center: Array, beam: Array) -> Surface:
    right = view.column_step_xyz_mm * view.width_px / 2
    down = view.row_step_xyz_mm * view.height_px / 2
    right, down = (axis + _unit(axis) * DETECTOR_MARGIN_MM for axis in (right, down))
    depth = beam * DETECTOR_HALF_DEPTH_MM
    return box(center + depth, (down, right, depth))


def _table(isocenter: Array, top_y_mm: float) -> Surface:
    width, thickness, length = TABLE_SIZE_MM
    center = (isocenter[0], top_y_mm + thickness / 2, isocenter[2] + TABLE_HEAD_MM - length / 2)
    return box(center, list(np.diag([width, thickness, length]) / 2))


def _unit(vector: Array) -> Array:
    return np.asarray(vector / np.linalg.norm(vector))
