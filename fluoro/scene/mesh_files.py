"""Triangle meshes from files: STL, OBJ and PLY, read by trimesh and checked here."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import InputError, to_install
from fluoro.geometry.closed_surface import (
    edge_flaw,
    intersecting_triangles,
    merged_corners,
    outward,
    volume_mm3,
)
from fluoro.geometry.triangle_tree import MOST_TRIANGLES
from fluoro.geometry.triangles import Surface
from fluoro.names import AxesName

__all__ = ["MESH_SUFFIXES", "MOST_CHECKED", "load_mesh"]

log = logging.getLogger(__name__)

MESH_SUFFIXES = (".stl", ".obj", ".ply")
"""Formats that are read."""

MOST_CHECKED = 500_000
"""Triangles up to which a mesh is searched for intersections, which takes some seconds then."""

READ_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    TypeError,
    ValueError,
)
"""What trimesh's readers raise over damaged files."""

LEAST_VOLUME = 1e-9
"""Smallest volume, as a share of the cube of the largest coordinate."""


def load_mesh(path: Path | str, *, unit_mm: float = 1.0, axes: AxesName = "LPS") -> Surface:
    """Return the closed surface in a file.

    Corners at one place are one. Parts that are inside out are turned, which is logged, as are
    surfaces that intersect.

    Args:
        path: STL, OBJ or PLY.
        unit_mm: Length of the file's unit [mm].
        axes: Of the file; RAS is turned to LPS.

    Raises:
        InputError: A file that is missing or cannot be read, a mesh that is open, has no volume or
            too many triangles; the line names the file.
    """
    path = Path(path)
    vertices, faces = _read(path)
    scale = unit_mm * np.array([-1, -1, 1] if axes == "RAS" else [1, 1, 1])
    vertices, faces = merged_corners(vertices * scale, faces)
    if len(faces) > MOST_TRIANGLES:
        raise InputError(f"{path}: must have at most {MOST_TRIANGLES} triangles, got {len(faces)}")
    _require_closed(path, vertices, faces)
    faces, turned = outward(vertices, faces)
    if turned:
        log.warning("%s: %s inside out, and turned", path, _parts(turned))
    _require_volume(path, vertices, faces)
    _warn_of_intersections(path, vertices, faces)
    return Surface(vertices_xyz_mm=vertices.astype(np.float32), faces=faces.astype(np.int32))


def _read(path: Path) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    if path.suffix.lower() not in MESH_SUFFIXES:
        wanted = ", ".join(MESH_SUFFIXES)
        raise InputError(f"{path}: must be a mesh of the formats {wanted}")
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    found = _parsed(path)
    vertices = np.asarray(getattr(found, "vertices", ()), float)
    faces = np.asarray(getattr(found, "faces", ()), int)
    if not len(faces):
        raise InputError(f"{path}: must have triangles, has none that can be read")
    if not np.isfinite(vertices).all():
        raise InputError(f"{path}: must have finite corners")
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise InputError(f"{path}: a triangle names a corner that is not there")
    return vertices, faces


def _parsed(path: Path) -> Any:
    """What trimesh reads of a file; its readers raise errors of many kinds."""
    try:
        import trimesh
    except ImportError:
        raise InputError(f"meshes need the package trimesh: {to_install('trimesh')}") from None
    try:
        return trimesh.load_mesh(path, process=False)
    except ImportError:  # of a package that guesses encodings
        why = "damaged, ends early, or is text that is not UTF-8"
        raise InputError(f"{path}: cannot be read as a mesh ({why})") from None
    except READ_ERRORS as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise InputError(f"{path}: cannot be read as a mesh ({lines[0]})") from None


def _require_closed(path: Path, vertices: NDArray[np.float64], faces: NDArray[np.int64]) -> None:
    flaw = edge_flaw(faces)
    if flaw is None:
        return
    x, y, z = vertices[[*flaw.edge]].mean(axis=0)
    at = f"the first near ({x:.2f}, {y:.2f}, {z:.2f}) mm"
    if flaw.kind == "open":
        raise InputError(
            f"{path}: must be closed, {flaw.count} edges have a triangle on one side only, {at}"
        )
    raise InputError(
        f"{path}: the triangles of {flaw.count} edges are turned to different sides, {at}"
    )


def _require_volume(path: Path, vertices: NDArray[np.float64], faces: NDArray[np.int64]) -> None:
    volume = volume_mm3(vertices, faces)
    extent = float(np.ptp(vertices, axis=0).max())
    if volume <= LEAST_VOLUME * extent**3:
        raise InputError(f"{path}: must enclose a volume, encloses {volume:g} mm^3")


def _warn_of_intersections(
    path: Path, vertices: NDArray[np.float64], faces: NDArray[np.int64]
) -> None:
    if len(faces) > MOST_CHECKED:
        log.info("%s: %d triangles, not searched for intersections", path, len(faces))
        return
    count = len(intersecting_triangles(vertices, faces))
    if count:
        log.warning(
            "%s: %d pairs of triangles intersect: what lies inside twice counts once", path, count
        )


def _parts(count: int) -> str:
    return "the surface of a part is" if count == 1 else f"the surfaces of {count} parts are"
