"""The section `pose_source`: where the C-arm stands from frame to frame."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, Strict, model_validator

from fluoro.config.schema_rules import absent_or, at, const, never, rules
from fluoro.config.section import (
    Angle,
    Duration,
    FilePath,
    Finite,
    Range,
    Section,
    Sigma,
    Topic,
    Turn,
    Vector,
)
from fluoro.mistakes import KeyValueError
from fluoro.names import JointKind, OnSilence, Orientation, PoseMessage, PositionUnit, Trigger

__all__ = [
    "CARM_JOINTS",
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
]


class PoseConfig(Section):
    """One pose of the C-arm."""

    lao_deg: Angle = Field(0.0, description="Primary angle, + LAO, - RAO [degrees].")
    cra_deg: Angle = Field(0.0, description="Secondary angle, + cranial, - caudal [degrees].")
    roll_deg: Angle = Field(0.0, description="Detector roll about the beam [degrees].")
    translation_mm: Vector = Field((0.0, 0.0, 0.0), description="C-arm shift, world LPS [mm].")


class StaticPoses(PoseConfig):
    """The same pose for every frame."""

    kind: Literal["static"]


class SweepPoses(Section):
    """A there-and-back sweep of the primary angle, then one of the secondary; smooth at the ends.

    Each sweep starts and ends at the angle nearest to 0 of its range, so that they join.
    """

    kind: Literal["sweep"]
    lao_range_deg: Range = Field((-40.0, 40.0), description="Ends of the RAO/LAO sweep [degrees].")
    cra_range_deg: Range = Field((0.0, 25.0), description="Ends of the CAU/CRA sweep [degrees].")
    roll_deg: Angle = Field(0.0, description="Detector roll about the beam [degrees].")
    translation_mm: Vector = Field((0.0, 0.0, 0.0), description="C-arm shift, world LPS [mm].")
    period_s: Duration = Field(10.0, description="Duration of both sweeps together [s].")


class OrbitPoses(Section):
    """A turn about the patient's long axis at constant speed."""

    kind: Literal["orbit"]
    start_deg: Angle = Field(-90.0, description="First primary angle [degrees].")
    degrees_per_second: Turn = Field(30.0, description="Angular velocity, + towards LAO.")
    cra_deg: Angle = Field(0.0, description="Secondary angle [degrees].")
    roll_deg: Angle = Field(0.0, description="Detector roll about the beam [degrees].")
    translation_mm: Vector = Field((0.0, 0.0, 0.0), description="C-arm shift, world LPS [mm].")


class WaypointPoses(Section):
    """Poses from a file, interpolated in SE(3) between their times: each turn the shorter way.

    CSV with a header line, or JSON with a list of objects; columns `time_s`, `lao_deg`,
    `cra_deg`, and optionally `roll_deg`, `x_mm`, `y_mm`, `z_mm`.
    """

    kind: Literal["waypoints"]
    path: FilePath = Field(description="CSV or JSON file, relative to the YAML file.")
    repeat: bool = Field(False, description="Start again after the last one; else hold it.")


class RandomWalkPoses(Section):
    """A smooth random walk (stationary Gaussian process) about a pose; the same for a run seed."""

    kind: Literal["random_walk"]
    center: PoseConfig = Field(PoseConfig(), description="Pose about which it walks.")
    angle_sigma_deg: Sigma = Field(10.0, description="Standard deviation of each angle.")
    translation_sigma_mm: Sigma = Field(10.0, description="Standard deviation of each axis.")
    correlation_s: Duration = Field(2.0, description="Correlation time [s].")


class ConsolePoses(PoseConfig):
    """The console's sliders set the pose, starting from this one; needs the console enabled."""

    kind: Literal["console"]


class BagPoses(Section):
    """Poses of a ROS 2 bag by their stamps, interpolated between them; or its pictures too."""

    model_config = rules(
        never(at("pictures"), at("repeat", const(True))),
    )

    kind: Literal["bag"]
    path: FilePath = Field(description="The bag, a folder, relative to the YAML file.")
    topic: Topic = Field("/fluoro/carm_pose", description="Topic of PoseStamped.")
    pictures: Topic | None = Field(
        None,
        description="Topic of Image: its pictures, each with the pose of its stamp, take the place "
        "of rendered ones; null: none do.",
    )
    repeat: bool = Field(False, description="Start again after the last one; else hold it.")

    @model_validator(mode="after")
    def _pictures_come_once(self) -> BagPoses:
        if self.pictures and self.repeat:
            raise KeyValueError("repeat", "has no effect with pictures")
        return self


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


