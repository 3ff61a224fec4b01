"""The frame: what the image chain hands to every sink."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fluoro.geometry.carm import CarmGeometry, CarmPose

__all__ = ["FluoroFrame", "to_uint8"]


@dataclass(frozen=True, kw_only=True, eq=False)
class FluoroFrame:
    """One picture of the stream and how it came about.

    Attributes:
        image: Display values in [0, 1], shape (height, width), float32; row 0 is cranial and
            column 0 the patient's right at the frontal view.
        number: Counts from 0.
        pose: Where the C-arm stood.
        geometry: The C-arm's lengths and detector at that moment.
        stamps_ns: Unix time [ns] by stage, in order: `pose` (the pose was issued), `render_start`,
            `render_end`, `chain_end`.
    """

    image: NDArray[np.float32]
    number: int
    pose: CarmPose
    geometry: CarmGeometry
    stamps_ns: dict[str, int]


def to_uint8(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Display values [0, 1] as 8-bit grey levels, rounded to the nearest, same shape."""
    return np.asarray(np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)
