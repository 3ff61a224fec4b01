"""Iodine in the ray's way: the vessels' box, filled for the moment and integrated."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.geometry.projection import View
from fluoro.rendering.devices.base import ComputeDevice
from fluoro.rendering.moving_renderer import MovingRenderer
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.phantom.bolus import CURVE_STEPS_PER_S, Bolus, concentration_table

__all__ = ["ContrastFill", "ContrastRenderer"]

LIST_COLUMNS = 1024
"""Length of the rows in which the list of voxels is processed."""


class ContrastFill:
    """Fills the vessels' box with what a bolus leaves in it at one moment.

    Args:
        bolus: Vessels and injection.
        device: Where the box lies.
    """

    def __init__(self, bolus: Bolus, device: ComputeDevice) -> None:
        self._device, self._count = device, len(bolus.vessels.index)
        self._table, self._gone_s = concentration_table(bolus.config), bolus.gone_s
        self._lists = {
            "index": device.to_device(bolus.vessels.index),
            "amount": device.to_device(bolus.amount),
            "travel_s": device.to_device(bolus.travel_s),
            "curve": device.to_device(self._table),
        }

    def present(self, since_s: float | None) -> bool:
        """Whether there is any iodine so long after the injection [s]; None: not injected."""
        return since_s is not None and 0 < since_s < self._gone_s

    def fill(self, voxels: Any, since_s: float) -> None:
        """Write the share of iodine into the voxels that hold a vessel.

        Args:
            voxels: The box, (z, y, x), float32, of the device; the others are left as they are.
            since_s: After the injection [s].
        """
        size = (LIST_COLUMNS, -(-self._count // LIST_COLUMNS), 1)
        self._device.launch(
            "contrast_fill",
            "contrast_fill",
            size,
            {
                "image": voxels,
                "image_size": size,
                "voxels": voxels,
                "count": self._count,
                "since_s": float(since_s),
                "last": len(self._table) - 1,
                "per_s": CURVE_STEPS_PER_S,
                **self._lists,
            },
            exact=True,
        )


class ContrastRenderer:
    """Integrates the iodine of a bolus along the rays of a view.

    Integrals are linear: what iodine there is adds to the patient's, whose blood it is mixed
    into; that it displaces some of it is left aside.

    Args:
        bolus: Vessels and injection.
        device: Where to render.
    """

    def __init__(self, bolus: Bolus, device: ComputeDevice) -> None:
        grid = bolus.vessels.grid
        self._fill = ContrastFill(bolus, device)
        self._voxels = device.to_device(np.zeros(grid.shape_zyx, np.float32))
        step_mm = float(grid.spacing_xyz_mm[0])
        self._renderer = MovingRenderer(self._voxels, grid, device, step_mm=step_mm, solid=True)

    def render(
        self,
        view: View,
        since_s: float | None,
        displacements_mm: NDArray[np.float32] | None = None,
        nodes: VolumeGrid | None = None,
    ) -> Any:
        """Thickness of pure iodine [mm at its density] for every pixel, shape (height, width).

        Args:
            view: One view.
            since_s: After the injection [s]; None: not injected.
            displacements_mm: How the patient has moved, as for `MovingRenderer.render`; None: at
                rest.
            nodes: Where that is given.

        Returns:
            The thickness; None where there is no iodine at that time.
        """
        if since_s is None or not self._fill.present(since_s):
            return None
        self._fill.fill(self._voxels, since_s)
        if displacements_mm is None or nodes is None:
            return self._renderer.render_still(view)
        return self._renderer.render(view, displacements_mm, nodes)
