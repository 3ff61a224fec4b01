"""An anti-scatter grid: the primary's cut-off where its lamellae do not point to the focal spot."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.config import GridConfig, ImageChainConfig
from fluoro.imaging.configured_beam import grid_of
from fluoro.imaging.kernel_run import KernelRun
from fluoro.imaging.stage import FactorStage, FrameContext, Image, present, settings

__all__ = ["ANTISCATTER_GRID", "AntiscatterGrid"]


class AntiscatterGrid(FactorStage):
    """Primary relative to lamellae along the beam, where `dose_ngy` holds.

    With `scatter` that stage takes both: the primary by this factor, scatter by its own share.
    """

    keys = ("grid",)
    example = settings(grid={"decentred_mm": 20.0, "focus_mm": 800.0})
    text = "An anti-scatter grid: cut-off of the primary; what it leaves of scatter."

    def is_on(self, config: ImageChainConfig) -> bool:
        """Return whether there is a grid, and no scatter."""
        return super().is_on(config) and config.scatter is None

    def run(self, frame: FrameContext, kernels: KernelRun) -> None:
        """Multiply the image."""
        given = present(frame.config.grid)
        place = frame.shape, frame.required_geometry("grid")
        kernels.pixels("antiscatter_grid", **kernels.tables.of(_uniforms, given, *place))

    def factor(self, frame: FrameContext) -> Image:
        """Return each pixel's share relative to lamellae along the beam."""
        given = present(frame.config.grid)
        shares = _shares(given, frame.shape, frame.required_geometry("grid"))
        line = shares[:, None] if given.lamellae == "rows" else shares
        return np.array(np.broadcast_to(line, frame.shape))


ANTISCATTER_GRID = AntiscatterGrid()


def _uniforms(config: GridConfig, shape: tuple[int, int], geometry: Any) -> dict[str, Any]:
    return {
        "shares": _shares(config, shape, geometry).astype(np.float32),
        "by_row": int(config.lamellae == "rows"),
    }


def _shares(config: GridConfig, shape: tuple[int, int], geometry: Any) -> NDArray[np.float64]:
    """Return what is left of the primary across the lamellae, by column or row."""
    by_row = config.lamellae == "rows"
    count, middle = shape[0 if by_row else 1], geometry.central_pixel_uv[1 if by_row else 0]
    place_mm = (np.arange(count) + 0.5 - middle) * geometry.pixel_spacing_mm
    focus_mm = config.focus_mm or geometry.source_to_detector_mm
    ray = place_mm / geometry.source_to_detector_mm
    lamella = (place_mm - config.decentred_mm) / focus_mm
    grid = grid_of(config)
    return np.asarray(grid.primary(ray - lamella) / grid.central_primary)
