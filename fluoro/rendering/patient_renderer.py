"""The patient of a run: what a renderer shows at rest, moving, and with contrast in its vessels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from fluoro.config import Config, VolumeConfig
from fluoro.geometry.projection import View
from fluoro.physics.materials import Material, material
from fluoro.rendering.contrast_renderer import ContrastFill, ContrastRenderer
from fluoro.rendering.deferred_integrals import DeferredIntegrals
from fluoro.rendering.devices.base import ComputeDevice, Fence, Interval
from fluoro.rendering.material_renderer import MaterialRenderer
from fluoro.rendering.moving_renderer import MovingRenderer
from fluoro.rendering.renderer import DrrRenderer
from fluoro.scene.assemble import material_volume
from fluoro.steady_clock import steady_ns
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.material_volume import Inclusion, MaterialVolume
from fluoro.volume.phantom.bolus import Bolus
from fluoro.volume.phantom.patient import phantom_bolus, phantom_motion
from fluoro.volume.phantom.phantom_motion import ThoraxMotion
from fluoro.volume.posed_solid import PosedSolid
from fluoro.volume.volumes import MuVolume

__all__ = ["PatientRenderer", "Rendering", "iodine_per_mm", "make_patient"]

IODINE_KEV = 70.0
"""Photon energy of iodine's attenuation where the volume's own map has none [keV]."""


class Rendering:
    """An image that is on its way.

    Attributes:
        fence: Of its launches.
    """

    def __init__(self, fence: Fence, begun_ns: int) -> None:
        self.fence = fence
        self._interval = Interval(begun_ns=begun_ns, ended_ns=steady_ns())

    def wait(self) -> Interval:
        """Return when the image is there: when it was rendered."""
        return self.fence.wait() or self._interval


class PatientRenderer:
    """Images of a patient who may breathe and have contrast in the vessels.

    Attributes:
        grid: Where the patient's voxels lie.
        materials: Whose thicknesses `render` gives; none: it gives line integrals.
        posed: Objects with a pose per frame; `steer` moves them.
    """

    grid: VolumeGrid
    materials: tuple[Material, ...] = ()
    posed: tuple[PosedSolid, ...] = ()

    def __init__(
        self, motion: ThoraxMotion | None, at_rest: DrrRenderer | MaterialRenderer
    ) -> None:
        self._motion, self._at_rest, self._device = motion, at_rest, at_rest.device

    def render(self, view: View, time_s: float = 0.0, injected_s: float | None = None) -> Any:
        """Return one view at one moment.

        Args:
            view: One view.
            time_s: Of the run [s].
            injected_s: When contrast was injected [s]; None: it was not.

        Returns:
            Line integrals, shape (height, width), or thicknesses [mm], shape (materials, height,
            width); float32 array of the device. Or `DeferredIntegrals`, of a fused renderer.
        """
        integrals, rendering = self.start(view, time_s, injected_s)
        if rendering:
            rendering.wait()
        return integrals

    def make_copies(self, views: Sequence[View], device: ComputeDevice) -> None:
        """Make the copies of the volume from which these views are rendered.

        A patient who breathes is rendered from the volume itself: there is nothing to make.

        Args:
            views: As for `DrrRenderer.make_copies`.
            device: As for `DrrRenderer.make_copies`.
        """
        if self._motion is None:
            self._at_rest.make_copies(views, device)

    def start(
        self, view: View, time_s: float = 0.0, injected_s: float | None = None
    ) -> tuple[Any, Rendering | None]:
        """Begin with an image, behind those begun before; on a `LaunchQueue` without waiting.

        Args:
            view: As for `render`.
            time_s: As for `render`.
            injected_s: As for `render`.

        Returns:
            What `render` returns, not to be read yet, and what to wait for before; None: the image
            chain renders.
        """
        begun_ns = steady_ns()
        integrals = self._image(view, time_s, injected_s)
        if isinstance(integrals, DeferredIntegrals):
            return integrals, None
        return integrals, Rendering(self._device.fence(), begun_ns)

    def _image(self, view: View, time_s: float, injected_s: float | None) -> Any:
        since_s = None if injected_s is None else time_s - injected_s
        if self._motion is None:
            return self._render(view, time_s, since_s, ())
        return self._render(
            view, time_s, since_s, (self._motion.displacements_mm(time_s), self._motion.grid)
        )

    def _render(
        self, view: View, time_s: float, since_s: float | None, moved: tuple[Any, ...]
    ) -> Any:
        """The image; `moved` has displacements and their nodes, or nothing."""
        raise NotImplementedError


class _OneEnergy(PatientRenderer):
    """Line integrals at one energy; those of iodine are added."""

    def __init__(
        self,
        renderer: DrrRenderer,
        volume: MuVolume,
        motion: ThoraxMotion | None,
        bolus: Bolus | None,
        iodine_per_mm: float,
        *,
        fused: bool,
    ) -> None:
        super().__init__(motion, renderer)
        self._renderer, self.grid, self._fused = renderer, volume.grid, fused
        self._iodine_per_mm = iodine_per_mm
        self._contrast = ContrastRenderer(bolus, self._device) if bolus else None
        self._moving = (
            MovingRenderer(volume.mu_zyx, volume.grid, self._device, step_mm=renderer.step_mm)
            if motion
            else None
        )

    def _render(
        self, view: View, _time_s: float, since_s: float | None, moved: tuple[Any, ...]
    ) -> Any:
        if self._fused:
            return self._renderer.deferred(view)
        if self._moving:
            integrals = self._moving.render(view, *moved)
        else:
            integrals = self._renderer.render(view)
        iodine_mm = self._contrast.render(view, since_s, *moved) if self._contrast else None
        if iodine_mm is not None:
            self._add(integrals, iodine_mm)
        return integrals

    def _add(self, integrals: Any, iodine_mm: Any) -> None:
        height, width = integrals.shape
        size = (width, height, 1)
        uniforms = {
            "image": integrals,
            "image_size": size,
            "integrals": iodine_mm,
            "factor": self._iodine_per_mm,
        }
        self._device.launch("add_integrals", "add_integrals", size, uniforms, exact=True)


class _Materials(PatientRenderer):
    """Thicknesses of materials; iodine is the last of them where there is contrast."""

    def __init__(
        self, renderer: MaterialRenderer, motion: ThoraxMotion | None, bolus: Bolus | None
    ) -> None:
        super().__init__(motion, renderer)
        self._renderer, self.grid = renderer, renderer.grid
        self.materials, self.posed = renderer.materials, renderer.posed
        self._fill = ContrastFill(bolus, renderer.device) if bolus else None

    def _render(
        self, view: View, time_s: float, since_s: float | None, moved: tuple[Any, ...]
    ) -> Any:
        if self._fill:
            gone = since_s if since_s is not None and self._fill.present(since_s) else -1.0
            self._fill.fill(self._renderer.samples(-1), gone)
        if moved:
            return self._renderer.render_moved(view, *moved, time_s=time_s)
        return self._renderer.render(view, time_s=time_s)


def iodine_per_mm(config: VolumeConfig) -> float:
    """Return iodine's attenuation at the energy of the volume's own [1/mm]."""
    energy_kev = float(getattr(config.hu_to_mu, "energy_kev", IODINE_KEV))
    return float(material("iodine").mu_per_mm(energy_kev))


def make_patient(
    config: Config,
    volume: MuVolume,
    device: ComputeDevice,
    materials: MaterialVolume | None = None,
) -> PatientRenderer:
    """Return the configured patient on a device.

    Args:
        config: Volume, renderer, and whether the beam has many energies.
        volume: The configured volume.
        device: Where to render.
        materials: What a beam of many energies goes through; None: as configured.
    """
    given, wanted = config.volume, config.renderer
    motion, bolus = phantom_motion(given), phantom_bolus(given)
    if config.image_chain.xray is None:
        renderer = DrrRenderer(
            volume,
            device,
            projector=wanted.projector,
            step_mm=wanted.step_mm,
            texture=wanted.texture,
        )
        iodine = iodine_per_mm(given)
        return _OneEnergy(renderer, volume, motion, bolus, iodine, fused=wanted.fused)
    filled = _with_iodine(materials or material_volume(given, volume), bolus)
    of_materials = MaterialRenderer(
        filled, device, projector=wanted.projector, step_mm=wanted.step_mm
    )
    return _Materials(of_materials, motion, bolus)


def _with_iodine(volume: MaterialVolume, bolus: Bolus | None) -> MaterialVolume:
    """The materials and a box for iodine, empty so far."""
    if bolus is None:
        return volume
    grid = bolus.vessels.grid
    empty = np.zeros(grid.shape_zyx, np.float32)
    iodine = Inclusion(material=material("iodine"), share_zyx=empty, grid=grid)
    return replace(volume, inclusions=(*volume.inclusions, iodine))
