"""The C-arm's lengths: how well they are known, and how an image changes with them.

A turn of the view about its source moves the image within its plane and does nothing else, so the
three turns say how the image changes along its columns and rows; and from that follows what a
shifted principal point or another scale does. No image is rendered for it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fluoro.config import CarmTolerance
from fluoro.geometry.projection import View

__all__ = ["LengthTolerance", "length_derivatives", "with_lengths"]

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class LengthTolerance:
    """How well the lengths of one view are known, as standard deviations.

    An image depends on three of them beside the pose: on where the central ray meets the detector,
    and on the ratio of pitch and source-to-detector distance.

    Attributes:
        principal_point_mm: Along columns and rows, on the detector.
        scale_share: Of pitch over source-to-detector distance, as a share of it.
        isocenter_mm: Of the source's distance from the isocentre: no image tells it.
    """

    principal_point_mm: float
    scale_share: float
    isocenter_mm: float

    @classmethod
    def of(cls, carm: CarmTolerance, view: View) -> LengthTolerance:
        """Return the tolerance of a C-arm as it counts in one of its views."""
        distance_share = carm.source_to_detector_mm / source_to_detector_mm(view)
        return cls(
            principal_point_mm=carm.principal_point_mm,
            scale_share=float(np.hypot(distance_share, carm.pixel_spacing_share)),
            isocenter_mm=carm.source_to_isocenter_mm,
        )

    @property
    def lengths(self) -> tuple[float, float, float]:
        """Of the three that an image depends on [mm, mm, 1]."""
        return self.principal_point_mm, self.principal_point_mm, self.scale_share


def source_to_detector_mm(view: View) -> float:
    """Return the distance of a view's source from the plane of its detector [mm]."""
    normal = np.cross(view.column_step_xyz_mm, view.row_step_xyz_mm)
    to_corner = view.corner_xyz_mm - view.source_xyz_mm
    return abs(float(normal @ to_corner)) / float(np.linalg.norm(normal))


def length_derivatives(
    view: View, jacobian: NDArray[Any], center_xyz_mm: ArrayLike
) -> NDArray[np.float32]:
    """Return the image's derivatives with respect to the C-arm's lengths, shape (3, H, W).

    Args:
        view: Where the image was rendered.
        jacobian: Derivatives with respect to a left twist about the centre, shape (6, H, W).
        center_xyz_mm: The centre, world LPS [mm].

    Returns:
        By the shift of the detector along its columns and its rows [1/mm], and by the share by
        which pitch over source-to-detector distance grows.
    """
    to_pixels, foot_px = _pixels_from_directions(view)
    along_u, along_v, from_foot = _flow(view, jacobian, np.asarray(center_xyz_mm, float), to_pixels)
    pitch_u, pitch_v = (
        float(np.linalg.norm(step)) for step in (view.column_step_xyz_mm, view.row_step_xyz_mm)
    )
    u, v = from_foot[0] - foot_px[0], from_foot[1] - foot_px[1]
    found = np.stack([along_u / pitch_u, along_v / pitch_v, u * along_u + v * along_v])
    return found.astype(np.float32)


def with_lengths(view: View, change: ArrayLike) -> View:
    """Return a view of a C-arm with other lengths.

    Args:
        view: Of the C-arm as it is stated.
        change: Shift of the detector along its columns and its rows [mm], share by which pitch over
            source-to-detector distance grows, shape (3,).
    """
    u_mm, v_mm, share = np.asarray(change, float)
    u, v = view.column_step_xyz_mm, view.row_step_xyz_mm
    normal = np.cross(u, v) / np.linalg.norm(np.cross(u, v))
    foot = view.source_xyz_mm + normal * (normal @ (view.corner_xyz_mm - view.source_xyz_mm))
    shift = u_mm * u / np.linalg.norm(u) + v_mm * v / np.linalg.norm(v)
    return replace(
        view,
        corner_xyz_mm=foot + (1 + share) * (view.corner_xyz_mm - foot) + shift,
        column_step_xyz_mm=(1 + share) * u,
        row_step_xyz_mm=(1 + share) * v,
    )


def _pixels_from_directions(view: View) -> tuple[Array, Array]:
    """3x3 from a ray's direction to homogeneous pixels; the foot of the source on the detector."""
    u, v = view.column_step_xyz_mm, view.row_step_xyz_mm
    to_corner = view.corner_xyz_mm - view.source_xyz_mm
    to_pixels = np.linalg.inv(np.column_stack([u, v, to_corner]))
    normal = np.cross(u, v)
    foot = to_pixels @ (normal * (normal @ to_corner) / (normal @ normal))
    return to_pixels, foot[:2] / foot[2]


def _flow(
    view: View, jacobian: NDArray[Any], center: Array, to_pixels: Array
) -> tuple[NDArray[Any], NDArray[Any], tuple[NDArray[Any], NDArray[Any]]]:
    """Derivatives along columns and rows [1/pixel], and the pixels' centres, (H, W) each.

    Least squares of three turns about the source: each moves the pixel by a known amount.
    """
    columns, rows = (
        np.arange(count, dtype=np.float32) + np.float32(0.5)
        for count in (view.width_px, view.height_px)
    )
    u, v = np.broadcast_arrays(columns[None, :], rows[:, None])
    uu = uv = vv = iu = iv = np.zeros(u.shape, np.float32)
    arm, turns = view.source_xyz_mm - center, np.eye(3)
    twists = np.concatenate([turns, -np.cross(turns, arm)], axis=1).astype(np.float32)
    for turn, change in zip(turns, np.tensordot(twists, jacobian, axes=1), strict=True):
        # a direction d turns by turn x d, and d is linear in the pixel
        rates = to_pixels @ np.cross(turn, np.linalg.inv(to_pixels), axisb=0, axisc=0)
        rates = rates.astype(np.float32)
        a, b, c = (row[0] * u + row[1] * v + row[2] for row in rates)
        du, dv = a - u * c, b - v * c
        uu, uv, vv = uu + du * du, uv + du * dv, vv + dv * dv
        iu, iv = iu + du * change, iv + dv * change
    determinant = uu * vv - uv * uv
    return (vv * iu - uv * iv) / determinant, (uu * iv - uv * iu) / determinant, (u, v)
