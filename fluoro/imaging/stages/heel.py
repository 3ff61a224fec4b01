"""The heel effect: towards the anode the beam has come through more of it."""

from __future__ import annotations

import csv
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.imaging.detector_plane import central_ray, slopes
from fluoro.imaging.kernel_run import KernelRun
from fluoro.imaging.stage import FactorStage, FrameContext, Image, settings

__all__ = ["Heel"]

CATHODE = {
    "left": (1.0, 0.0, 0.0),
    "right": (-1.0, 0.0, 0.0),
    "top": (0.0, 1.0, 0.0),
    "bottom": (0.0, -1.0, 0.0),
}
"""Towards the cathode along columns and rows, by the side of the anode."""


class Heel(FactorStage):
    """The baked table along the axis of the tube, straight lines between its entries."""

    keys = ("heel_anode_side",)
    example = settings(heel_anode_side="left")
    text = "The anode's heel darkens its side of the image."

    def run(self, frame: FrameContext, kernels: KernelRun) -> None:
        """Multiply the image."""
        place = central_ray(frame, "heel_anode_side")
        table = kernels.tables.of(_uniforms, frame.config.heel_anode_side)
        kernels.pixels("heel", **place, **table)

    def factor(self, frame: FrameContext) -> Image:
        """Return each pixel's air kerma relative to the central ray."""
        x, y = slopes(frame, "heel_anode_side")
        along = {"left": x, "right": -x, "top": y, "bottom": -y}
        return np.asarray(np.interp(along[str(frame.config.heel_anode_side)], *_table()))


def _uniforms(anode_side: str) -> dict[str, Any]:
    slopes_, relative = _table()
    return {
        "cathode": CATHODE[anode_side],
        "relative": relative.astype(np.float32),
        "last": len(relative) - 1,
        "first_slope": float(slopes_[0]),
        "slopes_per_unit": float((len(slopes_) - 1) / (slopes_[-1] - slopes_[0])),
    }


@cache
def _table() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Tangent of the angle from the central ray, towards the cathode, and relative air kerma."""
    text = (files("fluoro.physics") / "data" / "heel.csv").read_text("utf-8")
    rows = csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))
    pairs = [(float(row["slope"]), float(row["relative_kerma"])) for row in rows]
    slopes_, relative = np.array(pairs).T
    return slopes_, relative
