"""From intensity to display values: one mapping for all frames, unless per_frame is set."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fluoro.errors import InputError

__all__ = [
    "DISPLAY_PRESETS",
    "Appearance",
    "DisplaySettings",
    "Scaling",
    "apply_display",
    "calibrate_display",
    "resolve_display_settings",
    "transmission",
]

Appearance = Literal["fluoro", "diagnostic", "xray"]
"""Dense structures dark, or bright; the last two are one."""
Scaling = Literal["log", "transmission", "window", "per_frame"]
"""From intensity to grey values."""
Image = NDArray[np.float32]
LEAST_TRANSMISSION = 1e-8
LEAST_RANGE = 1e-6
SYNONYMS = {"xray": "diagnostic"}


@dataclass(frozen=True)
class DisplaySettings:
    """How intensity becomes grey.

    Attributes:
        polarity: "fluoro": dense structures dark; "diagnostic" ("xray"): bright.
        scaling: "log": line integrals over `log_window`; "transmission": I / i0; "window": that
            over `window`; "per_frame": that over the frame's own extremes.
        log_window: Line integrals shown brightest and darkest in "fluoro", 0 <= low < high.
        window: Transmission likewise.
        gamma: The grey value is raised to 1 / gamma, > 0.

    Raises:
        InputError: A value out of its range; also a ValueError.
    """

    polarity: Appearance = "fluoro"
    scaling: Scaling = "log"
    log_window: tuple[float, float] = (0.0, 6.0)
    window: tuple[float, float] = (0.0, 1.0)
    gamma: float = 1.0

    def __post_init__(self) -> None:
        polarity = SYNONYMS.get(self.polarity, self.polarity)
        if polarity not in ("fluoro", "diagnostic"):
            raise InputError(f"polarity must be fluoro, diagnostic or xray, got {polarity!r}")
        object.__setattr__(self, "polarity", polarity)
        if self.scaling not in get_args(Scaling):
            raise InputError(
                f"scaling must be {' or '.join(get_args(Scaling))}, got {self.scaling!r}"
            )
        for name in ("log_window", "window"):
            low, high = getattr(self, name)
            if not (0 <= low < high < np.inf):
                raise InputError(f"{name} must be 0 <= low < high, got {(low, high)}")
            object.__setattr__(self, name, (float(low), float(high)))
        if not 0 < self.gamma < np.inf:
            raise InputError(f"gamma must be more than 0, got {self.gamma}")

    @classmethod
    def preset(cls, name: str) -> DisplaySettings:
        """Return one of `DISPLAY_PRESETS`; "diagnostic" is another name of "xray".

        Raises:
            InputError: There is no such preset; also a ValueError.
        """
        known = "xray" if name == "diagnostic" else name
        if known not in DISPLAY_PRESETS:
            raise InputError(f"preset must be one of {', '.join(DISPLAY_PRESETS)}, got {name!r}")
        return DISPLAY_PRESETS[known]


DISPLAY_PRESETS: dict[str, DisplaySettings] = {
    "fluoro": DisplaySettings(),
    "xray": DisplaySettings(polarity="diagnostic"),
    "fluoro_contrast": DisplaySettings(log_window=(1.0, 4.0)),
    "transmission": DisplaySettings(scaling="transmission"),
    "legacy": DisplaySettings(polarity="diagnostic", scaling="per_frame"),
}
"""Looks by name; "legacy" is fluorosim's, which follows each frame's own extremes."""


def resolve_display_settings(given: DisplaySettings | str | None) -> DisplaySettings:
    """Settings of a preset's name, of settings, or the default.

    Raises:
        InputError: There is no such preset, or another kind of value; also a ValueError.
    """
    if given is None:
        return DisplaySettings()
    if isinstance(given, str):
        return DisplaySettings.preset(given)
    if not isinstance(given, DisplaySettings):
        raise InputError(f"display must be DisplaySettings or a preset's name, got {given!r}")
    return given


def transmission(intensity: ArrayLike, i0: float = 1.0) -> Image:
    """I / i0 clipped to [0, 1], float32.

    Raises:
        InputError: An i0 that is not positive; also a ValueError.
    """
    if not i0 > 0:
        raise InputError(f"i0 must be more than 0, got {i0}")
    passed = np.asarray(intensity, np.float32) / np.float32(i0)
    return np.asarray(np.clip(passed, 0, 1), np.float32)


def apply_display(
    intensity2d: ArrayLike, settings: DisplaySettings | None = None, i0: float = 1.0
) -> Image:
    """Return grey values in [0, 1] of an intensity, same shape, float32.

    Raises:
        InputError: An array of other than two axes, or an i0 that is not positive.
    """
    how = settings or DisplaySettings()
    passed = transmission(intensity2d, i0)
    if passed.ndim != 2:
        raise InputError(f"intensity must have two axes, got shape {passed.shape}")
    grey = _scaled(passed, how)
    grey = 1 - grey if how.polarity == "diagnostic" else grey
    return np.asarray(grey ** (1 / how.gamma), np.float32)


def _scaled(passed: Image, how: DisplaySettings) -> NDArray[Any]:
    if how.scaling == "log":
        low, high = how.log_window
        integrals = -np.log(np.maximum(passed, LEAST_TRANSMISSION))
        return np.asarray(1 - np.clip((integrals - low) / (high - low), 0, 1))
    if how.scaling == "window":
        low, high = how.window
        return np.asarray(np.clip((passed - low) / (high - low), 0, 1))
    if how.scaling == "per_frame":
        low, high = float(passed.min()), float(passed.max())
        return np.asarray((passed - low) / (high - low + 1e-8))
    return passed


def calibrate_display(
    intensity: ArrayLike,
    settings: DisplaySettings | None = None,
    i0: float = 1.0,
    percentiles: tuple[float, float] = (1.0, 99.0),
) -> DisplaySettings:
    """Return the settings with the log window that a frame's line integrals fill.

    Args:
        intensity: Of one frame, shape (height, width).
        settings: What to change; None: the default.
        i0: Intensity of the open field.
        percentiles: Of the line integrals, that become the window's ends.

    Raises:
        InputError: Percentiles that do not rise in 0 to 100, or a frame of one value.
    """
    low_percent, high_percent = percentiles
    if not 0 <= low_percent < high_percent <= 100:
        raise InputError(f"percentiles must rise within 0 to 100, got {percentiles}")
    integrals = -np.log(np.maximum(transmission(intensity, i0), LEAST_TRANSMISSION))
    low, high = (float(value) for value in np.percentile(integrals, percentiles))
    low = max(0.0, low)
    if high - low < LEAST_RANGE:
        raise InputError(f"the frame has one value all over ({low:.6g}): nothing to calibrate by")
    return replace(settings or DisplaySettings(), log_window=(low, high), scaling="log")
