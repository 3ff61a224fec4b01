"""A coarse thorax, a small detector and targets, shared by the tests of registration."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from fluoro.config import MultiStart, RegistrationSettings
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.geometry.projection import View
from fluoro.registration.measures.metrics import cube_corners_xyz_mm, mtre_mm
from fluoro.registration.register import Registrar
from fluoro.registration.report.result import RegistrationResult
from fluoro.registration.rigid_motion import motion_about, moved_view
from fluoro.registration.search.starts import twist_at_mtre
from fluoro.registration.targets.target import Target
from fluoro.rendering.devices.cpu.device import CpuDevice
from fluoro.rendering.renderer import DrrRenderer
from fluoro.volume.hu_to_mu import mu_from_hu
from fluoro.volume.phantom.thorax import make_thorax
from fluoro.volume.volumes import MuVolume

DETECTOR = CarmGeometry(detector_width_px=96, detector_height_px=96, pixel_spacing_mm=4.0)


def changed(settings, **values):
    """Settings with other values, which are checked."""
    return RegistrationSettings(**(dict(settings) | values))


QUICK = RegistrationSettings(
    widths_px=(24, 48, 96), multi_start=MultiStart(starts=24), attempts=1, max_iterations=15
)
"""Finds what is within about 25 mm."""
SMALL = changed(QUICK, hypotheses="never", multi_start={"starts": 1})
"""Searches from the given start alone."""
POSE = CarmPose(lao_deg=20, cra_deg=8, roll_deg=3, translation_mm=(6.0, -4.0, 9.0))


@cache
def device() -> CpuDevice:
    """The CPU."""
    return CpuDevice()


@cache
def thorax() -> MuVolume:
    """The thorax phantom in voxels of 3 mm."""
    hu = make_thorax(3.0)
    return MuVolume(mu_zyx=mu_from_hu(hu.hu_zyx, 70.0), grid=hu.grid, source=hu.source)


def center() -> NDArray[np.float64]:
    """The phantom's centre, which is the C-arm's isocentre."""
    return thorax().grid.center_xyz_mm


def view_at(pose: CarmPose = POSE, detector: CarmGeometry = DETECTOR) -> View:
    """The C-arm's view of the phantom."""
    return detector.view(pose, center())


@cache
def _renderer() -> DrrRenderer:
    return DrrRenderer(thorax(), device(), projector="march")


def rendered(view: View) -> NDArray[np.float32]:
    """Line integrals by the projector that registration does not use."""
    return _renderer().render(view)


def counted(integrals: NDArray[np.float32], seed: int, photons: float = 1e5) -> NDArray[np.float32]:
    """Line integrals as a detector sees them: -log of Poisson counts."""
    counts = np.random.default_rng(seed).poisson(photons * np.exp(-integrals.astype(float)))
    return (np.log(photons) - np.log(np.maximum(counts, 0.5))).astype(np.float32)


def target(image: NDArray[np.floating], mask: NDArray[np.bool_] | None = None) -> Target:
    """A target as it is."""
    kept = np.ones(image.shape, bool) if mask is None else mask
    return Target(image=np.asarray(image, np.float32), mask=kept)


def displacement(seed: int, distance_mm: float) -> NDArray[np.float64]:
    """A random motion that moves the cube's corners by so much on average."""
    twist = twist_at_mtre(np.random.default_rng(seed), distance_mm, center())
    return motion_about(twist, center())


def error_mm(result: RegistrationResult, displaced: NDArray[np.float64]) -> float:
    """mTRE of a result whose views started `displaced` from the truth."""
    return mtre_mm(result.motion @ displaced, np.eye(4), cube_corners_xyz_mm(center()))


def find(
    image: NDArray[np.floating],
    displaced: NDArray[np.float64],
    settings: RegistrationSettings = QUICK,
    pose: CarmPose = POSE,
) -> RegistrationResult:
    """Register one image, starting displaced from a pose."""
    registrar = Registrar(thorax(), device(), settings)
    return registrar.register([target(image)], [moved_view(view_at(pose), displaced)])


def blobs(shape: tuple[int, int], seed: int, sigma_px: float) -> NDArray[np.float64]:
    """Smooth noise: an image of something else."""
    return gaussian_filter(np.random.default_rng(seed).normal(size=shape), sigma_px)
