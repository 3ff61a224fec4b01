"""Cone-beam projection: the rays of one view, and the matrices that say the same."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fluoro.errors import InputError

__all__ = ["PixelCenters", "View", "camera_matrices", "project_points", "shifted_pixels"]

PixelCenters = Literal["half", "integer"]
"""Where a program's first pixel has its centre: at (0.5, 0.5), as here, or at (0, 0)."""
CENTER_OF_FIRST_PIXEL = {"half": 0.5, "integer": 0.0}
ORTHOGONAL_COSINE = 1e-9
"""Largest cosine between the detector's axes that still counts as a right angle (rounding)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """One X-ray view: a point source and a flat grid of pixels, in world LPS [mm].

    Attributes:
        source_xyz_mm: Focal spot, shape (3,).
        corner_xyz_mm: Outer corner of pixel (column 0, row 0), shape (3,).
        column_step_xyz_mm: From a pixel to its neighbour in the next column, shape (3,).
        row_step_xyz_mm: From a pixel to its neighbour in the next row, shape (3,).
        width_px: Columns.
        height_px: Rows.
    """

    source_xyz_mm: NDArray[np.float64]
    corner_xyz_mm: NDArray[np.float64]
    column_step_xyz_mm: NDArray[np.float64]
    row_step_xyz_mm: NDArray[np.float64]
    width_px: int
    height_px: int

    def pixel_centers_xyz_mm(self) -> NDArray[np.float64]:
        """Return centres of all pixels in world LPS [mm], shape (height, width, 3)."""
        columns = (np.arange(self.width_px) + 0.5)[None, :, None] * self.column_step_xyz_mm
        rows = (np.arange(self.height_px) + 0.5)[:, None, None] * self.row_step_xyz_mm
        return np.asarray(self.corner_xyz_mm + columns + rows)

    @property
    def pixel_from_world(self) -> NDArray[np.float64]:
        """3x4 projection matrix: world LPS [mm] to corner-based pixels (u column, v row).

        The homogeneous depth is positive for points on the detector's side of the source.
        """
        columns = [
            self.column_step_xyz_mm,
            self.row_step_xyz_mm,
            self.corner_xyz_mm - self.source_xyz_mm,
        ]
        rotation = np.linalg.inv(np.column_stack(columns))
        return np.column_stack([rotation, -rotation @ self.source_xyz_mm])

    def projection_matrix(self, pixel_centers: PixelCenters = "half") -> NDArray[np.float64]:
        """`pixel_from_world` in either convention of pixel centres, shape (3, 4)."""
        return shifted_pixels(self.pixel_from_world, "half", pixel_centers)

    def project(
        self, points_xyz_mm: ArrayLike, pixel_centers: PixelCenters = "half"
    ) -> NDArray[np.float64]:
        """Pixels (u, v) of world points [mm], shape (..., 2); NaN where not before the source."""
        points = np.asarray(points_xyz_mm, float)
        matrix = self.projection_matrix(pixel_centers)
        depth = points @ matrix[2, :3] + matrix[2, 3]
        with np.errstate(divide="ignore", invalid="ignore"):
            pixels = project_points(matrix, points)
        return np.where(depth[..., None] > 0, pixels, np.nan)

    def back_project(
        self, pixels_uv: ArrayLike, pixel_centers: PixelCenters = "half"
    ) -> NDArray[np.float64]:
        """Return world points [mm] of pixels (u, v) on the detector, shape (..., 3).

        The ray of a pixel runs from `source_xyz_mm` to this point.
        """
        u, v = np.moveaxis(np.asarray(pixels_uv, float) + _offset(pixel_centers, "half"), -1, 0)
        along = u[..., None] * self.column_step_xyz_mm + v[..., None] * self.row_step_xyz_mm
        return np.asarray(self.corner_xyz_mm + along)

    def part(self, columns: tuple[int, int], rows: tuple[int, int]) -> View:
        """Return the view of the pixels from the first to before the second column and row.

        Raises:
            InputError: A range that is empty or leaves the detector.
        """
        _require_range("columns", columns, self.width_px)
        _require_range("rows", rows, self.height_px)
        shift = columns[0] * self.column_step_xyz_mm + rows[0] * self.row_step_xyz_mm
        return replace(
            self,
            corner_xyz_mm=self.corner_xyz_mm + shift,
            width_px=columns[1] - columns[0],
            height_px=rows[1] - rows[0],
        )

    def mirrored(self) -> View:
        """The same rays with the columns in the other order: the image from the other side."""
        across = self.column_step_xyz_mm * self.width_px
        return replace(
            self,
            corner_xyz_mm=self.corner_xyz_mm + across,
            column_step_xyz_mm=-self.column_step_xyz_mm,
        )

    def half_turned(self) -> View:
        """The same rays with columns and rows in the other order: the image turned by half."""
        across = self.column_step_xyz_mm * self.width_px
        down = self.row_step_xyz_mm * self.height_px
        return replace(
            self,
            corner_xyz_mm=self.corner_xyz_mm + across + down,
            column_step_xyz_mm=-self.column_step_xyz_mm,
            row_step_xyz_mm=-self.row_step_xyz_mm,
        )

    @property
    def seen_from_detector(self) -> bool:
        """Whether the image is what a viewer behind the detector sees, as radiographs are shown.

        Else it is the mirror of that: what a pinhole camera at the source would take.
        """
        normal = np.cross(self.column_step_xyz_mm, self.row_step_xyz_mm)
        return bool(normal @ (self.corner_xyz_mm - self.source_xyz_mm) < 0)

    @classmethod
    def from_projection_matrix(
        cls,
        pixel_from_world: ArrayLike,
        width_px: int,
        height_px: int,
        *,
        in_front_xyz_mm: ArrayLike,
        pixel_centers: PixelCenters = "half",
        source_to_detector_mm: float | None = None,
        pixel_spacing_mm: float | None = None,
    ) -> View:
        """Return the view of a 3x4 projection matrix of any scale and either sign.

        A matrix fixes the rays, but not how far away the detector stands, nor on which side of
        the source: P and -P are the same camera. So a length and a point must be given.

        Args:
            pixel_from_world: P, world LPS [mm] to pixels, shape (3, 4); skew is kept.
            width_px: Columns.
            height_px: Rows.
            in_front_xyz_mm: A point on the detector's side of the source, such as the volume's
                centre; world LPS [mm].
            pixel_centers: P's convention.
            source_to_detector_mm: Distance of the source from the detector's plane [mm].
            pixel_spacing_mm: In its place: distance between columns [mm].

        Raises:
            InputError: A matrix of another shape or of a camera at infinity, not exactly one of
                the two lengths, or a point level with the source.
        """
        matrix = _projection(pixel_from_world)
        matrix = shifted_pixels(matrix, pixel_centers, "half")
        # columns of the inverse: the ray's change per column, per row, and the corner's ray
        rays = np.asarray(np.linalg.inv(matrix[:, :3]), np.float64)
        source = -rays @ matrix[:, 3]
        point = np.asarray(in_front_xyz_mm, float)
        depth = float(matrix[2, :3] @ (point - source))
        if not abs(depth) > 1e-9 * float(np.linalg.norm(matrix[2, :3])):
            raise InputError(
                f"in_front_xyz_mm must be a point before the source, got {point.tolist()}, "
                f"level with the source at {source.round(3).tolist()}"
            )
        rays *= math.copysign(_ray_length(rays, source_to_detector_mm, pixel_spacing_mm), depth)
        return cls(
            source_xyz_mm=source,
            corner_xyz_mm=source + rays[:, 2],
            column_step_xyz_mm=rays[:, 0],
            row_step_xyz_mm=rays[:, 1],
            width_px=width_px,
            height_px=height_px,
        )

    @classmethod
    def from_camera(
        cls,
        pixel_from_camera: ArrayLike,
        camera_from_world: ArrayLike,
        width_px: int,
        height_px: int,
        *,
        in_front_xyz_mm: ArrayLike | None = None,
        pixel_centers: PixelCenters = "half",
        source_to_detector_mm: float | None = None,
        pixel_spacing_mm: float | None = None,
    ) -> View:
        """Return the view of a camera given as K and [R | t].

        Args:
            pixel_from_camera: K, shape (3, 3): fx and fy of any sign, skew allowed.
            camera_from_world: World LPS [mm] to the camera's frame [mm], shape (4, 4) or (3, 4);
                R a rotation or a reflection.
            width_px: Columns.
            height_px: Rows.
            in_front_xyz_mm: A point on the detector's side of the source, world LPS [mm]. None:
                +z of the camera points to the detector, or, where fx and fy are both negative,
                from the detector to the source (as in DeepFluoro).
            pixel_centers: K's convention.
            source_to_detector_mm: Distance of the source from the detector's plane [mm].
            pixel_spacing_mm: In its place: distance between columns [mm].

        Raises:
            InputError: Matrices that are no camera, or not exactly one of the two lengths.
        """
        k, extrinsic = _intrinsic(pixel_from_camera), _rigid(camera_from_world)
        if in_front_xyz_mm is None:
            towards_detector = -1.0 if k[0, 0] < 0 and k[1, 1] < 0 else 1.0
            in_front_xyz_mm = extrinsic[:, :3].T @ ([0, 0, towards_detector] - extrinsic[:, 3])
        return cls.from_projection_matrix(
            k @ extrinsic,
            width_px,
            height_px,
            in_front_xyz_mm=in_front_xyz_mm,
            pixel_centers=pixel_centers,
            source_to_detector_mm=source_to_detector_mm,
            pixel_spacing_mm=pixel_spacing_mm,
        )


def shifted_pixels(
    matrix: ArrayLike, given: PixelCenters, wanted: PixelCenters
) -> NDArray[np.float64]:
    """Return a matrix to pixels, 3 rows (P or K), in another convention of pixel centres."""
    shift = np.eye(3)
    shift[:2, 2] = _offset(given, wanted)
    return np.asarray(shift @ np.asarray(matrix, float))


def _offset(given: PixelCenters, wanted: PixelCenters) -> float:
    """What a pixel coordinate grows by."""
    for name in (given, wanted):
        if name not in CENTER_OF_FIRST_PIXEL:
            raise InputError(f"pixel_centers must be 'half' or 'integer', got {name!r}")
    return CENTER_OF_FIRST_PIXEL[wanted] - CENTER_OF_FIRST_PIXEL[given]


def _require_range(name: str, span: tuple[int, int], count: int) -> None:
    if not 0 <= span[0] < span[1] <= count:
        raise InputError(f"{name} must be a range within 0 to {count}, got {tuple(span)}")


def _matrix(name: str, given: ArrayLike, *shapes: tuple[int, int]) -> NDArray[np.float64]:
    matrix = np.asarray(given, float)
    if matrix.shape not in shapes or not np.isfinite(matrix).all():
        wanted = " or ".join(f"{rows}x{columns}" for rows, columns in shapes)
        raise InputError(f"{name} must be {wanted} finite numbers, got shape {matrix.shape}")
    return matrix


def _projection(given: ArrayLike) -> NDArray[np.float64]:
    matrix = _matrix("pixel_from_world", given, (3, 4))
    directions = matrix[:, :3] / np.maximum(np.linalg.norm(matrix[:, :3], axis=1), 1e-300)[:, None]
    if abs(np.linalg.det(directions)) < 1e-12:
        raise InputError("pixel_from_world must have a point source, got one at infinity")
    return matrix


def _ray_length(
    rays: NDArray[np.float64], source_to_detector_mm: float | None, pixel_spacing_mm: float | None
) -> float:
    """Return the factor of the rays that puts the detector's plane at the given distance."""
    lengths = {
        "source_to_detector_mm": source_to_detector_mm,
        "pixel_spacing_mm": pixel_spacing_mm,
    }
    given = {name: length for name, length in lengths.items() if length is not None}
    if len(given) != 1:
        raise InputError(f"must have exactly one of {', '.join(lengths)}, got {len(given)}")
    ((name, length),) = given.items()
    if not (np.isfinite(length) and length > 0):
        raise InputError(f"{name} must be a positive length, got {length}")
    column, row, corner = rays.T
    if pixel_spacing_mm is not None:
        return float(length / np.linalg.norm(column))
    normal = np.cross(column, row)
    return float(length * np.linalg.norm(normal) / abs(normal @ corner))


