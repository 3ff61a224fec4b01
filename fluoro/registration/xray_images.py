"""The frames of an X-ray file as images of a stream, shown as the image chain would show them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fluoro.config import ImageChainConfig
from fluoro.errors import InputError
from fluoro.geometry.carm import CarmPose
from fluoro.registration.targets.frame_target import shown
from fluoro.registration.targets.preparation import Preparation
from fluoro.registration.targets.target_preprocessing import prepare
from fluoro.xray_files.xray_file import XrayFile, XrayFrame

__all__ = ["XrayImage", "XrayImages"]

LEAST_SHARE = 1e-6
"""Of the open field's intensity, at which a logarithm stops."""
PERCENTS = (0.5, 99.5)
"""Between them the first frame fills the window, where values are no intensity."""


@dataclass(frozen=True, kw_only=True, eq=False)
class XrayImage:
    """A frame of the file as an image.

    Attributes:
        image: Display values in [0, 1], shape (height, width), float32; 0 where collimator,
            shutter or padding cover it, which registration leaves out.
        pose: Where the C-arm stood.
        time_ns: Since the first frame [ns].
    """

    image: NDArray[np.float32]
    pose: CarmPose
    time_ns: int


class XrayImages:
    """The frames one after the other, in one window that the first one decides.

    Args:
        file: The file.
        poses: Where the C-arm stood at each frame.
        image_chain: Whose window and polarity the images have.
        size: Rows and columns that the images must have.
        i0: Intensity of the open field; None: estimated from the first frame.

    Attributes:
        count: Frames of the file.

    Raises:
        InputError: Another size, or a first frame that cannot be used.
    """

    def __init__(
        self,
        file: XrayFile,
        poses: Sequence[CarmPose],
        image_chain: ImageChainConfig,
        size: tuple[int, int],
        i0: float | None,
    ) -> None:
        self.count = file.count
        self._frames, self._poses, self._chain = file.read(1, file.count), iter(poses), image_chain
        first = file.frame(1)
        if first.values.shape != size:
            raise InputError(
                f"{file.path}: must have carm's detector size, {size[1]} x {size[0]}, got "
                f"{first.values.shape[1]} x {first.values.shape[0]}"
            )
        if i0 is not None and first.meaning.kind != "raw":
            raise InputError(f"{file.path}: pose_source.i0 has no effect: it holds no intensity")
        self._scale = _intensity(first, i0) if first.meaning.kind == "raw" else _span(first)

    def next(self) -> XrayImage | None:
        """Return the next image; None: there is no more.

        Raises:
            InputError: A frame that cannot be read.
        """
        frame = next(self._frames, None)
        if frame is None:
            return None
        image = np.where(frame.mask, self._shown(frame), np.float32(0))
        return XrayImage(
            image=image.astype(np.float32),
            pose=next(self._poses),
            time_ns=round(frame.time_s * 1e9),
        )

    def close(self) -> None:
        """Close the file."""
        self._frames.close()

    def _shown(self, frame: XrayFrame) -> NDArray[np.float32]:
        low, high = self._scale
        if frame.meaning.kind == "raw":
            share = np.maximum(frame.values / high, LEAST_SHARE)
            return shown((-np.log(share)).astype(np.float32), self._chain)
        grey = np.clip((frame.values - low) / (high - low), 0, 1)
        bright = frame.meaning.kind == "log" or frame.meaning.polarity == "bone_bright"
        same = bright == (self._chain.polarity == "bone_bright")
        return np.asarray(grey if same else 1 - grey, np.float32)


def _intensity(first: XrayFrame, i0: float | None) -> tuple[float, float]:
    """0 and the open field's intensity."""
    how = Preparation(kind="raw", saturation=first.saturation)
    found = i0 if i0 is not None else prepare(first.values, how, first.mask).i0
    return 0.0, float(found or 1.0)


def _span(first: XrayFrame) -> tuple[float, float]:
    low, high = np.percentile(first.values[first.mask], PERCENTS)
    if not low < high:
        raise InputError("the first frame is one grey all over")
    return float(low), float(high)
