"""RTK's geometry file: `RTKThreeDCircularGeometry`, version 3, out and in.

The file says where source and detector stood. Which pixel lies where on the detector is in the
projection image's own header: origin, spacing and size have to be given when it is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import ArrayLike

from fluoro.errors import InputError
from fluoro.geometry.converters.patient_frames import IDENTITY, Matrix, turn
from fluoro.geometry.converters.rtk import RtkPose

__all__ = ["read_rtk_file", "rtk_matrix", "rtk_text"]

VERSIONS = ("2", "3")
ROOT = "RTKThreeDCircularGeometry"
FIELDS = {
    "SourceToIsocenterDistance": "sid_mm",
    "SourceToDetectorDistance": "sdd_mm",
    "GantryAngle": "gantry_deg",
    "OutOfPlaneAngle": "out_of_plane_deg",
    "InPlaneAngle": "in_plane_deg",
    "SourceOffsetX": "source_offset_xy_mm.0",
    "SourceOffsetY": "source_offset_xy_mm.1",
    "ProjectionOffsetX": "offset_xy_mm.0",
    "ProjectionOffsetY": "offset_xy_mm.1",
}
"""Tags and the fields of an `RtkPose` that they hold; 0 where a tag is missing."""
ANGLES = ("GantryAngle", "OutOfPlaneAngle", "InPlaneAngle")
MATRIX_TOLERANCE = 1e-3
"""Largest difference of a file's matrix from that of its parameters, as RTK has it."""


def rtk_matrix(pose: RtkPose) -> Matrix:
    """RTK's 3x4 projection matrix: a point of its world [mm] to (u w, v w, w), u and v in mm."""
    sx, sy = pose.source_offset_xy_mm
    px, py = pose.offset_xy_mm
    shift_2d = np.array([[1, 0, sx - px], [0, 1, sy - py], [0, 0, 1.0]])
    project = np.array([[-pose.sdd_mm, 0, 0, 0], [0, -pose.sdd_mm, 0, 0], [0, 0, 1, -pose.sid_mm]])
    shift_3d = np.eye(4)
    shift_3d[:2, 3] = -sx, -sy
    rotated = np.eye(4)
    angles = (-pose.in_plane_deg, -pose.out_of_plane_deg, -pose.gantry_deg)
    rotated[:3, :3] = turn("ZXY", angles)
    return np.asarray(shift_2d @ project @ shift_3d @ rotated)


def rtk_text(poses: Sequence[RtkPose]) -> str:
    """Return the file of some projections, each with all its values and its matrix.

    Raises:
        InputError: No projections.
    """
    if not poses:
        raise InputError("a geometry file must hold at least one projection, got none")
    lines = ['<?xml version="1.0"?>', "<!DOCTYPE RTKGEOMETRY>", f'<{ROOT} version="3">']
    for pose in poses:
        lines.append("  <Projection>")
        lines += [f"    <{tag}>{_value(pose, tag):.12g}</{tag}>" for tag in FIELDS]
        lines.append("    <Matrix>")
        lines += ["      " + " ".join(f"{value:.15g}" for value in row) for row in rtk_matrix(pose)]
        lines += ["    </Matrix>", "  </Projection>"]
    return "\n".join([*lines, f"</{ROOT}>", ""])


def _value(pose: RtkPose, tag: str) -> float:
    name, _, index = FIELDS[tag].partition(".")
    value = getattr(pose, name)
    number = float(value[int(index)] if index else value)
    return number % 360 if tag in ANGLES else number


def read_rtk_file(
    path: Path,
    *,
    origin_xy_mm: tuple[float, float],
    spacing_xy_mm: tuple[float, float],
    size_px: tuple[int, int],
    lps_from_rtk: ArrayLike = IDENTITY,
) -> list[RtkPose]:
    """Return the projections of a geometry file.

    Args:
        path: The file.
        origin_xy_mm: Of the projection image: centre of its first pixel [mm].
        spacing_xy_mm: Of the projection image [mm].
        size_px: Its columns and rows.
        lps_from_rtk: From RTK's world to patient LPS, 4x4 [mm].

    Raises:
        InputError: No such file, another format, parallel rays, a curved detector, or a matrix
            that its parameters do not give.
    """
    root = _root(path)
    shared = dict(_numbers(path, root))
    frame = tuple(tuple(row) for row in np.asarray(lps_from_rtk, float).tolist())
    poses = []
    for number, element in enumerate(root.findall("Projection"), 1):
        values = shared | dict(_numbers(path, element))
        if values.get("SourceToDetectorDistance", 0) == 0:
            raise InputError(f"{path}: projection {number} has parallel rays, which are not read")
        if values.get("RadiusCylindricalDetector", 0) != 0:
            raise InputError(f"{path}: projection {number} has a curved detector: not read")
        pose = RtkPose(
            **_fields(values),
            origin_xy_mm=origin_xy_mm,
            spacing_xy_mm=spacing_xy_mm,
            size_px=size_px,
            lps_from_rtk=frame,
        )
        _require_matrix(path, number, element, pose)
        poses.append(pose)
    if not poses:
        raise InputError(f"{path}: holds no projection")
    return poses


def _root(path: Path) -> ElementTree.Element:
    try:
        root = ElementTree.parse(path).getroot()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    except ElementTree.ParseError as error:
        raise InputError(f"{path}: is no XML file: {error}") from None
    if root.tag != ROOT or root.get("version") not in VERSIONS:
        raise InputError(
            f"{path}: must be {ROOT} of version 2 or 3, got {root.tag[:40]} {root.get('version')}"
        )
    return root


def _numbers(path: Path, element: ElementTree.Element) -> Iterator[tuple[str, float]]:
    for child in element:
        tag = "GantryAngle" if child.tag == "Angle" else child.tag
        if tag in FIELDS or tag == "RadiusCylindricalDetector":
            try:
                yield tag, float(child.text or "")
            except ValueError:
                raise InputError(f"{path}: {tag} must be a number, got {child.text!r}") from None


def _fields(values: dict[str, float]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for tag, field in FIELDS.items():
        name, _, index = field.partition(".")
        value = values.get(tag, 0.0)
        if index == "":
            found[name] = value
        elif index == "0":
            found[name] = (value, values.get(tag[:-1] + "Y", 0.0))
    return found


def _require_matrix(path: Path, number: int, element: ElementTree.Element, pose: RtkPose) -> None:
    text = element.findtext("Matrix")
    if text is None:
        return
    try:
        given = np.array([float(word) for word in text.split()]).reshape(3, 4)
    except ValueError:
        raise InputError(f"{path}: projection {number}: Matrix must be 12 numbers") from None
    off = float(np.abs(given - rtk_matrix(pose)).max())
    if not off <= MATRIX_TOLERANCE:
        raise InputError(
            f"{path}: projection {number}: Matrix differs by {off:.3g} from what its angles and "
            "distances give"
        )