def _intrinsic(given: ArrayLike) -> NDArray[np.float64]:
    k = _matrix("pixel_from_camera", given, (3, 3))
    if k[1, 0] or k[2, 0] or k[2, 1] or not k[0, 0] * k[1, 1] * k[2, 2]:
        raise InputError(
            "pixel_from_camera must be upper triangular with fx, fy and a last element other "
            f"than 0, got {k.tolist()}"
        )
    return np.asarray(k / k[2, 2])


def _rigid(given: ArrayLike) -> NDArray[np.float64]:
    matrix = _matrix("camera_from_world", given, (4, 4), (3, 4))
    if len(matrix) == 4 and not np.allclose(matrix[3], (0, 0, 0, 1), rtol=0, atol=1e-9):
        raise InputError(
            f"camera_from_world must end with the row 0 0 0 1, got {matrix[3].tolist()}"
        )
    turn = matrix[:3, :3]
    if not np.allclose(turn @ turn.T, np.eye(3), atol=1e-5):
        raise InputError(
            "camera_from_world must turn without stretching (a rotation or reflection), got "
            f"axes of lengths {np.linalg.norm(turn, axis=1).round(6).tolist()}"
        )
    return matrix[:3]


def project_points(pixel_from_world: ArrayLike, points_xyz_mm: ArrayLike) -> NDArray[np.float64]:
    """Return pixels (u, v) of world points [mm], shape (..., 2), in the matrix's own convention.

    `View.project` takes the convention by name.
    """
    points = np.asarray(points_xyz_mm, float)
    homogeneous = np.concatenate([points, np.ones((*points.shape[:-1], 1))], axis=-1)
    uvw = homogeneous @ np.asarray(pixel_from_world, float).T
    return np.asarray(uvw[..., :2] / uvw[..., 2:])


