"""A frame of an X-ray file as the target of a registration: image, geometry and start."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fluoro.config import RegistrationConfig
from fluoro.errors import InputError
from fluoro.registration.config import RegisterConfig
from fluoro.registration.targets.preparation import Preparation
from fluoro.registration.targets.target import Target
from fluoro.registration.targets.target_preprocessing import prepare
from fluoro.xray_files.carm_config import completed_carm, pose_config
from fluoro.xray_files.geometry import FrameGeometry
from fluoro.xray_files.xray_file import XrayFile, XrayFrame

__all__ = ["XrayTarget", "read_xray_target"]

PREPARED_BY_HAND = {"kind", "polarity", "i0", "saturation"}
"""Keys of `target` of which any one makes all of them count, instead of the file's word."""


@dataclass(frozen=True, kw_only=True, eq=False)
class XrayTarget:
    """A frame and the configuration that it completes.

    Attributes:
        config: Whose `carm` and `registration.start.pose` get values from the file.
        frame: The frame.
        notes: What the file left open, one clause each.
    """

    config: RegisterConfig
    frame: XrayFrame
    notes: tuple[str, ...]

    @property
    def image(self) -> NDArray[np.float64]:
        """The frame's values, shape (height, width)."""
        return self.frame.values

    def target(self) -> Target:
        """Return what the registration is held to.

        Raises:
            InputError: A frame that cannot be used.
        """
        wanted = self.config.target
        if wanted.model_fields_set & PREPARED_BY_HAND:
            preparation = wanted.preparation()
        else:
            meaning = self.frame.meaning
            preparation = Preparation(
                kind=meaning.kind,
                polarity=meaning.polarity,
                saturation=self.frame.saturation,
                crop=wanted.crop,
                smoothing_px=wanted.smoothing_px,
            )
        return prepare(self.image, preparation, self.frame.mask)


def read_xray_target(config: RegisterConfig) -> XrayTarget | None:
    """Return the frame that `target.path` and `target.frame` name; None: it is no X-ray file.

    Raises:
        InputError: The file cannot be read, or does not say enough; the message names the key.
    """
    path = config.target.path
    if path is None or not config.target.is_dicom:
        return None
    file = XrayFile(path)
    number = config.target.frame
    if number is None:
        if file.count > 1:
            raise InputError(f"{path}: holds {file.count} frames: give target.frame, 1 or more")
        number = 1
    frame = file.frame(number)
    completed = config.model_copy(
        update={
            "carm": completed_carm(path, config.carm, frame.geometry),
            "registration": _with_start(path, config, frame.geometry),
        }
    )
    notes = tuple(f"{path.name}: {kind}: {text}" for kind, text in file.notes)
    return XrayTarget(config=completed, frame=frame, notes=notes)


def _with_start(path: Path, config: RegisterConfig, geometry: FrameGeometry) -> RegistrationConfig:
    registration = config.registration
    if registration.start.pose or config.target.pose:
        return registration
    pose = pose_config(geometry)
    if pose is None:
        raise InputError(f"{path}: does not say its angles: give registration.start.pose")
    start = registration.start.model_copy(update={"pose": pose})
    return registration.model_copy(update={"start": start})
