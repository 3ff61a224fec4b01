"""fluoro's side of the tests with foreign ROS 2 nodes: frames out and poses in, without a CT.

usage: ros2_simulator.py DDS_CONFIG_AS_JSON SIZE_PX HZ

Prints `adler ENCODING CHECKSUM` when it is open, `pose LAO_DEG` for the first pose, `reader` for
the first reader of images, `hint TEXT` and `images HINT` when a hint changes, and `figures JSON`
each second.
"""

import json
import sys
import time
import zlib
from itertools import count

import numpy as np

from fluoro.config import CarmConfig, DdsConfig, DdsPoses
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.geometry.from_config import make_limits
from fluoro.imaging.frame import FluoroFrame
from fluoro.interop.dds.dds_pose_feed import DdsPoseFeed
from fluoro.interop.dds.image_messages import image_message
from fluoro.interop.dds.node import DdsNode
from fluoro.interop.frame_publisher import FrameSink

ORIGIN = (0.0, 0.0, 0.0)


def say(*words):
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def teller():
    """What says a thing when it has changed."""
    last = {}

    def tell(name, *words):
        if last.get(name) != words:
            last[name] = words
            say(name, *words)

    return tell


def main(config, size_px, hz):
    node = DdsNode(config)
    sink = FrameSink(node, config.frames, ORIGIN, time.time_ns)
    feed = DdsPoseFeed(node, DdsPoses(kind="dds"), ORIGIN, make_limits(CarmConfig()))
    geometry = CarmGeometry(detector_width_px=size_px, detector_height_px=size_px)
    image = np.random.default_rng(1).random((size_px, size_px), np.float32)
    data = image_message(image, config.frames.encoding, 0).data
    tell, next_s = teller(), time.monotonic()
    tell("adler", config.frames.encoding, f"{zlib.adler32(data):08x}")
    for number in count():
        time.sleep(max(0.0, next_s - time.monotonic()))
        next_s += 1 / hz
        header = {"number": number, "pose": CarmPose(), "geometry": geometry}
        sink.send(FluoroFrame(image=image, stamps_ns={}, origin=None, **header))
        if sink.readers():
            tell("reader")
        if pose := feed.latest():
            tell("pose", round(pose.pose.lao_deg, 3))
        tell("hint", feed.hint())
        tell("images", sink.hint())
        if number % round(hz) == 0:
            tell("counts", json.dumps(feed.counts() | {"sent": sink.sent, "lost": sink.lost}))


if __name__ == "__main__":
    main(DdsConfig.model_validate_json(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
