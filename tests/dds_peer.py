"""The other process in tests over DDS.

`listen` counts images and prints a line for every tenth, `poses` sends poses and prints one for
every tenth, `status` prints each new state of a part, `control` sets controls and says so, `clock`
sends simulated time with poses of it, `stamps` sends a pose for each stamp it is given, `extremes`
sends messages whose stamps are outside their range, each before a good one.
"""

import itertools
import sys
import time

from fluoro.config import DdsConfig
from fluoro.geometry.carm import CarmPose
from fluoro.interop.dds import qos
from fluoro.interop.dds.node import DdsNode, ros_topic
from fluoro.interop.dds.pose_messages import pose_message
from fluoro.interop.dds.ros_diagnostic import DiagnosticArray, KeyValue
from fluoro.interop.dds.ros_geometry import PoseStamped
from fluoro.interop.dds.ros_sensor import Image, JointState
from fluoro.interop.dds.ros_std import Clock, Header, Time
from fluoro.interop.dds.timestamps import stamp_of
from fluoro.poses.dds import CARM_JOINTS

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


def send_stamps(node, kind, period_s, stamps):
    """The zero pose with each of the stamps `sec.nanosec`, then with times after the last one."""
    send, _ = sender(node, kind)
    for number in itertools.count():
        sec, _, nanosec = stamps[min(number, len(stamps) - 1)].partition(".")
        last = max(0, number - len(stamps) + 1)
        send(Time(sec=int(sec), nanosec=int(nanosec or 0) + last))
        say(f"sent {number + 1}")
        time.sleep(period_s)


EXTREMES = ((2**31 - 1, 2**32 - 1), (-1, 0), (-(2**31), 5), (0, 10**9))


def send_extremes(node, kind):
    """In turn each stamp that is none and the time of day."""
    send, wait_for_reader = sender(node, kind)
    wait_for_reader()
    for sec, nanosec in itertools.cycle(EXTREMES):
        send(Time(sec=sec, nanosec=nanosec))
        time.sleep(PERIOD_S)
        if kind == "clock":  # with a pose, as frames need one
            continue
        send(stamp_of(time.time_ns()))
        time.sleep(PERIOD_S)


def sender(node, kind):
    """What sends a message with a stamp, and what waits until somebody listens."""
    topics = {"pose": "/carm/pose", "joints": "/carm/pose", "clock": "/clock"}
    types = {"pose": PoseStamped, "joints": JointState, "clock": Clock}
    writer = node.writer(ros_topic(topics[kind]), types[kind], qos.reliable(1000))

    def send(stamp):
        header = Header(stamp=stamp, frame_id="patient")
        if kind == "pose":
            message = pose_message(CarmPose(), (0, 0, 0), 0)
            message.header = header
        elif kind == "joints":
            message = JointState(header, [j.name for j in CARM_JOINTS], [0.0] * 6, [], [])
        else:
            message = Clock(clock=stamp)
        writer.write(message)

    def wait_for_reader():
        while not writer.readers():
            time.sleep(PERIOD_S)

    return send, wait_for_reader


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


def send_poses(node, lao_deg, ahead_s=0.0):
    writer = node.writer(ros_topic("/carm/pose"), PoseStamped, qos.reliable())
    count = 0
    while True:
        time_ns = time.time_ns() + round(ahead_s * 1e9)
        writer.write(pose_message(CarmPose(lao_deg=lao_deg), (0, 0, 0), time_ns))
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
        case "stamps":
            send_stamps(node, rest[0], float(rest[1]), rest[2:])
        case "extremes":
            send_extremes(node, rest[0])
        case "control":
            set_controls(node, rest)
        case "poses":
            send_poses(node, *map(float, rest))
