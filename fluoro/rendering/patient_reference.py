"""The reference of `PatientRenderer`: what its kernels compute, in NumPy and float64."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fluoro.config import Config
from fluoro.geometry.projection import View
from fluoro.rendering.material_reference import layer_sample, tissue_sample
from fluoro.rendering.moving_reference import is_inside, moved_points, moved_sums
from fluoro.rendering.moving_renderer import knot_steps, moving_box
from fluoro.rendering.parts.scene_reference import Sampled, draw_posed
from fluoro.rendering.patient_renderer import iodine_per_mm
from fluoro.rendering.projectors import PROJECTORS
from fluoro.rendering.reference import clip_rays, trilinear
from fluoro.scene.assemble import material_volume
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.material_volume import MaterialVolume
from fluoro.volume.phantom.patient import phantom_bolus, phantom_motion
from fluoro.volume.volumes import MuVolume

__all__ = ["patient_reference"]

Array = NDArray[np.float64]


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
            integrals += iodine_per_mm(config.volume) * rays.marched(iodine, step_mm, solid=True)
        return integrals
    filled = materials or material_volume(config.volume, volume)
    planes = [rays.thicknesses(tissue_sample(filled), volume.grid)]
    planes += [
        rays.thicknesses(layer_sample(s.layer()), s.grid, solid=True) for s in filled.inclusions
    ]
    planes += [rays.integrals(iodine, solid=True)[None]] if iodine else []
    if filled.posed:
        samples = [(tissue_sample(filled), volume.grid)]
        samples += [(layer_sample(s.layer()), s.grid) for s in filled.inclusions]
        samples += [(_share_sample(iodine), iodine.grid)] if iodine else []
        layers = [
            rays.moved_layer(Sampled(*one, plane), solid=number > 0)
            for number, (one, plane) in enumerate(zip(samples, planes, strict=True))
        ]
        planes.append(draw_posed(filled, view, time_s, layers))
    return np.concatenate(planes)


def _share_sample(volume: MuVolume) -> Callable[[Array], Array]:
    """What gives the share of one material, (R, 1), at points (R, 3), voxel index."""
    return lambda points: trilinear(volume.mu_zyx, points)[:, None]


@dataclass(frozen=True, kw_only=True)
class _Rays:
    """Of a view, through a patient who may have moved: displacements [mm] and their nodes."""

    view: View
    projector: str
    step_mm: float | None
    moved: tuple[NDArray[np.float32], VolumeGrid] | None

    @classmethod
    def of(cls, config: Config, view: View, time_s: float) -> _Rays:
        motion = phantom_motion(config.volume)
        return cls(
            view=view,
            projector=config.renderer.projector,
            step_mm=config.renderer.step_mm,
            moved=(motion.displacements_mm(time_s), motion.grid) if motion else None,
        )

    def integrals(self, volume: MuVolume, *, solid: bool = False) -> Array:
        """Along the configured projector's rays."""
        step_mm = self._step_mm(volume.grid)
        if self.moved:
            return self.marched(volume, step_mm, solid=solid)
        return PROJECTORS[self.projector].reference(volume, self.view, step_mm)

    def marched(self, volume: MuVolume, step_mm: float, *, solid: bool = False) -> Array:
        """By march, with a step of its own [mm]."""
        return self._sums(
            lambda points: trilinear(volume.mu_zyx, points), volume.grid, step_mm, solid
        )

    def thicknesses(
        self, sample: Callable[[Array], Array], grid: VolumeGrid, *, solid: bool = False
    ) -> Array:
        """Of materials [mm] whose shares `sample` gives, shape (materials, height, width)."""
        points_of = PROJECTORS[self.projector].points
        if self.moved or points_of is None:
            return self._sums(sample, grid, self._step_mm(grid), solid)
        samples = points_of(clip_rays(self.view, grid), grid, self._step_mm(grid))
        sums = sum(mm[:, None] * sample(points) for points, mm in samples)
        return np.asarray(sums).T.reshape(-1, self.view.height_px, self.view.width_px)

    def moved_layer(self, layer: Sampled, *, solid: bool) -> Sampled:
        """Where a layer of the patient has moved: each of its samples by itself."""
        if self.moved is None:
            return layer
        displacements_mm, nodes = self.moved

        def sample(points: Array) -> Array:
            at = moved_points(points, layer.grid, displacements_mm, nodes)
            there = is_inside(at, layer.grid)[:, None] if solid else 1.0
            return np.asarray(layer.sample(at) * there)

        box = moving_box(layer.grid, displacements_mm)[0] if solid else None
        return layer._replace(sample=sample, box=box)

    def _sums(
        self, sample: Callable[[Array], Array], grid: VolumeGrid, step_mm: float, solid: bool
    ) -> Array:
        knots = knot_steps(step_mm)
        return moved_sums(sample, grid, self.view, step_mm, self.moved, knots, solid=solid)

    def _step_mm(self, grid: VolumeGrid) -> float:
        return self.step_mm or min(grid.spacing_xyz_mm) / 2


def _iodine(config: Config, time_s: float, injected_s: float | None) -> MuVolume | None:
    """The share of pure iodine in the vessels' voxels; None: there is no contrast."""
    bolus = phantom_bolus(config.volume)
    if bolus is None:
        return None
    since_s = -1.0 if injected_s is None else time_s - injected_s
    return MuVolume(mu_zyx=bolus.shares(since_s), grid=bolus.vessels.grid)