def camera_matrices(
    view: View,
    *,
    pixel_centers: PixelCenters = "half",
    z_towards: Literal["detector", "source"] = "detector",
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the view as a camera: `pixel_from_camera` (K) and `camera_from_world`.

    The camera's frame is right-handed, sits at the source, has +z towards the detector (depths are
    positive), +y along the detector's rows and +x = y cross z. A radiograph is shown as seen from
    the detector's side, the mirror of what a pinhole at the source sees; so for a C-arm
    fx = -source_to_detector/pitch is negative, fy = +source_to_detector/pitch.

    Args:
        view: The view.
        pixel_centers: Convention of K.
        z_towards: "source" turns the camera's frame half a turn about its y, so that +z runs from
            the detector to the source and fx and fy are both negative (DeepFluoro's habit).

    Returns:
        K, shape (3, 3), and the 4x4 motion from world LPS [mm] to the camera's frame [mm].
        `K @ camera_from_world[:3]` is `view.projection_matrix(pixel_centers)` times
        source_to_detector [mm], or minus that: its depth is in mm.

    Raises:
        InputError: The detector's axes are not at right angles, so no K without skew exists.
    """
    u, v = view.column_step_xyz_mm, view.row_step_xyz_mm
    pitch_u_mm, pitch_v_mm = float(np.linalg.norm(u)), float(np.linalg.norm(v))
    cosine = float(u @ v) / (pitch_u_mm * pitch_v_mm)
    if abs(cosine) > ORTHOGONAL_COSINE:
        raise InputError(f"view must have a detector with right angles, got cosine {cosine:.3g}")
    source_to_corner = view.corner_xyz_mm - view.source_xyz_mm
    normal = _cross(u, v) / (pitch_u_mm * pitch_v_mm)
    z = normal * np.sign(normal @ source_to_corner)
    y = v / pitch_v_mm
    x = _cross(y, z)
    depth_mm = float(z @ source_to_corner)
    fx, fy = depth_mm * float(x @ u) / pitch_u_mm**2, depth_mm / pitch_v_mm
    cx, cy = -(source_to_corner @ u) / pitch_u_mm**2, -(source_to_corner @ v) / pitch_v_mm**2
    camera_from_world = np.eye(4)
    camera_from_world[:3, :3] = [x, y, z]
    camera_from_world[:3, 3] = -camera_from_world[:3, :3] @ view.source_xyz_mm
    k = np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])
    k = shifted_pixels(k, "half", pixel_centers)
    if z_towards == "source":
        half_turn = np.diag([-1.0, 1.0, -1.0, 1.0])
        return k @ np.diag([1.0, -1.0, 1.0]), half_turn @ camera_from_world
    return k, camera_from_world


def _cross(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cross product of two vectors, shape (3,); np.cross takes ten times as long for one pair."""
    (ax, ay, az), (bx, by, bz) = a.tolist(), b.tolist()
    return np.array([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx])
