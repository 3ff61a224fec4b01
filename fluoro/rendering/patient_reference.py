"""The reference of `PatientRenderer`: what its kernels compute, in NumPy and float64."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fluoro.config import Config
from fluoro.geometry.projection import View
from fluoro.rendering.material_reference import (
    share_volumes,
    tissue_joseph_twin,
    tissue_march_twin,
    tissue_moved_twin,
)
from fluoro.rendering.moving_reference import moved_integrals
from fluoro.rendering.moving_renderer import knot_steps
from fluoro.rendering.patient_renderer import iodine_per_mm
from fluoro.rendering.reference import joseph_twin, march_twin, siddon_twin, slab_twin
from fluoro.volume.bolus import make_bolus
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.load import material_volume
from fluoro.volume.materials import MaterialVolume
from fluoro.volume.motion import ThoraxMotion
from fluoro.volume.volumes import MuVolume

__all__ = ["patient_reference"]

Array = NDArray[np.float64]
TWINS = {"joseph": joseph_twin, "slab": slab_twin, "siddon": siddon_twin}


def patient_reference(
    config: Config,
    volume: MuVolume,
    view: View,
    time_s: float = 0.0,
    injected_s: float | None = None,
    materials: MaterialVolume | None = None,
) -> Array:
    """Return what the renderer that `make_patient` makes should return.

    Args:
        config: As for `make_patient`.
        volume: As for `make_patient`.
        view: One view.
        time_s: Of the run [s].
        injected_s: When contrast was injected [s]; None: it was not.
        materials: As for `make_patient`.

    Returns:
        Line integrals, shape (height, width), or thicknesses [mm], shape (materials, height,
        width).
    """
    rays, iodine = _Rays.of(config, view, time_s), _iodine(config, time_s, injected_s)
    if config.image_chain.xray is None:
        integrals = rays.integrals(volume)
        if iodine:
            step_mm = float(iodine.grid.spacing_xyz_mm[0])
            integrals += iodine_per_mm(config.volume) * rays.marched(iodine, step_mm)
        return integrals
    filled = materials or material_volume(config.volume, volume)
    shares = [each for inclusion in filled.inclusions for each in share_volumes(inclusion)]
    shares += [iodine] if iodine else []
    return np.concatenate([rays.tissues(filled), *(rays.integrals(each)[None] for each in shares)])


@dataclass(frozen=True, kw_only=True)
class _Rays:
    """Of a view, through a patient who may have moved: displacements [mm] and their nodes."""

    view: View
    projector: str
    step_mm: float | None
    moved: tuple[NDArray[np.float32], VolumeGrid] | None

    @classmethod
    def of(cls, config: Config, view: View, time_s: float) -> _Rays:
        motion = ThoraxMotion(config.volume.motion) if config.volume.motion else None
        return cls(
            view=view,
            projector=config.renderer.projector,
            step_mm=config.renderer.step_mm,
            moved=(motion.displacements_mm(time_s), motion.grid) if motion else None,
        )

    def integrals(self, volume: MuVolume) -> Array:
        """Along the configured projector's rays."""
        if self.projector in TWINS:
            return TWINS[self.projector](volume, self.view)
        return self.marched(volume, self._step_mm(volume.grid))

    def marched(self, volume: MuVolume, step_mm: float) -> Array:
        """By march, with a step of its own [mm]."""
        if self.moved is None:
            return march_twin(volume, self.view, step_mm)
        return moved_integrals(volume, self.view, step_mm, *self.moved, knot_steps(step_mm))

    def tissues(self, materials: MaterialVolume) -> Array:
        """Thickness of each tissue [mm]."""
        if self.projector == "joseph":
            return tissue_joseph_twin(materials, self.view)
        step_mm = self._step_mm(materials.volume.grid)
        if self.moved is None:
            return tissue_march_twin(materials, self.view, step_mm)
        return tissue_moved_twin(materials, self.view, step_mm, self.moved, knot_steps(step_mm))

    def _step_mm(self, grid: VolumeGrid) -> float:
        return self.step_mm or min(grid.spacing_xyz_mm) / 2


def _iodine(config: Config, time_s: float, injected_s: float | None) -> MuVolume | None:
    """The share of pure iodine in the vessels' voxels; None: there is no contrast."""
    if config.volume.contrast is None:
        return None
    bolus = make_bolus(config.volume.contrast)
    since_s = -1.0 if injected_s is None else time_s - injected_s
    return MuVolume(mu_zyx=bolus.shares(since_s), grid=bolus.vessels.grid)
