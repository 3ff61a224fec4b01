"""The DRR renderer: line integrals of a volume for views, on a compute device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from fluoro.errors import InputError
from fluoro.geometry.projection import View
from fluoro.rendering.devices import ComputeDevice
from fluoro.rendering.packing import pack_views
from fluoro.volume.volumes import MuVolume

__all__ = ["DrrRenderer", "Projector"]

Projector = Literal["march", "joseph", "siddon"]
PROJECTORS = ("march", "joseph", "siddon")
MAX_VOXELS = 2**31 - 1
"""Kernels index voxels with 32-bit integers."""


class DrrRenderer:
    """Integrates attenuation along the rays of cone-beam views.

    A ray counts from the source to its pixel's centre and inside the volume's support (its voxel
    faces); between the outermost voxel centre and the face the edge value holds.

    Args:
        volume: Attenuation [1/mm]; on the CPU it is read in place, also from a memory map.
        device: Where to render.
        projector: "march" samples the trilinear interpolant at equal steps fitted to each ray's
            path; "joseph" takes one bilinear sample a voxel plane; "siddon" takes voxels as
            constant.
        step_mm: Longest step of "march" [mm]; None: half the smallest voxel edge.

    Raises:
        InputError: Unknown projector, a step that is not positive or given to another projector
            than "march", or more than 2^31 - 1 voxels.
    """

    def __init__(
        self,
        volume: MuVolume,
        device: ComputeDevice,
        *,
        projector: Projector = "march",
        step_mm: float | None = None,
    ) -> None:
        _check(volume, projector, step_mm)
        self.device = device
        self.grid = volume.grid
        self.projector = projector
        self.step_mm = step_mm or min(volume.grid.spacing_xyz_mm) / 2
        self._mu = device.to_device(volume.mu_zyx)

    def render(self, views: View | Sequence[View], out: Any = None) -> Any:
        """Line integrals (dimensionless) of one view or a batch.

        Args:
            views: One view, or several with the same number of pixels.
            out: float32 array of the device to write into, shape (height, width), or
                (N, height, width) for a batch; None: a new one.

        Returns:
            `out`; on the CPU a NumPy array, on CUDA a CuPy array.

        Raises:
            InputError: No view, views of different sizes, or an `out` that does not fit.
        """
        batch = [views] if isinstance(views, View) else list(views)
        height, width = _common_size(batch)
        shape = (height, width) if isinstance(views, View) else (len(batch), height, width)
        image = self.device.empty(shape) if out is None else self._checked(out, shape)
        lanes = self.device.rays_per_thread
        self.device.launch(
            "drr",
            f"project_{self.projector}",
            (-(-width // lanes), height, len(batch)),
            {
                "mu_per_mm": self._mu,
                "size": self.grid.shape_xyz,
                "spacing_mm": tuple(float(edge) for edge in self.grid.spacing_xyz_mm),
                "views": self.device.to_device(pack_views(batch, self.grid)),
                "integrals": image,
                "image_size": (width, height, len(batch)),
                "step_mm": float(self.step_mm),
            },
        )
        return image

    def _checked(self, out: Any, shape: tuple[int, ...]) -> Any:
        fits = self.device.owns(out) and out.shape == shape and out.dtype == np.float32
        if not fits:
            raise InputError(
                f"out must be a C-contiguous float32 array of the {self.device.kind} device with "
                f"shape {shape}, got {type(out).__name__} {getattr(out, 'shape', '')} "
                f"{getattr(out, 'dtype', '')}"
            )
        return out


def _check(volume: MuVolume, projector: str, step_mm: float | None) -> None:
    if projector not in PROJECTORS:
        raise InputError(f"projector must be one of {', '.join(PROJECTORS)}, got {projector!r}")
    if step_mm is not None and projector != "march":
        raise InputError(f"step_mm has no effect on projector {projector!r}")
    if step_mm is not None and not (np.isfinite(step_mm) and step_mm > 0):
        raise InputError(f"step_mm must be a positive length, got {step_mm}")
    if volume.mu_zyx.size > MAX_VOXELS:
        raise InputError(
            f"the volume has {volume.mu_zyx.size} voxels, the renderer takes up to {MAX_VOXELS}: "
            "crop or resample it"
        )


def _common_size(views: Sequence[View]) -> tuple[int, int]:
    sizes = {(view.height_px, view.width_px) for view in views}
    if len(sizes) != 1:
        raise InputError(f"views must be one or more of equal size, got sizes {sorted(sizes)}")
    return sizes.pop()
