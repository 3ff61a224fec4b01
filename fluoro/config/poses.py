"""The section `pose_source`: where the C-arm stands from frame to frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fluoro.config.plugin_sections import by_kind, kinds
from fluoro.poses.bag import BagPoses
from fluoro.poses.base import PoseConfig, PoseSourceSection
from fluoro.poses.console import ConsolePoses
from fluoro.poses.dds import DdsPoses, JointConfig
from fluoro.poses.igtl import IgtlPoses
from fluoro.poses.orbit import OrbitPoses
from fluoro.poses.random_walk import RandomWalkPoses
from fluoro.poses.received import ReceivedPoses
from fluoro.poses.servo import ServoPoses
from fluoro.poses.static import StaticPoses
from fluoro.poses.sweep import SweepPoses
from fluoro.poses.waypoints import WaypointPoses
from fluoro.poses.xray_file import XrayFilePoses

__all__ = [
    "POSE_SOURCES",
    "BagPoses",
    "ConsolePoses",
    "DdsPoses",
    "IgtlPoses",
    "JointConfig",
    "OrbitPoses",
    "PoseConfig",
    "PoseSourceConfig",
    "RandomWalkPoses",
    "ReceivedPoses",
    "ServoPoses",
    "StaticPoses",
    "SweepPoses",
    "WaypointPoses",
    "XrayFilePoses",
]

BUILT_IN: tuple[type[PoseSourceSection], ...] = (
    StaticPoses,
    SweepPoses,
    OrbitPoses,
    WaypointPoses,
    RandomWalkPoses,
    ConsolePoses,
    DdsPoses,
    IgtlPoses,
    BagPoses,
    ServoPoses,
    XrayFilePoses,
)
"""Fluoro's own pose sources; a new one is added here."""

POSE_SOURCES = kinds("pose_sources", PoseSourceSection, BUILT_IN)
"""Every pose source, those of plugins last."""

if TYPE_CHECKING:
    PoseSourceConfig = PoseSourceSection
else:
    PoseSourceConfig = by_kind(POSE_SOURCES)
