"""What every contestant projects: one CT, one detector, five views."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from fluoro.config import VolumeConfig
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.geometry.projection import View
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.load import load_volume
from fluoro.volume.volumes import MuVolume

__all__ = ["load_ct", "make_geometry", "make_views", "sparse_view", "synthetic_volume"]

SOURCE_TO_DETECTOR_MM = 1020.0
SOURCE_TO_ISOCENTER_MM = 510.0
FIELD_MM = 400.0
"""Edge of the detector: 200 pixels of 2 mm."""
VIEWS_SEED = 8


def load_ct() -> MuVolume:
    """The chest CT, memory-mapped.

    Raises:
        InputError: It has not been fetched; the message says how.
    """
    return load_volume(VolumeConfig.model_validate({"path": "cache:chest-ct"}))


def synthetic_volume(edge_voxels: int, size_mm: float = 256.0) -> MuVolume:
    """A cube of water with waves in it, shape (edge, edge, edge)."""
    wave = np.sin(np.arange(edge_voxels) * (40.0 / edge_voxels)).astype(np.float32)
    mu = 0.02 + 0.006 * wave[:, None, None] * wave[None, :, None] * wave[None, None, :]
    grid = VolumeGrid(shape_zyx=(edge_voxels,) * 3, spacing_xyz_mm=(size_mm / edge_voxels,) * 3)
    return MuVolume(mu_zyx=np.ascontiguousarray(mu, np.float32), grid=grid)


def poses() -> dict[str, CarmPose]:
    """Five poses by name; two are drawn, with a fixed seed."""
    draw = np.random.default_rng(VIEWS_SEED)
    fixed = {
        "PA": CarmPose(),
        "lateral": CarmPose(lao_deg=90.0),
        "LAO 45 CRA 30": CarmPose(lao_deg=45.0, cra_deg=30.0),
    }
    return fixed | {f"drawn {number}": _drawn_pose(draw) for number in (1, 2)}


def _drawn_pose(draw: np.random.Generator) -> CarmPose:
    x, y, z = draw.uniform(-20, 20, 3).tolist()
    return CarmPose(
        lao_deg=draw.uniform(-120, 120),
        cra_deg=draw.uniform(-35, 35),
        roll_deg=draw.uniform(-20, 20),
        translation_mm=(x, y, z),
    )


def make_geometry(size_px: int) -> CarmGeometry:
    """Return the C-arm with `size_px` pixels along each edge of its detector."""
    return CarmGeometry(
        source_to_detector_mm=SOURCE_TO_DETECTOR_MM,
        source_to_isocenter_mm=SOURCE_TO_ISOCENTER_MM,
        detector_width_px=size_px,
        detector_height_px=size_px,
        pixel_spacing_mm=FIELD_MM / size_px,
    )


def make_views(
    grid: VolumeGrid, size_px: int, *, names: tuple[str, ...] = ()
) -> Mapping[str, View]:
    """Views of the middle of a volume, by name; no names: all five."""
    carm = make_geometry(size_px)
    center = tuple(grid.center_xyz_mm.tolist())
    return {
        name: carm.view(pose, center)
        for name, pose in poses().items()
        if name in names or not names
    }


def sparse_view(view: View, every: int) -> View:
    """The view of pixels 0, every, 2 every ... of both directions, centres where they were."""
    across, down = view.column_step_xyz_mm, view.row_step_xyz_mm
    back = 0.5 * (every - 1)
    return View(
        source_xyz_mm=view.source_xyz_mm,
        corner_xyz_mm=view.corner_xyz_mm - back * (across + down),
        column_step_xyz_mm=every * across,
        row_step_xyz_mm=every * down,
        width_px=-(-view.width_px // every),
        height_px=-(-view.height_px // every),
    )


def moved(view: View, shift_xyz_mm: NDArray[np.float64]) -> View:
    """The view after the whole C-arm has moved."""
    return View(
        source_xyz_mm=view.source_xyz_mm + shift_xyz_mm,
        corner_xyz_mm=view.corner_xyz_mm + shift_xyz_mm,
        column_step_xyz_mm=view.column_step_xyz_mm,
        row_step_xyz_mm=view.row_step_xyz_mm,
        width_px=view.width_px,
        height_px=view.height_px,
    )
