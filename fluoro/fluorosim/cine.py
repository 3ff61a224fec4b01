"""Poses and frames of the few-line API, and sequences of them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import InputError
from fluoro.fluorosim.config import require_format
from fluoro.fluorosim.image_saving import save_image

__all__ = ["CineSequence", "Frame", "Pose", "frame_path", "save_frame"]

Vector3 = tuple[float, float, float]
ZERO = (0.0, 0.0, 0.0)
ROUNDING = 1e-6
"""By which a full turn may be exceeded [rad]."""


@dataclass
class Pose:
    """Where the C-arm stands.

    Attributes:
        rotation: Angles (cranial, LAO, roll) [rad]: the secondary angle about the patient's
            left-right axis, the primary about the long axis, the detector's about the beam.
        translation: Shift of source, detector and isocentre, world LPS [mm].

    Raises:
        InputError: Not three finite numbers each.
    """

    rotation: Vector3 = ZERO
    translation: Vector3 = ZERO

    def __post_init__(self) -> None:
        self.rotation = _vector("rotation", self.rotation)
        self.translation = _vector("translation", self.translation)

    @classmethod
    def from_degrees(cls, rotation_deg: Vector3 = ZERO, translation: Vector3 = ZERO) -> Pose:
        """Return the pose of angles in degrees.

        Args:
            rotation_deg: Angles (cranial, LAO, roll) [degrees].
            translation: Shift of source, detector and isocentre, world LPS [mm].

        Raises:
            InputError: Not three finite numbers each.
        """
        cranial, lao, roll = _vector("rotation_deg", rotation_deg)
        return cls((math.radians(cranial), math.radians(lao), math.radians(roll)), translation)

    def doubt(self) -> str:
        """Return a remark where angles exceed a full turn, so are hardly radians; else empty."""
        largest = max(self.rotation, key=abs)
        if abs(largest) <= math.tau + ROUNDING:
            return ""
        return (
            f"rotation {self.rotation} is in radians: {largest:g} is more than a full turn; "
            "Pose.from_degrees takes degrees"
        )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Pose:
        """Return the pose of the keys `rotation` and `translation`; one that is missing is 0.

        Other keys beside them are left aside.

        Raises:
            InputError: No mapping, other keys alone, or not three finite numbers.
        """
        if not isinstance(values, Mapping):
            raise InputError(f"a pose must be a Pose or a mapping, got {values!r}")
        if values and not set(values) & {"rotation", "translation"}:
            raise InputError(f"a pose has the keys rotation and translation, got {list(values)}")
        return cls(values.get("rotation", ZERO), values.get("translation", ZERO))


def _vector(name: str, values: Any) -> Vector3:
    try:
        x, y, z = (float(value) for value in np.asarray(values, float).reshape(-1))
    except (TypeError, ValueError):
        raise InputError(f"{name} must be 3 numbers, got {values!r}") from None
    if not all(math.isfinite(value) for value in (x, y, z)):
        raise InputError(f"{name} must be 3 finite numbers, got {values!r}")
    return x, y, z


@dataclass(eq=False)
class Frame:
    """A rendered image and how it came about.

    Attributes:
        image: Shape (height, width), float32, in [0, 1] (with `normalize`); row 0 is cranial and
            column 0 the patient's right at the frontal view. With `keep_in_gpu` a CuPy array.
        pose: Where the C-arm stood.
        frame_idx: Number of the frame in its cine or stream, or of the simulator's single frames.
        timestamp_ms: When it was ready, Unix time [ms]; rises from frame to frame.
    """

    image: NDArray[np.float32]
    pose: Pose
    frame_idx: int = 0
    timestamp_ms: float = 0.0

    def save(self, path: str | Path) -> None:
        """Write it as .png (8-bit grey), .npy (float32) or .npz (with pose, number and time).

        Raises:
            InputError: Another suffix.
            OutputError: The file cannot be written.
        """
        save_frame(self, path)


@dataclass(eq=False)
class CineSequence:
    """Frames in order.

    Attributes:
        frames: The frames.
        fps: Rate at which they are meant to be shown [1/s].
    """

    frames: list[Frame]
    fps: float = 30.0

    def __len__(self) -> int:
        return len(self.frames)

    @overload
    def __getitem__(self, index: int) -> Frame: ...
    @overload
    def __getitem__(self, index: slice) -> list[Frame]: ...
    def __getitem__(self, index: int | slice) -> Frame | list[Frame]:
        return self.frames[index]

    def __iter__(self) -> Iterator[Frame]:
        return iter(self.frames)

    def save_all(self, output_dir: str | Path, format: str = "png") -> list[Path]:  # noqa: A002
        """Write `frame_0000.png` ..., numbered by `frame_idx`; return the paths in order.

        Args:
            output_dir: Folder; it is made.
            format: "png", "npy" or "npz", as `Frame.save`.

        Raises:
            InputError: Another format, or two frames of one number.
            OutputError: A file cannot be written.
        """
        require_format(format)
        counts = Counter(frame.frame_idx for frame in self.frames)
        twice = [number for number, count in counts.items() if count > 1]
        if twice:
            raise InputError(f"frame_idx must differ between frames, got {twice[0]} twice")
        paths = [frame_path(output_dir, frame.frame_idx, format) for frame in self.frames]
        for frame, path in zip(self.frames, paths, strict=True):
            frame.save(path)
        return paths

    def to_numpy(self) -> NDArray[np.float32]:
        """Return all images, shape (N, height, width), float32; (0, 0, 0) without frames."""
        if not self.frames:
            return np.empty((0, 0, 0), np.float32)
        return np.stack([_on_host(frame.image) for frame in self.frames])


def save_frame(frame: Any, path: str | Path) -> None:
    """Write a frame of this module or of xray_simulator, as their `save`.

    Raises:
        InputError: Another suffix.
        OutputError: The file cannot be written.
    """
    facts = {
        "rotation": frame.pose.rotation,
        "translation": frame.pose.translation,
        "frame_idx": frame.frame_idx,
        "timestamp_ms": frame.timestamp_ms,
    }
    save_image(Path(path), _on_host(frame.image), facts)


def frame_path(folder: str | Path, number: int, suffix: str) -> Path:
    """Return where a frame is saved."""
    return Path(folder) / f"frame_{number:04d}.{suffix}"


def _on_host(image: Any) -> NDArray[np.float32]:
    """The image as NumPy; a CuPy array brings its own way."""
    return np.asarray(image.get() if hasattr(image, "get") else image, np.float32)
