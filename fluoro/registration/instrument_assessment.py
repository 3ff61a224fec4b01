"""Is the pose of an instrument to be believed?

An object covers few pixels, so a wrong pose costs little in the image as a whole. Each view is
asked where the pose puts the object: how much of its contrast is there, and whether what is left
of the image is more than noise leaves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, uniform_filter

__all__ = ["InstrumentAssessment", "ViewImages", "assess_instrument"]

Array = NDArray[np.float64]
Cause = Literal["outside", "elsewhere", "unexplained", "uncertain"]

NEXT_STEPS: Mapping[Cause, str] = {
    "outside": "give a start that is closer, or views that show the object",
    "elsewhere": "give a start that is closer, or coarser levels first",
    "unexplained": "give a start that is closer; check the object's size and material, the image "
    "chain and the poses of the views (with_carm)",
    "uncertain": "take a second view 60 degrees away, or more dose",
}
"""What to try, by what speaks against the pose."""
BAND, MARGIN_PX = 0.1, 2
"""The band around the object: pixels with at least this share of its largest contrast, and pixels
at most this far from them, at the finest level."""
WINDOW_PX, LEAST_PIXELS = 9, 30
"""Edge of a part of the band, and the pixels of the band that it must have: a wire that has slid
along itself differs at its tip alone."""
MOST_CONTRAST_OFF = 0.1
"""Of the object's contrast, from 1."""
MOST_EXCESS = 4.0
"""Root mean square of what is left in the worst part of the band, in units of what noise leaves:
right poses have up to 2.8, wrong ones 7 and more (docs/instruments.md)."""
MOST_SIGMA_MM = 1.0
"""Standard deviation of the worst point of the object's line, or of its origin."""
LEAST_NOISE = 5e-4
"""Root mean square of display values: an eighth of a grey step of 8 bits."""


@dataclass(frozen=True, kw_only=True)
class InstrumentAssessment:
    """Whether to believe a pose.

    Attributes:
        converged: So or not.
        reason: One line that names what decided.
        cause: What decided against it; None: nothing.
        contrast: Share of the object's contrast that each view has where the pose puts it.
        excess: What is left of each view in the worst part of the band around the object, root
            mean square in units of what noise leaves.
        sigma_mm: Standard deviation of the worst point of the object's line, or of its origin.
    """

    converged: bool
    reason: str
    cause: Cause | None
    contrast: tuple[float, ...]
    excess: tuple[float, ...]
    sigma_mm: float

    @property
    def next_step(self) -> str:
        """What to try, one clause; empty where the pose is believed."""
        return NEXT_STEPS[self.cause] if self.cause else ""


@dataclass(frozen=True, kw_only=True, eq=False)
class ViewImages:
    """One view at the finest level, display values, arrays of shape (height, width).

    Attributes:
        target: The image.
        shown: What the pose shows, without noise.
        without: The same without the object.
        noisy: What the pose shows, with noise.
    """

    target: Array
    shown: Array
    without: Array
    noisy: Array

    @property
    def contrast(self) -> float:
        """The target's share of the contrast that noise leaves; 0 where the pose shows nothing."""
        own = self.shown - self.without
        has, expected = (
            float(((each - self.without) * own).sum()) for each in (self.target, self.noisy)
        )
        return has / expected if expected else 0.0

    @property
    def excess(self) -> float:
        """What is left of the target in the worst part of the band, in units of noise, rms."""
        own = np.abs(self.shown - self.without)
        if not own.any():
            return np.inf
        band = binary_dilation(own >= BAND * own.max(), iterations=MARGIN_PX)
        count = _sums(band)
        used = band & (count >= min(LEAST_PIXELS, count[band].max()))
        left, noise = (
            _sums(band * (each - self.shown) ** 2)[used] for each in (self.target, self.noisy)
        )
        return float(np.sqrt((left / np.maximum(noise, count[used] * LEAST_NOISE**2)).max()))


def _sums(values: NDArray[np.generic]) -> Array:
    """Sums of a window around each pixel."""
    sums = uniform_filter(values.astype(float), WINDOW_PX, mode="constant") * WINDOW_PX**2
    return np.asarray(np.maximum(sums, 0.0))


def assess_instrument(views: Sequence[ViewImages], sigma_mm: float) -> InstrumentAssessment:
    """Return whether a pose is to be believed.

    Args:
        views: One or more.
        sigma_mm: Standard deviation of the worst point of the object's line, or of its origin.
    """
    contrast = tuple(view.contrast for view in views)
    excess = tuple(view.excess for view in views)
    doubts = [
        _doubt(number, *each) for number, each in enumerate(zip(contrast, excess, strict=True))
    ]
    cause, reason = next(
        (doubt for doubt in [*doubts, _imprecise(sigma_mm)] if doubt),
        (None, f"each view shows the object there, and at most {max(excess):.1f} times the noise"),
    )
    return InstrumentAssessment(
        converged=cause is None,
        reason=reason,
        cause=cause,
        contrast=contrast,
        excess=excess,
        sigma_mm=sigma_mm,
    )


def _doubt(number: int, contrast: float, excess: float) -> tuple[Cause, str] | None:
    """What speaks against the pose in one view."""
    if not np.isfinite(excess):
        return "outside", f"view {number} shows nothing of the object there"
    if abs(contrast - 1) > MOST_CONTRAST_OFF:
        return "elsewhere", f"view {number} shows {contrast:.2f} of the object's contrast there"
    if excess > MOST_EXCESS:
        return "unexplained", f"view {number} is off by {excess:.1f} times the noise there"
    return None


def _imprecise(sigma_mm: float) -> tuple[Cause, str] | None:
    if sigma_mm <= MOST_SIGMA_MM:
        return None
    return "uncertain", f"the views tell where the object is to {sigma_mm:.1f} mm only"
