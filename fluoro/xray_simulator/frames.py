"""Frames and sequences of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import InputError
from fluoro.fluorosim.cine import CineSequence as FluorosimCineSequence
from fluoro.fluorosim.cine import save_frame
from fluoro.xray_simulator.display import DisplaySettings, apply_display, resolve_display_settings
from fluoro.xray_simulator.pose import Pose

__all__ = ["CineSequence", "Frame"]


@dataclass(eq=False)
class Frame:
    """A rendered image and how it came about.

    Attributes:
        image: Grey values in [0, 1], shape (height, width), float32; an array of the device with
            `keep_in_gpu`.
        pose: Where the C-arm stood.
        frame_idx: Number of the frame in its cine or stream, or of the simulator's single frames.
        timestamp_ms: When it was ready, Unix time [ms]; rises from frame to frame.
        intensity: What the detector received, same shape; None: it was not kept.
        i0: Intensity of the open field.
    """

    image: Any
    pose: Pose
    frame_idx: int = 0
    timestamp_ms: float = 0.0
    intensity: NDArray[np.float32] | None = None
    i0: float = 1.0

    def with_appearance(self, display: DisplaySettings | str) -> Frame:
        """Return the same photons shown another way.

        Raises:
            InputError: The intensity was not kept, or there is no such look; also a ValueError.
        """
        if self.intensity is None:
            raise InputError("the intensity was not kept: OutputSettings(keep_intensity=True)")
        settings = resolve_display_settings(display)
        return replace(self, image=apply_display(self.intensity, settings, self.i0))

    def save(self, path: str | Path) -> None:
        """Write it as .png (8-bit grey), .npy (float32) or .npz (with pose, number and time).

        Raises:
            InputError: Another suffix.
            OutputError: The file cannot be written.
        """
        save_frame(self, path)


class CineSequence(FluorosimCineSequence):
    """Frames in order, as fluorosim's: `save_all`, `to_numpy`, `len`, index and iteration."""
