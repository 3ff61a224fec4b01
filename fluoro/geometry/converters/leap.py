"""LEAP: its geometry file, with a modular beam, which has a place and axes for every view.

Columns lie at pixelWidth (i - centerCol) along the column vector, rows at pixelHeight
(j - centerRow) along the row vector, from the module's centre. The world is patient LPS [mm] about
a point, in which the volume's numX, numY and numZ run along x, y and z.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fluoro.errors import InputError
from fluoro.geometry.converters.patient_frames import view_parts
from fluoro.geometry.projection import View

__all__ = ["leap_text", "read_leap_file"]

VECTORS = ("sourcePositions", "moduleCenters", "rowVectors", "colVectors")


def leap_text(
    views: Sequence[View],
    center_xyz_mm: ArrayLike,
    *,
    voxels_xyz: tuple[int, int, int] | None = None,
    voxel_mm: float | None = None,
) -> str:
    """Return the file of some views.

    Args:
        views: One or more, with one detector.
        center_xyz_mm: Point of patient LPS that is LEAP's origin: the volume's centre [mm].
        voxels_xyz: Voxels of the volume; None: the file has none.
        voxel_mm: Their edge [mm].

    Raises:
        InputError: No views, detectors that differ, or one whose axes are not at right angles.
    """
    if not views:
        raise InputError("a LEAP file must have at least one view, got none")
    first, center = view_parts(views[0], program="LEAP"), np.asarray(center_xyz_mm, float)
    rows = []
    for view in views:
        parts = view_parts(view, program="LEAP")
        if parts.size_px != first.size_px or not np.allclose(
            parts.spacing_mm, first.spacing_mm, rtol=1e-6
        ):
            raise InputError("views must have one detector, got several")
        u, v = view.column_step_xyz_mm, view.row_step_xyz_mm
        middle = view.corner_xyz_mm + u * view.width_px / 2 + v * view.height_px / 2
        rows.append((view.source_xyz_mm - center, middle - center, parts.v, parts.u))
    (width, height), (du, dv) = first.size_px, first.spacing_mm
    lines = [
        *_volume(voxels_xyz, voxel_mm),
        "geometry = modular",
        f"numAngles = {len(views)}",
        f"numRows = {height}",
        f"numCols = {width}",
        f"pixelHeight = {dv:.12g}",
        f"pixelWidth = {du:.12g}",
        f"centerRow = {(height - 1) / 2:.12g}",
        f"centerCol = {(width - 1) / 2:.12g}",
    ]
    for name, column in zip(VECTORS, zip(*rows, strict=True), strict=True):
        text = ", ".join(f"{value:.12g}" for value in np.concatenate(column))
        lines.append(f"{name} = {text}")
    return "\n".join([*lines, ""])


def _volume(voxels_xyz: tuple[int, int, int] | None, voxel_mm: float | None) -> list[str]:
    if voxels_xyz is None:
        return []
    counts = [f"num{axis} = {n}" for axis, n in zip("XYZ", voxels_xyz, strict=True)]
    edges = [f"voxel{name} = {voxel_mm:.12g}" for name in ("Width", "Height")]
    return counts + edges + [f"offset{axis} = 0" for axis in "XYZ"]


def read_leap_file(path: Path, center_xyz_mm: ArrayLike) -> list[View]:
    """Return the views of a file with a modular beam.

    Args:
        path: The file.
        center_xyz_mm: Point of patient LPS that is LEAP's origin [mm].

    Raises:
        InputError: No such file, another geometry, or a key that is missing or does not fit.
    """
    keys = _keys(path)
    if keys.get("geometry") != "modular":
        raise InputError(f"{path}: geometry must be modular, got {keys.get('geometry')!r}")
    count, height, width = (
        int(_number(path, keys, name)) for name in ("numAngles", "numRows", "numCols")
    )
    du, dv = (_number(path, keys, name) for name in ("pixelWidth", "pixelHeight"))
    column0, row0 = (_number(path, keys, name) for name in ("centerCol", "centerRow"))
    center = np.asarray(center_xyz_mm, float)
    source, middle, rows, columns = (_vectors(path, keys, name, count) for name in VECTORS)
    return [
        View(
            source_xyz_mm=source[k] + center,
            corner_xyz_mm=middle[k]
            + center
            - columns[k] * du * (column0 + 0.5)
            - rows[k] * dv * (row0 + 0.5),
            column_step_xyz_mm=columns[k] * du,
            row_step_xyz_mm=rows[k] * dv,
            width_px=width,
            height_px=height,
        )
        for k in range(count)
    ]


def _keys(path: Path) -> dict[str, str]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    pairs = (line.partition("#")[0].partition("=") for line in text.splitlines())
    return {key.strip(): value.strip() for key, equals, value in pairs if equals}


def _number(path: Path, keys: dict[str, str], name: str) -> float:
    try:
        return float(keys[name])
    except KeyError:
        raise InputError(f"{path}: {name} is missing") from None
    except ValueError:
        raise InputError(f"{path}: {name} must be a number, got {keys[name][:40]!r}") from None


def _vectors(path: Path, keys: dict[str, str], name: str, count: int) -> NDArray[np.float64]:
    try:
        return np.array([float(word) for word in keys.get(name, "").split(",")]).reshape(count, 3)
    except ValueError:
        raise InputError(f"{path}: {name} must be 3 numbers for each of {count} angles") from None
