"""Poses of a ROS 2 bag, and its images too."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from fluoro.config.schema_rules import at, const, never, rules
from fluoro.config.section import FilePath, Topic
from fluoro.config.validation_errors import KeyValueError
from fluoro.poses.base import PathSource, PoseImages, PoseSetup, PoseSource, PoseSourceSection

if TYPE_CHECKING:
    from fluoro.geometry.carm import CarmGeometry

__all__ = ["BagPoses"]


class BagPoses(PoseSourceSection):
    """Poses of a ROS 2 bag by their stamps, interpolated between them; or its images too."""

    model_config = rules(
        never(at("images"), at("repeat", const(True))),
    )

    kind: Literal["bag"]
    path: FilePath = Field(description="The bag, a folder, relative to the YAML file.")
    topic: Topic = Field("/fluoro/carm_pose", description="Topic of PoseStamped.")
    images: Topic | None = Field(
        None,
        description="Topic of Image: its images, each with the pose of its stamp, take the place "
        "of rendered ones; null: none do.",
    )
    repeat: bool = Field(False, description="Start again after the last one; else hold it.")

    @model_validator(mode="after")
    def _images_come_once(self) -> BagPoses:
        if self.images and self.repeat:
            raise KeyValueError("repeat", "has no effect with images")
        return self

    @property
    def brings_images(self) -> bool:
        """Whether the bag's images are wanted."""
        return self.images is not None

    def check(self) -> None:
        """See whether the messages' package is there."""
        from fluoro.interop.dds.installed import require_cyclonedds

        require_cyclonedds("pose_source.kind: bag")

    def make(self, setup: PoseSetup) -> PoseSource:
        """Return the poses over time, interpolated between their stamps."""
        from fluoro.geometry.trajectory import waypoint_trajectory
        from fluoro.interop.bag.mcap_bag import read_poses

        times_s, poses = read_poses(self.path, self.topic, setup.isocenter_xyz_mm)
        return PathSource(waypoint_trajectory(times_s, poses, repeat=self.repeat))

    def open_images(
        self, setup: PoseSetup, geometry: Callable[[], CarmGeometry]
    ) -> PoseImages | None:
        """Return the bag's images, where they are wanted."""
        if self.images is None:
            return None
        from fluoro.interop.bag.mcap_bag import BagImages

        detector = geometry()
        size = (detector.detector_height_px, detector.detector_width_px)
        return BagImages(self.path, self.images, self.topic, setup.isocenter_xyz_mm, size)
