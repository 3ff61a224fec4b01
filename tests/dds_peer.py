"""The other process in tests over DDS.

`listen` counts pictures and prints a line for every tenth, `poses` sends poses and prints one for
every tenth, `status` prints each new state of a part, `control` sets controls and says so, `clock`
sends simulated time with poses of it.
"""

import itertools
import sys
import time

from fluoro.config import DdsConfig
from fluoro.dds import qos
from fluoro.dds.node import DdsNode, ros_topic
from fluoro.dds.pose_messages import pose_message
from fluoro.dds.ros_diagnostic import DiagnosticArray, KeyValue
from fluoro.dds.ros_geometry import PoseStamped
from fluoro.dds.ros_sensor import Image
from fluoro.dds.ros_std import Clock
from fluoro.dds.stamps import stamp_of
from fluoro.geometry.carm import CarmPose

PERIOD_S = 0.01


def say(line):
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def tell_status(node):
    told = set()

    def on_status(message, _writer):
        for part in message.status:
            values = {pair.key: pair.value for pair in part.values}
            line = f"{part.name}: {part.message} (frames {values.get('frames', '-')})"
            if line not in told:
                told.add(line)
                say(line)

    node.listen(ros_topic("/diagnostics"), DiagnosticArray, qos.reliable(), on_status)
    while True:
        time.sleep(1)


def send_clock(node, start_s):
    """Simulated time that runs at a hundredth of the machine's, and poses stamped by it."""
    clocks = node.writer(ros_topic("/clock"), Clock, qos.reliable())
    poses = node.writer(ros_topic("/carm/pose"), PoseStamped, qos.reliable())
    for tick in itertools.count():
        time_ns = start_s * 10**9 + tick * 10**5
        clocks.write(Clock(clock=stamp_of(time_ns)))
        poses.write(pose_message(CarmPose(lao_deg=tick * 0.01), (0, 0, 0), time_ns))
        time.sleep(PERIOD_S)


def set_controls(node, pairs):
    writer = node.writer(ros_topic("/fluoro/control"), KeyValue, qos.reliable(100))
    while not writer.readers():
        time.sleep(0.01)
    for pair in pairs:
        key, _, value = pair.partition("=")
        writer.write(KeyValue(key=key, value=value))
    say("set")
    time.sleep(60)


def listen(node):
    count = 0

    def on_image(_image, _writer):
        nonlocal count
        count += 1
        if count % 10 == 0:
            say(f"images {count}")

    node.listen(ros_topic("/fluoro/image_raw"), Image, qos.reliable(), on_image)
    while True:
        time.sleep(1)


def send_poses(node, lao_deg):
    writer = node.writer(ros_topic("/carm/pose"), PoseStamped, qos.reliable())
    count = 0
    while True:
        writer.write(pose_message(CarmPose(lao_deg=lao_deg), (0, 0, 0), time.time_ns()))
        count += 1
        if count % 10 == 0:
            say(f"poses {count}")
        time.sleep(PERIOD_S)


if __name__ == "__main__":
    what, domain, *rest = sys.argv[1:]
    node = DdsNode(DdsConfig(domain=int(domain)))
    match what:
        case "listen":
            listen(node)
        case "status":
            tell_status(node)
        case "clock":
            send_clock(node, int(rest[0]))
        case "control":
            set_controls(node, rest)
        case "poses":
            send_poses(node, float(rest[0]))
