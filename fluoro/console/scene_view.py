"""What the console's 3D view draws: the patient once, the C-arm with each view."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fluoro.console.page_messages import packed
from fluoro.geometry.carm_drawing import carm_scene
from fluoro.geometry.patient_position import (
    room_from_patient,
    turned_surface,
    turned_view,
)
from fluoro.geometry.triangles import Surface
from fluoro.imaging.frame import FluoroFrame
from fluoro.names import PatientPosition

__all__ = ["SceneModel", "body_message", "carm_message"]

Array = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class SceneModel:
    """The patient and the point the C-arm turns about.

    Attributes:
        isocenter_xyz_mm: Isocentre of the untranslated C-arm, patient LPS [mm].
        skin: Outside of the body, patient LPS [mm]; None: not drawn.
        bone: Skeleton, patient LPS [mm]; None: not drawn.
        patient_position: How the patient lies on the table.
    """

    isocenter_xyz_mm: tuple[float, float, float]
    skin: Surface | None = None
    bone: Surface | None = None
    patient_position: PatientPosition = "HFS"

    @property
    def room_from_patient(self) -> NDArray[np.float64]:
        """3x3 rotation from patient LPS to the room's axes, in which everything is drawn."""
        return room_from_patient(self.patient_position)

    @property
    def table_top_y_mm(self) -> float | None:
        """Room y (down) of the patient's lowest point [mm], where there is a skin."""
        if self.skin is None or not len(self.skin.vertices_xyz_mm):
            return None
        return float((self.skin.vertices_xyz_mm @ self.room_from_patient[1]).max())


def body_message(model: SceneModel) -> bytes:
    """Skin and bone as one message: room positions about the isocentre [mm], normals, triangles."""
    surfaces = {"skin": model.skin, "bone": model.bone}
    drawn = {
        name: turned_surface(surface, model.room_from_patient)
        for name, surface in surfaces.items()
        if surface is not None
    }
    arrays: list[NDArray[Any]] = []
    isocenter = model.room_from_patient @ np.asarray(model.isocenter_xyz_mm)
    for surface in drawn.values():
        positions = surface.vertices_xyz_mm - isocenter
        arrays += [positions.astype("<f4"), _normals(surface), surface.faces.astype("<u4")]
    return _message("body", drawn, arrays)


def carm_message(model: SceneModel, frame: FluoroFrame) -> bytes:
    """Return the C-arm and the table at a frame's view, room positions about the isocentre [mm].

    The C-arm's isocentre stays at the origin; `patient_offset_mm` is where patient and table are,
    since it is the table that moves in the room.
    """
    turn = model.room_from_patient
    offset = turn @ -np.asarray(frame.pose.translation_mm)
    isocenter = turn @ np.asarray(model.isocenter_xyz_mm)
    origin = isocenter - offset
    view = turned_view(frame.geometry.view(frame.pose, model.isocenter_xyz_mm), turn)
    scene = carm_scene(view, isocenter.tolist(), table_top_y_mm=model.table_top_y_mm)
    parts = {"arc": scene.arc, "tube": scene.tube, "detector": scene.detector, "table": scene.table}
    arrays: list[NDArray[Any]] = [
        _positions(scene.source_xyz_mm, origin),
        _positions(scene.detector_corners_xyz_mm, origin),
    ]
    for part in parts.values():
        arrays += [_positions(part.vertices_xyz_mm, origin), part.faces.astype("<u4")]
    return _message("carm", parts, arrays, patient_offset_mm=offset.tolist())


def _message(
    kind: str, parts: dict[str, Surface], arrays: Iterable[NDArray[Any]], **more: object
) -> bytes:
    counts = {name: [len(part.vertices_xyz_mm), len(part.faces)] for name, part in parts.items()}
    header = {"kind": kind, "parts": counts, **more}
    return packed(header, b"".join(array.tobytes() for array in arrays))


def _positions(points_xyz_mm: ArrayLike, origin_xyz_mm: NDArray[np.float64]) -> Array:
    return np.asarray(np.asarray(points_xyz_mm) - origin_xyz_mm, "<f4")


def _normals(surface: Surface) -> Array:
    """Unit normals at the vertices: the sum of the faces' area vectors, shape (vertices, 3)."""
    corners = surface.vertices_xyz_mm[surface.faces].astype(float)
    areas = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    sums = np.zeros((len(surface.vertices_xyz_mm), 3))
    for corner in range(3):
        np.add.at(sums, surface.faces[:, corner], areas)
    return np.asarray(sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12), "<f4")
