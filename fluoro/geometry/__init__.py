"""Poses, C-arm kinematics and cone-beam projection. Knows no volume, no image, no device."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fluoro.lazy_names import lazy_names

if TYPE_CHECKING:
    from fluoro.geometry.carm import CarmGeometry, CarmPose
    from fluoro.geometry.carm_controller import CarmController, pose_for_view
    from fluoro.geometry.flex import FlexTable, read_flex
    from fluoro.geometry.from_config import make_geometry, make_limits
    from fluoro.geometry.limits import CarmLimits
    from fluoro.geometry.projection import View, camera_matrices, project_points
    from fluoro.geometry.se3 import interpolate, se3_exp, se3_log, so3_exp, so3_log
    from fluoro.geometry.trajectory import Trajectory, waypoint_trajectory
    from fluoro.geometry.triangles import Surface
    from fluoro.geometry.view_text import angle_label, orientation_letters

__all__ = [
    "CarmController",
    "CarmGeometry",
    "CarmLimits",
    "CarmPose",
    "FlexTable",
    "Surface",
    "Trajectory",
    "View",
    "angle_label",
    "camera_matrices",
    "interpolate",
    "make_geometry",
    "make_limits",
    "orientation_letters",
    "pose_for_view",
    "project_points",
    "read_flex",
    "se3_exp",
    "se3_log",
    "so3_exp",
    "so3_log",
    "waypoint_trajectory",
]

if not TYPE_CHECKING:  # a type checker is to miss a name that is not there
    __getattr__, __dir__ = lazy_names(__name__)
