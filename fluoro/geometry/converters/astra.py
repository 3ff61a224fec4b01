"""ASTRA: the vectors of `create_proj_geom('cone_vec', rows, columns, vectors)`.

A row is source, centre of the detector, step to the next column, step to the next row, in the
world in which ASTRA has the volume: here patient LPS [mm] about a point.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fluoro.errors import InputError
from fluoro.geometry.projection import View

__all__ = ["astra_vectors", "views_from_astra"]


def astra_vectors(views: Sequence[View], center_xyz_mm: ArrayLike) -> NDArray[np.float64]:
    """Return the vectors of some views, shape (views, 12) [mm].

    Args:
        views: The views, from either side.
        center_xyz_mm: Point of patient LPS that is ASTRA's origin: the volume's centre [mm].
    """
    center = np.asarray(center_xyz_mm, float)
    return np.array([_vector(view, center) for view in views])


def _vector(view: View, center: NDArray[np.float64]) -> NDArray[np.float64]:
    u, v = view.column_step_xyz_mm, view.row_step_xyz_mm
    middle = view.corner_xyz_mm + u * view.width_px / 2 + v * view.height_px / 2
    return np.concatenate([view.source_xyz_mm - center, middle - center, u, v])


def views_from_astra(
    vectors: ArrayLike, width_px: int, height_px: int, center_xyz_mm: ArrayLike
) -> list[View]:
    """Return the views of some vectors: the inverse.

    Raises:
        InputError: Another shape than (views, 12), or values that are not finite.
    """
    rows, center = np.asarray(vectors, float), np.asarray(center_xyz_mm, float)
    if rows.ndim != 2 or rows.shape[1] != 12 or not np.isfinite(rows).all():
        raise InputError(f"vectors must be finite, of shape (views, 12), got {rows.shape}")
    return [
        View(
            source_xyz_mm=source + center,
            corner_xyz_mm=middle + center - u * width_px / 2 - v * height_px / 2,
            column_step_xyz_mm=u,
            row_step_xyz_mm=v,
            width_px=width_px,
            height_px=height_px,
        )
        for source, middle, u, v in rows.reshape(-1, 4, 3)
    ]
