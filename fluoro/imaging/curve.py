"""The display's curve as a table."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fluoro.config import GammaCurve, LutConfig, SigmoidCurve

__all__ = ["CURVE_STEPS", "curve_table"]

CURVE_STEPS = 1024
"""Straight pieces of a curve."""


def curve_table(config: LutConfig) -> NDArray[np.float32]:
    """What is shown for display values 0 to 1 in equal steps, shape (1025,), in [0, 1]."""
    at = np.linspace(0.0, 1.0, CURVE_STEPS + 1)
    if isinstance(config, SigmoidCurve):
        raw = 1 / (1 + np.exp(-4 * config.slope * (at - 0.5)))
        return np.asarray((raw - raw[0]) / (raw[-1] - raw[0]), np.float32)
    if isinstance(config, GammaCurve):
        return np.asarray(at**config.gamma, np.float32)
    return np.asarray(np.interp(at, *np.array(config.points).T), np.float32)