CARM_JOINTS = (
    JointConfig(name="carm_x", kind="prismatic", axis=(1.0, 0.0, 0.0)),
    JointConfig(name="carm_y", kind="prismatic", axis=(0.0, 1.0, 0.0)),
    JointConfig(name="carm_z", kind="prismatic", axis=(0.0, 0.0, 1.0)),
    JointConfig(name="carm_lao", kind="revolute", axis=(0.0, 0.0, 1.0)),
    JointConfig(name="carm_cra", kind="revolute", axis=(-1.0, 0.0, 0.0)),
    JointConfig(name="carm_roll", kind="revolute", axis=(0.0, 1.0, 0.0)),
)
"""The C-arm's own chain: `world_from_carm` of docs/conventions.md, joint by joint."""


_DELAY_NEEDS_CLOCK = never(
    absent_or("trigger", const("pose", "lockstep")), at("interpolation_delay_ms")
)


class ReceivedPoses(Section):
    """Poses that somebody sends; the newest counts."""

    model_config = rules(
        _DELAY_NEEDS_CLOCK,
    )

    trigger: Trigger = Field(
        "pose",
        description="pose: a frame for the newest pose as it comes; clock: run.fps sets the pace, "
        "the newest pose holds; lockstep: exactly one frame for each pose, in their order.",
    )
    interpolation_delay_ms: Annotated[float, Field(gt=0, le=10_000)] | None = Field(
        None,
        description="With trigger clock: show the pose of so long ago, interpolated between "
        "those that came; null: the newest as it is.",
    )
    watchdog_ms: Annotated[float, Field(ge=20, le=600_000)] = Field(
        500.0, description="Without a good pose for so long, on_silence happens."
    )
    on_silence: OnSilence = Field(
        "hold",
        description="hold: the last pose stays; blank: a black frame, none after it; "
        "stop: the run ends.",
    )
    max_jump_deg: Annotated[float, Field(gt=0, le=360)] = Field(
        30.0, description="A pose turned further than this from the last one is refused."
    )
    max_jump_mm: Annotated[float, Field(gt=0, le=100_000)] = Field(
        100.0, description="A pose moved further than this from the last one is refused."
    )

    @model_validator(mode="after")
    def _delay_has_effect(self) -> ReceivedPoses:
        if self.interpolation_delay_ms is not None and self.trigger != "clock":
            raise KeyValueError(
                "interpolation_delay_ms", f"has no effect with trigger: {self.trigger}"
            )
        return self


class DdsPoses(ReceivedPoses):
    """Poses from a robot, a simulation or a ROS 2 node over DDS; the newest counts."""

    model_config = rules(
        _DELAY_NEEDS_CLOCK,
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


class IgtlPoses(ReceivedPoses):
    """Poses by OpenIGTLink: TRANSFORM messages of a client, mm and RAS; needs `igtl`."""

    model_config = rules(
        _DELAY_NEEDS_CLOCK,
        never(at("trigger", const("lockstep"))),
    )

    kind: Literal["igtl"]
    device: Annotated[str, Field(min_length=1, max_length=20)] = Field(
        "CarmToPatient", description="Device name of the messages; others are left alone."
    )

    @model_validator(mode="after")
    def _drops_frames(self) -> IgtlPoses:
        if self.trigger == "lockstep":
            raise KeyValueError("trigger", "lockstep needs kind: dds")
        return self


class ServoPoses(PoseConfig):
    """Drives the C-arm from this pose to a wanted view, by what its pictures tell.

    The C-arm does not know this pose: `registration` estimates where it stands, picture by
    picture, and each estimate decides the next step.
    """

    kind: Literal["servo"]
    wanted: PoseConfig = Field(description="View to drive to.")
    tolerance_mm: Annotated[float, Field(gt=0, le=100)] = Field(
        1.0, description="mTRE to the wanted view at which it is reached [mm]."
    )
    step_mm: Annotated[float, Field(gt=0, le=1000)] = Field(
        15.0, description="Longest move from frame to frame, in the mTRE's sense [mm]."
    )


PoseSourceConfig = Annotated[
    StaticPoses
    | SweepPoses
    | OrbitPoses
    | WaypointPoses
    | RandomWalkPoses
    | ConsolePoses
    | DdsPoses
    | IgtlPoses
    | BagPoses
    | ServoPoses,
    Field(discriminator="kind"),
]
