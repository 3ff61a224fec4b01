"""The other process in tests of faults: `listen` counts pictures, `poses` sends them.

Prints a line for every tenth picture, or for every tenth pose sent.
"""

import sys
import time

from fluoro.config import DdsConfig
from fluoro.dds import qos
from fluoro.dds.node import DdsNode, ros_topic
from fluoro.dds.pose_messages import pose_message
from fluoro.dds.ros_geometry import PoseStamped
from fluoro.dds.ros_sensor import Image
from fluoro.geometry.carm import CarmPose

PERIOD_S = 0.01


def listen(node):
    count = 0

    def on_image(_image, _writer):
        nonlocal count
        count += 1
        if count % 10 == 0:
            sys.stdout.write(f"images {count}\n")
            sys.stdout.flush()

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
            sys.stdout.write(f"poses {count}\n")
            sys.stdout.flush()
        time.sleep(PERIOD_S)


if __name__ == "__main__":
    what, domain, *rest = sys.argv[1:]
    node = DdsNode(DdsConfig(domain=int(domain)))
    if what == "listen":
        listen(node)
    else:
        send_poses(node, float(rest[0]))
