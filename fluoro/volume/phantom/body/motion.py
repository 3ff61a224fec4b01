"""How the body breathes and how its heart beats."""

from __future__ import annotations

import numpy as np

from fluoro.config import MotionConfig
from fluoro.volume.phantom.body.build import Build
from fluoro.volume.phantom.body.chest import diaphragm_distance, heart_distance
from fluoro.volume.phantom.body.tables import pleura
from fluoro.volume.phantom.phantom_motion import MovingAnatomy, ThoraxMotion
from fluoro.volume.phantom.shapes import Axes, Field

__all__ = ["body_motion"]

PLEURA_TO_RIB_MM = 6.0
BOX_XYZ_MM = (420.0, 380.0, 480.0)


def body_motion(config: MotionConfig, build: Build) -> ThoraxMotion:
    """Return the motion of a body: what lies outside of chest and belly rests."""
    anatomy = MovingAnatomy(
        cage=_cage_distance,
        dome=diaphragm_distance,
        heart=heart_distance,
        box_xyz_mm=BOX_XYZ_MM,
        scale=build.scale,
    )
    return ThoraxMotion(config, anatomy)


def _cage_distance(axes: Axes) -> Field:
    return np.asarray(pleura().distance(axes) - np.float32(PLEURA_TO_RIB_MM))
