"""The loss of an image at a pose and its derivative with respect to the pose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import InputError
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.registration.measures.choice import make_measure
from fluoro.registration.search.pyramid import bin_image, bin_view
from fluoro.registration.targets.target import Target
from fluoro.rendering.renderer import DrrRenderer

__all__ = ["PoseGradient", "PoseLoss"]


@dataclass(frozen=True, kw_only=True, eq=False)
class PoseGradient:
    """What a rendered image says of a pose.

    Attributes:
        iteration: Counts from 0.
        loss: Of the rendered image against the target; smaller is more alike.
        gradient: Derivative of the loss by a left twist of the C-arm about the isocentre, world
            LPS axes: omega_x, omega_y, omega_z [1/rad], v_x, v_y, v_z [1/mm], shape (6,).
        image: Line integrals at the pose, shape (height, width), float32.
        jacobian: Derivative of the image by the same twist, shape (6, height, width), float32;
            None: not requested.
    """

    iteration: int
    loss: float
    gradient: NDArray[np.float64]
    image: NDArray[np.float32]
    jacobian: NDArray[np.float32] | None


class PoseLoss:
    """Renders a pose with derivatives and compares it with a target.

    Args:
        renderer: With derivatives: projector "march", "joseph" or "slab".
        isocenter_xyz_mm: About which the twist turns, patient LPS [mm].
        width_px: Detector columns to work at; targets are binned to about that.
        measure: The loss, by its name in the settings of a registration.
    """

    def __init__(
        self,
        renderer: DrrRenderer,
        isocenter_xyz_mm: Sequence[float],
        *,
        width_px: int = 128,
        measure: str = "ncc",
    ) -> None:
        self._renderer, self._isocenter = renderer, isocenter_xyz_mm
        self._width_px, self._measure = width_px, measure

    def __call__(
        self,
        pose: CarmPose,
        target: Target,
        geometry: CarmGeometry,
        *,
        iteration: int = 0,
        jacobian: bool = False,
    ) -> PoseGradient:
        """Loss, gradient and image at a pose.

        Args:
            pose: Where to render.
            target: Line integrals of the geometry's detector size.
            geometry: The C-arm's lengths and detector.
            iteration: Handed through.
            jacobian: Hand out the image's Jacobian as well.

        Raises:
            InputError: A target of another size than the detector.
        """
        view = geometry.view(pose, self._isocenter)
        if target.image.shape != (view.height_px, view.width_px):
            raise InputError(
                f"target must have the detector's shape {(view.height_px, view.width_px)}, "
                f"got {target.image.shape}"
            )
        factor = max(1, round(min(view.width_px, view.height_px) / self._width_px))
        measure = make_measure(self._measure, *bin_image(target.image, target.mask, factor))
        pair = self._renderer.render_jacobian(bin_view(view, factor), self._isocenter)
        image, slopes = (self._renderer.device.to_host(array) for array in pair)
        loss, upstream = measure.cost(image)
        return PoseGradient(
            iteration=iteration,
            loss=loss,
            gradient=np.tensordot(slopes, upstream, axes=2).astype(float),
            image=image,
            jacobian=slopes if jacobian else None,
        )
