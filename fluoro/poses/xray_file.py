"""Poses and geometry of an X-ray file in DICOM, and its frames too."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from fluoro.config.schema_rules import at, const, never, rules
from fluoro.config.section import FilePath, Positive
from fluoro.config.validation_errors import KeyValueError
from fluoro.poses.base import (
    PathSource,
    PoseConfig,
    PoseImages,
    PoseSetup,
    PoseSource,
    PoseSourceSection,
    SeenFrames,
)

if TYPE_CHECKING:
    from fluoro.config import Config
    from fluoro.geometry.carm import CarmGeometry, CarmPose
    from fluoro.geometry.trajectory import Trajectory
    from fluoro.xray_files.xray_file import XrayFile

__all__ = ["XrayFilePoses"]


class XrayFilePoses(PoseSourceSection):
    """Where an X-ray file's C-arm stood, frame by frame; its lengths fill in the section `carm`."""

    model_config = rules(
        never(at("images", const(True)), at("repeat", const(True))),
        never(at("images", const(True)), at("beside", const(True))),
        never(at("i0"), {"not": at("images", const(True))}),
    )

    kind: Literal["xray_file"]
    path: FilePath = Field(
        description="XA, XRF, RF, DX, CR or Enhanced XA in DICOM, relative to the YAML file; "
        "docs/xray_files.md."
    )
    pose: PoseConfig | None = Field(
        None, description="Where the C-arm stood at every frame, instead of the file's word."
    )
    images: bool = Field(
        False,
        description="The file's frames take the place of rendered ones, as `image_chain.window` "
        "shows them: registration tracks them.",
    )
    i0: Positive | None = Field(
        None,
        description="With images: intensity of the open field; null: estimated from the first "
        "frame.",
    )
    beside: bool = Field(
        False, description="beside.mp4: the file's frame beside the rendered one of its pose."
    )
    repeat: bool = Field(False, description="Start again after the last frame; else hold it.")

    @model_validator(mode="after")
    def _keys_have_effect(self) -> XrayFilePoses:
        for key in ("repeat", "beside"):
            if self.images and getattr(self, key):
                raise KeyValueError(key, "has no effect with images")
        if self.i0 is not None and not self.images:
            raise KeyValueError("i0", "has no effect without images")
        return self

    def completed(self, config: Config) -> Config:
        """Return the configuration with the file's lengths and detector where it gives none."""
        from fluoro.xray_files.carm_config import completed_carm

        carm = completed_carm(self.path, config.carm, self.file().geometry(1))
        return config.model_copy(update={"carm": carm})

    def file(self) -> XrayFile:
        """Return the file.

        Raises:
            InputError: It cannot be read.
        """
        from fluoro.xray_files.xray_file import XrayFile

        return XrayFile(self.path)

    def poses(self, file: XrayFile) -> list[CarmPose]:
        """Return the pose at each frame.

        Raises:
            InputError: The file does not say it, and neither does the key `pose`.
        """
        from fluoro.errors import InputError

        if self.pose is not None:
            return [self.pose.carm_pose()] * file.count
        poses = [file.geometry(number).pose for number in range(1, file.count + 1)]
        known = [pose for pose in poses if pose is not None]
        if len(known) < len(poses):
            raise InputError(f"{self.path}: does not say its angles: give pose_source.pose")
        return known

    def trajectory(self, seed: int = 0) -> Trajectory:
        """Return pose by time, interpolated between the frames."""
        del seed
        import numpy as np

        from fluoro.geometry.trajectory import waypoint_trajectory

        file = self.file()
        poses = self.poses(file)
        times_s, first_of = np.unique(file.times_s, return_index=True)
        rising = [poses[index] for index in first_of]
        return waypoint_trajectory(times_s, rising, repeat=self.repeat)

    def make(self, setup: PoseSetup) -> PoseSource:
        """Return the poses over time."""
        return PathSource(self.trajectory(setup.seed))

    @property
    def brings_images(self) -> bool:
        """Whether the file's frames are wanted."""
        return self.images

    def seen(self) -> SeenFrames | None:
        """Return the file's frames, where they are wanted beside the rendered ones."""
        if not self.beside:
            return None
        from fluoro.plot.xray_image import ShownFrames

        return ShownFrames(self.file(), repeat=self.repeat)

    def open_images(
        self, setup: PoseSetup, geometry: Callable[[], CarmGeometry]
    ) -> PoseImages | None:
        """Return the file's frames, where they are wanted."""
        if not self.images:
            return None
        from fluoro.registration.xray_images import XrayImages

        file, detector = self.file(), geometry()
        size = (detector.detector_height_px, detector.detector_width_px)
        return XrayImages(file, self.poses(file), setup.image_chain, size, self.i0)
