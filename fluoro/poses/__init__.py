"""Where the C-arm stands from frame to frame: one pose source a module."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fluoro.lazy_names import lazy_names

if TYPE_CHECKING:
    from fluoro.poses.bag import BagPoses
    from fluoro.poses.base import IssuedPose, PathSource, PoseSource, PoseSourceSection
    from fluoro.poses.console import ConsolePoses
    from fluoro.poses.dds import DdsPoses, JointConfig
    from fluoro.poses.igtl import IgtlPoses
    from fluoro.poses.orbit import OrbitPoses
    from fluoro.poses.random_walk import RandomWalkPoses
    from fluoro.poses.received import ReceivedPoses
    from fluoro.poses.servo import ServoPoses
    from fluoro.poses.static import StaticPoses
    from fluoro.poses.sweep import SweepPoses
    from fluoro.poses.waypoints import WaypointPoses, read_waypoints
    from fluoro.poses.xray_file import XrayFilePoses

__all__ = [
    "BagPoses",
    "ConsolePoses",
    "DdsPoses",
    "IgtlPoses",
    "IssuedPose",
    "JointConfig",
    "OrbitPoses",
    "PathSource",
    "PoseSource",
    "PoseSourceSection",
    "RandomWalkPoses",
    "ReceivedPoses",
    "ServoPoses",
    "StaticPoses",
    "SweepPoses",
    "WaypointPoses",
    "XrayFilePoses",
    "read_waypoints",
]

if not TYPE_CHECKING:  # a type checker is to miss a name that is not there
    __getattr__, __dir__ = lazy_names(__name__)
