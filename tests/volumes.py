"""Small volumes with known integrals, shared by the tests of rendering."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.geometry.projection import View
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.volumes import MuVolume

GRID = VolumeGrid(
    shape_zyx=(90, 96, 100), spacing_xyz_mm=(1.1, 0.9, 1.3), origin_xyz_mm=(5.0, -3.0, 10.0)
)
DETECTOR = CarmGeometry(detector_width_px=38, detector_height_px=30, pixel_spacing_mm=8.0)
POSES = {
    "frontal": CarmPose(),
    "LAO 37 CRA 21": CarmPose(lao_deg=37, cra_deg=21, roll_deg=12, translation_mm=(3.0, 4.0, 5.0)),
    "lateral": CarmPose(lao_deg=90),
    "RAO 140 CAU 50": CarmPose(lao_deg=-140, cra_deg=-50, translation_mm=(-10.0, 0.0, 7.0)),
}


def view(pose: CarmPose, grid: VolumeGrid = GRID, detector: CarmGeometry = DETECTOR) -> View:
    """The view of a C-arm whose isocentre is the volume's centre."""
    return detector.view(pose, grid.center_xyz_mm)


def volume_of(
    value: Callable[[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]], object],
    grid: VolumeGrid = GRID,
) -> MuVolume:
    """A volume of value(x, y, z), indices in voxels."""
    z, y, x = (axis.astype(float) for axis in np.indices(grid.shape_zyx))
    values = np.broadcast_to(np.asarray(value(x, y, z), np.float32), grid.shape_zyx)
    return MuVolume(mu_zyx=np.ascontiguousarray(values), grid=grid)


def constant() -> MuVolume:
    """0.02 /mm everywhere."""
    return volume_of(lambda x, y, z: 0.02)


def linear() -> MuVolume:
    """Rising along all three axes."""
    return volume_of(lambda x, y, z: 2e-4 * x + 1e-4 * y + 5e-5 * z)


def gaussian() -> MuVolume:
    """A blob of 8 voxels sigma."""
    square = lambda x, y, z: (x - 49.5) ** 2 + (y - 47.5) ** 2 + (z - 44.5) ** 2  # noqa: E731
    return volume_of(lambda x, y, z: 0.02 * np.exp(-square(x, y, z) / 128))


def sphere() -> MuVolume:
    """A binary ball of 30 voxels radius: the hardest edge there is."""
    return volume_of(
        lambda x, y, z: 0.02 * ((x - 49.3) ** 2 + (y - 47.6) ** 2 + (z - 44.2) ** 2 < 900)
    )


def noise() -> MuVolume:
    """Each voxel for itself."""
    values = np.random.default_rng(0).random(GRID.shape_zyx, np.float32) * np.float32(0.04)
    return MuVolume(mu_zyx=values, grid=GRID)
