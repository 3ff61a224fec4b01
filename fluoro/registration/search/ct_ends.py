"""Where the CT ends within the patient: rays that pass there say nothing of the pose.

An X-ray image shows the anatomy beyond the first and the last slice; the CT does not. Beyond an end
whose slice shows the body, the body is taken to go on with the outline that it has there. A ray
that meets this continuation is cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fluoro.geometry.projection import View
from fluoro.volume.volumes import MuVolume

__all__ = ["CtEnd", "cut_rays", "find_ct_ends", "without_cut_rays"]

Array = NDArray[np.float64]
Image = NDArray[np.float32]

LEAST_BODY_PER_MM = 0.002
"""Mean attenuation [1/mm] about a voxel of the body, lung included: a tenth of that of water."""
BODY_MM = 20.0
"""Edge of the square over which that mean is taken: what fills less of it is no body."""
MARGIN_MM = 4.0
"""Length by which the continuation reaches into the CT: programs differ in the last half voxel,
images are blurred, and a level of the search starts a little off."""
POINTS = 9
"""Of a ray within the box about the continuation, at which the outline is looked up."""
LEAST_LEFT = 0.5
"""Share of the pixels that cut rays must leave. Where they leave less the view looks along the
patient, or the pose is far off, and all pixels count."""
PARALLEL = np.float32(1e-12)
"""Takes the place of a direction that is 0, so that it divides."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CtEnd:
    """The continuation of the body beyond one end of the CT, in voxel indices (x, y, z).

    Attributes:
        outline: Where the slice at the end shows the body; one voxel along the patient, so that
            its three axes are the volume's, shape (z, y, x).
        low: Least indices of the box about the continuation, shape (3,); -inf where it is open.
        high: Largest indices, likewise with inf.
        index_from_world: 4x4 matrix from world LPS [mm] to voxel indices.
    """

    outline: NDArray[np.bool_]
    low: Array
    high: Array
    index_from_world: Array

    def is_met(self, view: View) -> NDArray[np.bool_]:
        """Return which rays from source to detector meet it, shape (height, width)."""
        m = self.index_from_world[:3]
        source = (m[:, :3] @ view.source_xyz_mm + m[:, 3])[:, None, None]
        ways = np.stack([_components(view, row) for row in m[:, :3]])
        ends = [(end[:, None, None] - source).astype(np.float32) for end in (self.low, self.high)]
        low, high = ends[0] / ways, ends[1] / ways
        enter = np.maximum(np.minimum(low, high).max(axis=0), 0)
        leave = np.minimum(np.maximum(low, high).min(axis=0), 1)
        met: NDArray[np.bool_] = enter < leave
        share = np.linspace(0, 1, POINTS, dtype=np.float32)[:, None]
        along = enter[met] + share * (leave - enter)[met]
        met[met] = self._is_inside(source + ways[:, None, met] * along).any(axis=0)
        return met

    def _is_inside(self, points: Image) -> NDArray[np.bool_]:
        """Whether points of the box, shape (3, ...), lie within the outline."""
        z, y, x = (
            np.clip(np.rint(index), 0, count - 1).astype(np.intp)
            for index, count in zip(points[::-1], self.outline.shape, strict=True)
        )
        return np.asarray(self.outline[z, y, x])


def cut_rays(ends: Sequence[CtEnd], view: View) -> NDArray[np.bool_]:
    """Return which rays of a view pass where the CT ends within the patient, (height, width).

    Args:
        ends: Of the CT.
        view: Where the view stands.
    """
    cut = np.zeros((view.height_px, view.width_px), bool)
    for end in ends:
        cut |= end.is_met(view)
    return cut


def without_cut_rays(
    mask: NDArray[np.bool_], ends: Sequence[CtEnd], view: View
) -> NDArray[np.bool_]:
    """Return a mask without the rays that are cut, or the mask itself where too few are left.

    Args:
        mask: Pixels that count, shape (height, width).
        ends: Of the CT.
        view: Where the view stands.
    """
    left = mask & ~cut_rays(ends, view)
    return left if left.sum() >= LEAST_LEFT * mask.sum() else mask


def find_ct_ends(volume: MuVolume) -> tuple[CtEnd, ...]:
    """Return the ends of a CT, along the patient, that show the body: none, one or two.

    Faces at the patient's sides do not count: what lacks there shades an image slowly.

    Args:
        volume: Attenuation [1/mm].
    """
    along = int(np.argmax(np.abs(volume.grid.direction[2])))
    found = (_end(volume, along, is_last) for is_last in (False, True))
    return tuple(end for end in found if end)


def _end(volume: MuVolume, along: int, is_last: bool) -> CtEnd | None:
    """The first or the last end along an index axis (x 0, y 1, z 2); None: there is no body."""
    grid = volume.grid
    outline = _outline(volume, along, -1 if is_last else 0)
    held = np.nonzero(outline)[::-1]
    if not held[0].size:
        return None
    low = np.array([indices.min() - 0.5 for indices in held])
    high = np.array([indices.max() + 0.5 for indices in held])
    margin = MARGIN_MM / grid.spacing_xyz_mm[along]
    if is_last:
        low[along], high[along] = grid.shape_xyz[along] - 0.5 - margin, np.inf
    else:
        low[along], high[along] = -np.inf, margin - 0.5
    return CtEnd(outline=outline, low=low, high=high, index_from_world=grid.index_from_world)


def _outline(volume: MuVolume, along: int, number: int) -> NDArray[np.bool_]:
    """Where a slice shows the body, with the slice's axis kept."""
    from scipy.ndimage import uniform_filter

    face = np.take(volume.mu_zyx, [number], axis=2 - along).astype(np.float32)
    edges_px = np.maximum(1, np.rint(BODY_MM / np.array(volume.grid.spacing_xyz_mm[::-1])))
    edges_px[2 - along] = 1
    mean = uniform_filter(face, edges_px.astype(int).tolist(), mode="constant")
    return np.asarray(mean > LEAST_BODY_PER_MM)


def _components(view: View, axis: Array) -> Image:
    """Return one component of the ways from the source to the pixels, none 0; (height, width)."""
    columns = (np.arange(view.width_px) + 0.5) * (axis @ view.column_step_xyz_mm)
    rows = (np.arange(view.height_px) + 0.5) * (axis @ view.row_step_xyz_mm)
    corner = axis @ (view.corner_xyz_mm - view.source_xyz_mm)
    found = (corner + rows[:, None] + columns).astype(np.float32)
    return np.where(found == 0, PARALLEL, found)
