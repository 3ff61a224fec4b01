"""Poses over DDS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, Strict, model_validator

from fluoro.config.schema_rules import Rule, absent_or, at, const, never, rules, when
from fluoro.config.section import Finite, Section, Topic, Vector
from fluoro.config.validation_errors import KeyValueError
from fluoro.geometry.carm_joints import CARM_CHAIN
from fluoro.names import JointKind, Orientation, PoseMessage, PositionUnit
from fluoro.poses.base import PoseLinks, PoseSetup, PoseSource
from fluoro.poses.received import DELAY_NEEDS_CLOCK, ReceivedPoses, ReceivedSource

if TYPE_CHECKING:
    from fluoro.config import Config
    from fluoro.interop.pose_feed import PoseFeed

__all__ = ["CARM_JOINTS", "DdsPoses", "JointConfig"]


class JointConfig(Section):
    """One joint of the chain that carries the C-arm, base first."""

    model_config = rules(
        never(at("axis", const([0, 0, 0]))),
    )

    name: str = Field(description="As the message names it.")
    kind: JointKind = Field(description="Turns [rad] or slides [m].")
    axis: Vector = Field(description="Direction in the frame of the joint before it.")
    offset_mm: Vector = Field((0.0, 0.0, 0.0), description="From the joint before it [mm].")
    zero: Finite = Field(0.0, description="Joint value at which the chain stands straight.")

    @model_validator(mode="after")
    def _has_a_direction(self) -> JointConfig:
        if not any(self.axis):
            raise KeyValueError("axis", "must have a length, got 0, 0, 0")
        return self


CARM_JOINTS = tuple(JointConfig(name=name, kind=kind, axis=axis) for name, kind, axis in CARM_CHAIN)
"""The C-arm's own chain, joint by joint."""


class DdsPoses(ReceivedPoses):
    """Poses from a robot, a simulation or a ROS 2 node over DDS; the newest counts."""

    model_config = rules(
        DELAY_NEEDS_CLOCK,
        never(absent_or("message", {"not": const("i4h")}), at("position_unit", {})),
        never(absent_or("message", {"not": const("i4h")}), at("orientation", {})),
        never(absent_or("message", {"not": const("joint_state")}), at("joints", {})),
    )

    kind: Literal["dds"]
    message: PoseMessage = Field(
        "pose_stamped",
        description="geometry_msgs/PoseStamped of the frame carm in the frame patient, "
        "sensor_msgs/JointState, or i4h's position and orientation.",
    )
    topic: Topic = Field("/carm/pose", description="ROS 2's name; of i4h the name on the wire.")
    position_unit: PositionUnit = Field("m", description="Of i4h's position.")
    orientation: Orientation = Field(
        "xyzw", description="Order of i4h's quaternion, or turns about the fixed x, y and z."
    )
    joints: Annotated[tuple[JointConfig, ...], Strict(False), Field(min_length=1)] = Field(
        CARM_JOINTS, description="Chain from the isocentre to the C-arm, for joint_state."
    )

    @model_validator(mode="after")
    def _keys_have_effect(self) -> DdsPoses:
        belongs = {
            "position_unit": self.message == "i4h",
            "orientation": self.message == "i4h",
            "joints": self.message == "joint_state",
        }
        for key in sorted(self.model_fields_set & belongs.keys()):
            if not belongs[key]:
                raise KeyValueError(key, f"has no effect with message: {self.message}")
        return self

    @classmethod
    def by_time(cls) -> bool:
        """Return False: a frame has the pose that was sent."""
        return False

    @classmethod
    def file_rules(cls) -> tuple[Rule, ...]:
        """Return the rule that the frames of lockstep are sent."""
        kind, lockstep = const("dds"), const("lockstep")
        source = at("pose_source.kind", kind), at("pose_source.trigger", lockstep)
        return (when(*source, then=at("dds.frames")),)

    def check_file(self, config: Config) -> None:
        """Check that the frames of lockstep are sent.

        Raises:
            KeyValueError: `dds.frames` is not given.
        """
        if self.lockstep and not config.dds.frames:
            raise KeyValueError("pose_source.trigger", "lockstep needs dds.frames")

    def make(self, setup: PoseSetup) -> PoseSource:
        """Return the poses of the topic."""

        def open_feed(links: PoseLinks) -> PoseFeed:
            node = links.dds("pose_source.kind: dds")
            from fluoro.interop.dds.dds_pose_feed import DdsPoseFeed

            return DdsPoseFeed(node, self, setup.isocenter_xyz_mm, setup.limits)

        return ReceivedSource(self, open_feed)
