"""What the console shows of a tracked pose: figures, the error so far, and both images."""

from __future__ import annotations

import io
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fluoro.console.controls import pose_values
from fluoro.console.page_messages import packed
from fluoro.geometry.carm import CarmPose
from fluoro.geometry.view_text import angle_label
from fluoro.imaging.frame import to_uint8

__all__ = ["TrackingView", "Trail", "tracking_message"]

POINTS = 300
"""Number of newest points in the chart of the error."""
JPEG_QUALITY = 90


@dataclass(frozen=True, kw_only=True, eq=False)
class TrackingView:
    """One estimate, as the console shows it.

    Attributes:
        number: Of the frame.
        pose: The estimate.
        mtre_mm: Its distance from the truth [mm].
        ncc: Correlation of rendered image and frame.
        converged: Whether it is believed.
        state: "tracked", "in doubt" or "lost".
        confidence: Probability that it is right, 0 to 1.
        reason: Why, in one line.
        next_step: What to try where it is not believed; else empty.
        seconds: How long it took.
        frame: The frame, display values in [0, 1], shape (height, width).
        rendered: The image rendered at the estimate, same shape.
    """

    number: int
    pose: CarmPose
    mtre_mm: float
    ncc: float
    converged: bool
    state: str
    confidence: float
    reason: str
    next_step: str
    seconds: float
    frame: NDArray[np.float32]
    rendered: NDArray[np.float32]


class Trail:
    """The newest estimate with the error's curve up to it."""

    def __init__(self) -> None:
        self._curve: deque[tuple[int, float, bool]] = deque(maxlen=POINTS)
        self.count = 0
        self.message = b""

    def add(self, view: TrackingView) -> None:
        """Take the newest estimate."""
        self._curve.append((view.number, round(view.mtre_mm, 3), view.converged))
        self.message = tracking_message(view, list(self._curve))
        self.count += 1


def tracking_message(view: TrackingView, curve: list[tuple[int, float, bool]]) -> bytes:
    """One estimate: figures and curve as header, frame and rendered image side by side as JPEG."""
    header: dict[str, Any] = {
        "kind": "tracking",
        "number": view.number,
        "angles": angle_label(view.pose),
        "pose": pose_values(view.pose),
        "mtre_mm": round(view.mtre_mm, 3),
        "ncc": round(view.ncc, 4),
        "converged": view.converged,
        "state": view.state,
        "confidence": round(view.confidence, 3),
        "reason": view.reason,
        "next_step": view.next_step,
        "seconds": round(view.seconds, 3),
        "curve": curve,
    }
    return packed(header, _jpeg(np.concatenate([view.frame, view.rendered], axis=1)))


def _jpeg(grey: NDArray[np.float32]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(to_uint8(grey)).save(file, "JPEG", quality=JPEG_QUALITY)
    return file.getvalue()
