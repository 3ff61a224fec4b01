"""Frames as ROS 2 nodes know them: image, camera, where the C-arm stood, and when what happened."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from fluoro.annotations.truth import FrameTruth
from fluoro.config import DdsFramesConfig
from fluoro.geometry.projection import View, camera_matrices
from fluoro.imaging.frame import FluoroFrame
from fluoro.interop.dds import qos
from fluoro.interop.dds.image_messages import camera_info_message, compressed_message, image_message
from fluoro.interop.dds.node import DdsNode, Writer, ros_topic
from fluoro.interop.dds.pose_messages import PATIENT_FRAME, matrix_message, pose_message
from fluoro.interop.dds.ros_diagnostic import DiagnosticArray, DiagnosticStatus, KeyValue, Level
from fluoro.interop.dds.ros_geometry import PoseStamped
from fluoro.interop.dds.ros_sensor import CameraInfo, CompressedImage, Image
from fluoro.interop.dds.ros_vision import Detection2DArray
from fluoro.interop.dds.timestamps import header_of
from fluoro.interop.ros_transforms import RosTransforms
from fluoro.interop.truth_messages import detections_message, label_message
from fluoro.names import Encoding, PatientPosition

if TYPE_CHECKING:
    from fluoro.interop.bag.mcap_bag import BagNode, BagWriter

__all__ = ["RosFrames", "frame_info_message"]


class RosFrames:
    """Writes each frame as messages that carry one stamp, so that receivers join them by it.

    Args:
        node: The participant, or a bag.
        config: Names and encoding.
        isocenter_xyz_mm: Isocentre of the untranslated C-arm, patient LPS [mm].
        patient_position: How the patient lies on the table.
        time_ns: Stamp of the transforms that stay.
    """

    def __init__(
        self,
        node: DdsNode | BagNode,
        config: DdsFramesConfig,
        isocenter_xyz_mm: Sequence[float],
        patient_position: PatientPosition,
        time_ns: int,
    ) -> None:
        self._config, self._isocenter_xyz_mm = config, isocenter_xyz_mm

        def name(last: str) -> str:
            return ros_topic(f"{config.prefix}/{last}")

        self.images: Writer[Image] | BagWriter[Image] = node.writer(
            name("image_raw"), Image, qos.frames()
        )
        self._infos = node.writer(name("camera_info"), CameraInfo, qos.reliable())
        self._carm = node.writer(name("carm_pose"), PoseStamped, qos.reliable())
        self._camera = node.writer(name("camera_pose"), PoseStamped, qos.reliable())
        self._frame_info = node.writer(name("frame_info"), DiagnosticArray, qos.reliable())
        self._jpegs = (
            node.writer(name("image_raw/compressed"), CompressedImage, qos.frames())
            if config.jpeg_quality
            else None
        )
        self._truth = _TruthMessages(node, config.prefix) if config.truth else None
        self._as_camera = _CameraImages(node, f"{config.prefix}/camera") if config.camera else None
        self._transforms = (
            RosTransforms(node, isocenter_xyz_mm, patient_position, time_ns)
            if config.transforms
            else None
        )

    def send(self, frame: FluoroFrame, time_ns: int) -> bool:
        """Write one frame, the image first; False where the image was lost here."""
        sent = self.images.write(image_message(frame.image, self._config.encoding, time_ns))
        os.sched_yield()  # a reader that waits for this core takes the image before the rest
        if self._jpegs and self._config.jpeg_quality:
            self._jpegs.write(compressed_message(frame.image, self._config.jpeg_quality, time_ns))
        view = frame.geometry.view(frame.pose, self._isocenter_xyz_mm)
        _, camera_from_world = camera_matrices(view)
        world_from_camera = np.linalg.inv(camera_from_world)
        self._infos.write(camera_info_message(view, time_ns))
        self._carm.write(pose_message(frame.pose, self._isocenter_xyz_mm, time_ns))
        self._camera.write(matrix_message(world_from_camera, time_ns, PATIENT_FRAME))
        self._frame_info.write(frame_info_message(frame, time_ns))
        if self._truth and frame.truth:
            self._truth.send(frame.truth, time_ns)
        if self._as_camera:
            self._as_camera.send(frame, view, self._config.encoding, time_ns)
        if self._transforms:
            self._transforms.send(frame.pose, view, time_ns)
        return sent


class _TruthMessages:
    """Writes what is in the image: `labels` and `detections`, where annotations have them.

    Args:
        node: The participant, or a bag.
        prefix: ROS 2's names in front of labels and detections.
    """

    def __init__(self, node: DdsNode | BagNode, prefix: str) -> None:
        self._labels = node.writer(ros_topic(f"{prefix}/labels"), Image, qos.frames())
        self._detections = node.writer(
            ros_topic(f"{prefix}/detections"), Detection2DArray, qos.reliable()
        )

    def send(self, truth: FrameTruth, time_ns: int) -> None:
        """Write the truth of one frame."""
        if truth.masks:
            self._labels.write(label_message(truth.masks, time_ns))
        if truth.boxes:
            self._detections.write(detections_message(truth.boxes, time_ns))


class _CameraImages:
    """Writes the image as a camera at the source would see it, unmirrored: fx is positive.

    Args:
        node: The participant, or a bag.
        prefix: ROS 2's names in front of image_raw and camera_info.
    """

    def __init__(self, node: DdsNode | BagNode, prefix: str) -> None:
        self._images = node.writer(ros_topic(f"{prefix}/image_raw"), Image, qos.frames())
        self._infos = node.writer(ros_topic(f"{prefix}/camera_info"), CameraInfo, qos.reliable())

    def send(self, frame: FluoroFrame, view: View, encoding: Encoding, time_ns: int) -> None:
        """Write one frame."""
        self._images.write(image_message(frame.image[:, ::-1], encoding, time_ns))
        self._infos.write(camera_info_message(view.mirrored(), time_ns))


def frame_info_message(frame: FluoroFrame, time_ns: int) -> DiagnosticArray:
    """A frame's number, its pose's own number and stamp, and the stamp of every stage [ns]."""
    values = {"number": frame.number}
    if frame.origin:
        values |= {"sequence": frame.origin.sequence, "pose_stamp_ns": frame.origin.stamp_ns}
    values |= {f"{stage}_ns": stamp for stage, stamp in frame.stamps_ns.items()}
    status = DiagnosticStatus(
        level=Level.OK,
        name="frame",
        message="",
        hardware_id="",
        values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
    )
    return DiagnosticArray(header=header_of(time_ns, ""), status=[status])
