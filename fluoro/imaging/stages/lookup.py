"""The display's curve: straight pieces between the values of a table."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.config import GammaCurve, LutConfig, SigmoidCurve
from fluoro.imaging.kernel_run import KernelRun
from fluoro.imaging.linear_maps import table_step
from fluoro.imaging.stage import FrameContext, Image, Stage, Step, settings

__all__ = ["CURVE_STEPS", "Lookup", "curve_table"]

CURVE_STEPS = 1024
"""Straight pieces of a curve."""


class Lookup(Stage):
    """The curve of the display."""

    keys = ("lut",)
    example = settings(lut={"kind": "sigmoid"})
    text = "The display's curve."

    def run(self, frame: FrameContext, kernels: KernelRun) -> None:
        """Look the image up."""
        kernels.pixels("lookup", **kernels.tables.of(_uniforms, frame.config.lut))

    def reference(self, x: Image, frame: FrameContext) -> Step:
        """Return what is shown for display values; the slopes are those of the pieces."""
        table = curve_table(frame.config.lut)
        return table_step(x, table, 1 / (len(table) - 1))


def curve_table(config: LutConfig | None) -> NDArray[np.float32]:
    """Return what is shown for display values 0 to 1 in equal steps, shape (1025,), in [0, 1]."""
    at = np.linspace(0.0, 1.0, CURVE_STEPS + 1)
    if config is None:
        return at.astype(np.float32)
    if isinstance(config, SigmoidCurve):
        raw = 1 / (1 + np.exp(-4 * config.slope * (at - 0.5)))
        return np.asarray((raw - raw[0]) / (raw[-1] - raw[0]), np.float32)
    if isinstance(config, GammaCurve):
        return np.asarray(at**config.gamma, np.float32)
    return np.asarray(np.interp(at, *np.array(config.points).T), np.float32)


def _uniforms(config: LutConfig) -> dict[str, Any]:
    table = curve_table(config)
    return {"curve": table, "last": len(table) - 1}
