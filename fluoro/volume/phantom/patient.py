"""What a configured phantom has beside its voxels: parts, landmarks, motion, contrast."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fluoro.config import BodyConfig, VolumeConfig
from fluoro.errors import InputError
from fluoro.names import BodyRegion
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.phantom.body.arteries import body_tubes, scaled_tubes
from fluoro.volume.phantom.body.body import body_grid, body_landmarks, body_parts
from fluoro.volume.phantom.body.build import REFERENCE_STATURE_MM, Build
from fluoro.volume.phantom.body.motion import body_motion
from fluoro.volume.phantom.bolus import Bolus, make_bolus
from fluoro.volume.phantom.phantom_motion import ThoraxMotion
from fluoro.volume.phantom.thorax import thorax_landmarks, thorax_parts
from fluoro.volume.phantom.vessels import Tube

__all__ = [
    "build_of",
    "phantom_bolus",
    "phantom_landmarks",
    "phantom_motion",
    "phantom_parts",
    "region_of",
]


def build_of(config: VolumeConfig) -> Build:
    """Return the build of a configured body.

    Raises:
        InputError: No adult body.
    """
    body = config.body or BodyConfig()
    return Build(
        stature_mm=body.stature_mm or REFERENCE_STATURE_MM[body.sex],
        sex=body.sex,
        habitus=body.habitus,
        arms=body.arms or ("raised" if body.region == "thorax" else "down"),
    )


def region_of(config: VolumeConfig) -> BodyRegion:
    """Return which region of the body is configured."""
    return (config.body or BodyConfig()).region


def phantom_parts(
    config: VolumeConfig, spacing_mm: float
) -> tuple[list[str], NDArray[np.uint8], VolumeGrid]:
    """Return names of the phantom's parts 1, 2, ..., the part of each voxel, and their grid."""
    if config.phantom == "body":
        return body_parts(region_of(config), build_of(config), spacing_mm)
    return thorax_parts(spacing_mm)


def phantom_landmarks(config: VolumeConfig) -> dict[str, tuple[float, float, float]]:
    """Return named points of the phantom, patient LPS [mm]."""
    return body_landmarks(build_of(config)) if config.phantom == "body" else thorax_landmarks()


def phantom_motion(config: VolumeConfig) -> ThoraxMotion | None:
    """Return the configured motion; None: the phantom rests."""
    if config.motion is None:
        return None
    if config.phantom == "body":
        return body_motion(config.motion, build_of(config))
    return ThoraxMotion(config.motion)


def phantom_bolus(config: VolumeConfig) -> Bolus | None:
    """Return the configured contrast in the phantom's vessels; None: there is none."""
    if config.contrast is None:
        return None
    if config.phantom == "body":
        return make_bolus(config.contrast, _body_tubes(config))
    return make_bolus(config.contrast)


def _body_tubes(config: VolumeConfig) -> list[Tube]:
    """Those of the tree that reach into the region.

    Raises:
        InputError: None does.
    """
    assert config.contrast is not None
    build, region = build_of(config), region_of(config)
    grid = body_grid(region, build, 2.0)
    low = np.array(grid.origin_xyz_mm)
    high = low + grid.size_xyz_mm
    tubes = scaled_tubes(body_tubes(config.contrast.vessels), build.scale)
    inside = [
        tube for tube in tubes if ((tube.ends[:, :3] >= low) & (tube.ends[:, :3] <= high)).all()
    ]
    if not inside:
        raise InputError(
            f"volume.contrast.vessels: {config.contrast.vessels} has no vessel in the region "
            f"{region}"
        )
    return inside
