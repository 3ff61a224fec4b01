"""The truth of a frame as ROS 2 nodes know it: a label image, and boxes with names."""

from __future__ import annotations

import numpy as np

from fluoro.annotations.boxes import FrameBoxes
from fluoro.annotations.masks import FrameMasks
from fluoro.interop.dds.image_messages import CAMERA_FRAME
from fluoro.interop.dds.ros_geometry import Point, Pose, Quaternion
from fluoro.interop.dds.ros_sensor import Image
from fluoro.interop.dds.ros_vision import (
    BoundingBox2D,
    Detection2D,
    Detection2DArray,
    ObjectHypothesis,
    ObjectHypothesisWithPose,
    Point2D,
    Pose2D,
    PoseWithCovariance,
)
from fluoro.interop.dds.timestamps import header_of

__all__ = ["detections_message", "label_message"]

NO_POSE = PoseWithCovariance(
    pose=Pose(
        position=Point(x=0.0, y=0.0, z=0.0), orientation=Quaternion(x=0.0, y=0.0, z=0.0, w=1.0)
    ),
    covariance=[0.0] * 36,
)
"""Boxes say where a structure is in the image, not in space."""


def label_message(masks: FrameMasks, time_ns: int) -> Image:
    """Return the label image as mono8: 1, 2, ... in the order of the structures, 0 for none.

    A pixel with several structures has the smallest of them.
    """
    pixels = np.ascontiguousarray(masks.label_image())
    height, width = pixels.shape
    return Image(
        header=header_of(time_ns, CAMERA_FRAME),
        height=height,
        width=width,
        encoding="mono8",
        is_bigendian=0,
        step=width,
        data=pixels.data.cast("B"),
    )


def detections_message(boxes: FrameBoxes, time_ns: int) -> Detection2DArray:
    """Return the boxes in the image; `class_id` is a structure's name, `id` its number."""
    header = header_of(time_ns, CAMERA_FRAME)
    found = []
    for each, box in zip(boxes.structures, boxes.boxes_px, strict=True):
        if box is None:
            continue
        left, top, right, bottom = box
        center = Pose2D(position=Point2D(x=(left + right) / 2, y=(top + bottom) / 2), theta=0.0)
        result = ObjectHypothesisWithPose(
            hypothesis=ObjectHypothesis(class_id=each.name, score=1.0), pose=NO_POSE
        )
        found.append(
            Detection2D(
                header=header,
                results=[result],
                bbox=BoundingBox2D(center=center, size_x=right - left, size_y=bottom - top),
                id=str(each.number),
            )
        )
    return Detection2DArray(header=header, detections=found)
