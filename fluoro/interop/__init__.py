"""Links to other programs: DDS and ROS 2, bags, OpenIGTLink."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fluoro.lazy_names import lazy_names

if TYPE_CHECKING:
    from fluoro.interop.bag.bag_repair import repair_bag
    from fluoro.interop.bag.mcap_bag import BagImages, BagWriter, read_poses
    from fluoro.interop.dds.node import DdsNode
    from fluoro.interop.igtl.igtl_server import IgtlServer
    from fluoro.interop.pose_feed import PoseFeed, ReceivedPose
    from fluoro.interop.refusals import FieldError, Refusals, RefusedError

__all__ = [
    "BagImages",
    "BagWriter",
    "DdsNode",
    "FieldError",
    "IgtlServer",
    "PoseFeed",
    "ReceivedPose",
    "Refusals",
    "RefusedError",
    "read_poses",
    "repair_bag",
]

if not TYPE_CHECKING:  # a type checker is to miss a name that is not there
    __getattr__, __dir__ = lazy_names(__name__)
