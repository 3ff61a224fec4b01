"""How an image becomes a registration target; the configuration loads it without NumPy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from fluoro.errors import InputError
from fluoro.names import Polarity, TargetKind

__all__ = ["Crop", "Preparation"]

Crop = tuple[int, int, int, int]
"""Pixels to leave out at the top, bottom, left and right."""


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """How an image becomes a target.

    Attributes:
        kind: What the values are.
        i0: Intensity of the open field for "raw"; None: estimated.
        crop: Pixels (top, bottom, left, right) to leave out, "auto": found by the dark borders
            of a collimator, in "raw" images only; None: nothing.
        smoothing_px: Standard deviation of a Gaussian over the attenuation [pixels]; 0: none.
        polarity: Whether bone is dark or bright in a "display" image.
        saturation: Value from which "raw" pixels are left out, as they may have been higher;
            None: the largest value of an integer type.

    Raises:
        InputError: A value outside its range, or one without effect on this kind.
    """

    kind: TargetKind = "raw"
    i0: float | None = None
    crop: Crop | Literal["auto"] | None = None
    smoothing_px: float = 0.0
    polarity: Polarity | None = None
    saturation: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in ("raw", "log", "display"):
            raise InputError(f"kind must be raw, log or display, got {self.kind!r}")
        _require_kind(self, "i0", "raw")
        _require_kind(self, "saturation", "raw")
        _require_kind(self, "polarity", "display")
        if self.crop == "auto" and self.kind != "raw":
            raise InputError(f"crop auto looks for a collimator in raw intensity, not {self.kind}")
        if self.polarity not in (None, "bone_dark", "bone_bright"):
            raise InputError(f"polarity must be bone_dark or bone_bright, got {self.polarity!r}")
        if self.i0 is not None and not (math.isfinite(self.i0) and self.i0 > 0):
            raise InputError(f"i0 must be a positive intensity, got {self.i0}")
        if not (math.isfinite(self.smoothing_px) and self.smoothing_px >= 0):
            raise InputError(f"smoothing_px must be at least 0, got {self.smoothing_px}")
        if self.crop not in (None, "auto"):
            _require_crop(self.crop)


def _require_kind(preparation: Preparation, name: str, kind: TargetKind) -> None:
    if getattr(preparation, name) is not None and preparation.kind != kind:
        raise InputError(f"{name} has no effect on a {preparation.kind} image, only on {kind}")


def _require_crop(crop: object) -> None:
    whole = isinstance(crop, tuple) and all(isinstance(n, int) and n >= 0 for n in crop)
    if not whole or len(crop) != 4:  # type: ignore[arg-type]
        raise InputError(f"crop must be 4 counts (top, bottom, left, right), got {crop!r}")
