#!/usr/bin/env python3
"""A robot in plain Python, without ROS 2 and without fluoro: sends poses and receives frames.

    app.py run configs/robot.yaml                    the simulator, in one terminal
    python -m pip install 'cyclonedds==11.0.1' numpy
    python examples/dds_client.py --frames 100       this program, in another

It turns the C-arm between LAO 30 and RAO 30, and prints the latency of every tenth frame.
Programs in other languages take their messages from fluoro/interop/dds/idl/ros2.idl.
"""

import argparse
import math
import os
import time
from dataclasses import dataclass

import numpy as np
from cyclonedds.core import Policy, Qos
from cyclonedds.domain import DomainParticipant
from cyclonedds.idl import IdlStruct
from cyclonedds.idl.annotations import final
from cyclonedds.idl.types import float64, int32, sequence, uint8, uint32
from cyclonedds.pub import DataWriter
from cyclonedds.sub import DataReader
from cyclonedds.topic import Topic
from cyclonedds.util import duration

LOOPBACK = """<CycloneDDS><Domain Id="any">
  <General><Interfaces><NetworkInterface name="lo"/></Interfaces></General>
  <Discovery><ParticipantIndex>auto</ParticipantIndex><MaxAutoParticipantIndex>30</MaxAutoParticipantIndex>
    <Peers><Peer address="127.0.0.1"/></Peers></Discovery>
</Domain></CycloneDDS>"""
"""The simulator listens on the loopback interface unless `dds.interface` names another."""
NEWEST = Qos(Policy.Reliability.Reliable(0), Policy.History.KeepLast(1))


@dataclass
@final
class Time(IdlStruct, typename="builtin_interfaces::msg::dds_::Time_"):
    """Seconds and nanoseconds since 1970."""

    sec: int32
    nanosec: uint32


@dataclass
@final
class Header(IdlStruct, typename="std_msgs::msg::dds_::Header_"):
    """Time and frame of reference."""

    stamp: Time
    frame_id: str


@dataclass
@final
class Point(IdlStruct, typename="geometry_msgs::msg::dds_::Point_"):
    """Position [m]."""

    x: float64
    y: float64
    z: float64


@dataclass
@final
class Quaternion(IdlStruct, typename="geometry_msgs::msg::dds_::Quaternion_"):
    """Unit quaternion."""

    x: float64
    y: float64
    z: float64
    w: float64


@dataclass
@final
class Pose(IdlStruct, typename="geometry_msgs::msg::dds_::Pose_"):
    """Position and orientation."""

    position: Point
    orientation: Quaternion


@dataclass
@final
class PoseStamped(IdlStruct, typename="geometry_msgs::msg::dds_::PoseStamped_"):
    """Pose of the C-arm in the patient's frame."""

    header: Header
    pose: Pose


@dataclass
@final
class Image(IdlStruct, typename="sensor_msgs::msg::dds_::Image_"):
    """A frame; its stamp is that of the pose."""

    header: Header
    height: uint32
    width: uint32
    encoding: str
    is_bigendian: uint8
    step: uint32
    data: sequence[uint8]


def pose_at(lao_deg: float, time_ns: int) -> PoseStamped:
    """Return a pose at the isocentre (0, 0, 0), that of the phantoms; LAO is a turn about z."""
    half = math.radians(lao_deg) / 2
    turn = Quaternion(0.0, 0.0, math.sin(half), math.cos(half))
    stamp = Time(time_ns // 10**9, time_ns % 10**9)
    return PoseStamped(Header(stamp, "patient"), Pose(Point(0.0, 0.0, 0.0), turn))


def next_frame(images: DataReader) -> Image | None:
    """Return the next frame, or None after 0.1 s without one."""
    try:
        return images.take_one(timeout=duration(milliseconds=100))
    except StopIteration:
        return None


def age_ms(frame: Image) -> float:
    """Return the time since the pose of the frame was sent [ms]."""
    stamp = frame.header.stamp
    return (time.time_ns() - stamp.sec * 10**9 - stamp.nanosec) * 1e-6


def main() -> None:
    """Send a pose, wait for its frame, and go on until enough frames have come."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--domain", type=int, default=42, help="that of dds.domain")
    parser.add_argument("--frames", type=int, default=100)
    arguments = parser.parse_args()
    os.environ.setdefault("CYCLONEDDS_URI", LOOPBACK)
    participant = DomainParticipant(arguments.domain)
    poses = DataWriter(participant, Topic(participant, "rt/carm/pose", PoseStamped), qos=NEWEST)
    image_topic = Topic(participant, "rt/fluoro/image_raw", Image)
    images = DataReader(participant, image_topic, qos=NEWEST)
    count, begin_s = 0, time.time()
    while count < arguments.frames:
        poses.write(pose_at(30 * math.sin(time.time() - begin_s), time.time_ns()))
        frame = next_frame(images)
        if frame is None:
            continue  # the simulator is not there yet
        latency_ms = age_ms(frame)
        pixels = np.frombuffer(bytes(frame.data), np.uint8).reshape(frame.height, frame.width)
        if count % 10 == 0:
            print(f"{count:5d}  {pixels.shape}  mean {pixels.mean():5.1f}  {latency_ms:5.1f} ms")
        count += 1
        time.sleep(1 / 30)


if __name__ == "__main__":
    main()
