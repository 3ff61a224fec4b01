"""A node as rmw_cyclonedds makes one: Cyclone DDS with the XML that it writes for a setting.

usage: rmw_cyclonedds_node.py DOMAIN SETTING SECONDS

It sends poses and hears images; it prints `open`, `writer` when a reader of its poses is matched,
and `image` for each image. The XML is that of check_create_domain in rmw_cyclonedds_cpp's
src/rmw_node.cpp, branches humble (default, localhost_only) and jazzy (subnet; localhost; peer:
ROS_STATIC_PEERS); `documented` is what docs/hardware_in_the_loop.md has for CYCLONEDDS_URI.
"""

import re
import sys
import time
from pathlib import Path
from unittest import mock

from fluoro.config import DdsConfig
from fluoro.geometry.carm import CarmPose
from fluoro.interop.dds import node as dds_node
from fluoro.interop.dds import qos
from fluoro.interop.dds.pose_messages import pose_message
from fluoro.interop.dds.ros_geometry import PoseStamped
from fluoro.interop.dds.ros_sensor import Image

PAGE = Path(__file__).parents[2] / "docs" / "hardware_in_the_loop.md"
INDEX = (
    "<ParticipantIndex>auto</ParticipantIndex><MaxAutoParticipantIndex>32</MaxAutoParticipantIndex>"
)
ALONE = "<General><AllowMulticast>false</AllowMulticast></General>"
PEER = '<Discovery>{}<Peers><Peer address="{}"/></Peers></Discovery>'
XML = {
    "localhost_only": '<General><Interfaces><NetworkInterface address="127.0.0.1"/></Interfaces>'
    "</General>",
    "localhost": ALONE + PEER.format(INDEX, "localhost"),
    "peer": PEER.format(INDEX, "127.0.0.1"),
    "peer 10.77.0.1": PEER.format(INDEX, "10.77.0.1"),
    "default": "",
    "subnet": f"<Discovery>{INDEX}</Discovery>",
}


def xml_of(setting):
    if setting == "documented":
        return re.search(r"CYCLONEDDS_URI='(.*?)'", PAGE.read_text(), re.DOTALL)[1]
    return f"<CycloneDDS><Domain>{XML[setting]}</Domain></CycloneDDS>"


def say(word):
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def main(domain, setting, seconds):
    with mock.patch.object(dds_node, "cyclone_xml", return_value=xml_of(setting)):
        node = dds_node.DdsNode(DdsConfig(domain=domain))
    say("open")
    node.listen("rt/fluoro/image_raw", Image, qos.reliable(), lambda *_: say("image"))
    poses = node.writer("rt/carm/pose", PoseStamped, qos.reliable())
    end_s, matched = time.monotonic() + seconds, False
    while time.monotonic() < end_s:
        poses.write(pose_message(CarmPose(lao_deg=10.0), (0, 0, 0), time.time_ns()))
        if poses.readers() and not matched:
            matched = True
            say("writer")
        time.sleep(0.02)
    node.close()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], float(sys.argv[3]))
