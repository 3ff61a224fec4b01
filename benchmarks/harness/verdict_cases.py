"""Images that a registration must not believe, and images that it must: drawn by a seed.

Each case has a true C-arm that makes the image and a stated one that the registration is given.
Of a right case they differ within `carm.tolerance` alone; of a wrong one in what its kind says, or
the image does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.config import CarmTolerance, ImageChainConfig, VolumeConfig
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.geometry.projection import View
from fluoro.registration.rigid_motion import motion_about, moved_view
from fluoro.registration.search.starts import twist_at_mtre
from fluoro.registration.targets.preparation import Preparation
from fluoro.registration.targets.rendered_target import chain_image
from fluoro.registration.targets.target import Target
from fluoro.registration.targets.target_preprocessing import prepare
from fluoro.rendering.devices.base import ComputeDevice
from fluoro.rendering.renderer import DrrRenderer
from fluoro.volume.load import load_volume
from fluoro.volume.volumes import MuVolume

__all__ = ["GEOMETRY", "PATIENTS", "RIGHT", "WRONG", "VerdictCase", "VerdictTargets", "draw_cases"]

Random = np.random.Generator
Image = NDArray[Any]

GEOMETRY = CarmGeometry(
    source_to_detector_mm=1200.0,
    source_to_isocenter_mm=900.0,
    detector_width_px=256,
    detector_height_px=256,
    pixel_spacing_mm=1.68,
)
"""Of configs/register_chest.yaml and configs/register_phantom.yaml."""
PATIENTS = {"phantom": {"phantom": "thorax"}, "chest CT": {"path": "cache:chest-ct"}}
RIGHT = "right"
WRONG = {
    "mirrored": 24,
    "inverted": 24,
    "turned by 90, 180, 270 degrees": 24,
    "source to detector 3, 10, 20 % off": 36,
    "pitch 3, 10 % off": 28,
    "principal point 3 to 10 px off": 36,
    "isocentre 5 to 20 mm off": 24,
    "another patient's CT": 24,
    "another region": 24,
    "collimated to a third": 28,
    "instrument across the image": 28,
}
"""How many of each kind, 300 in all."""
FARTHEST_START_MM = 40.0
DOSES_NGY = (2.0, 20.0)
"""Of a fluoroscopy frame and of a few times as much."""
HALVES = ("lower half", "upper half")
"""Of a patient: another region's image shows one, and the CT is the other."""
METAL = 6.0
"""Line integral of an instrument: nothing passes but scatter."""


@dataclass(frozen=True, kw_only=True)
class VerdictCase:
    """One registration.

    Attributes:
        kind: `RIGHT`, or one of `WRONG`.
        number: Within its kind.
        patient: What the image shows: one of `PATIENTS`, or a half of it.
        ct: What is registered to the image, likewise.
        true: The C-arm that made the image.
        stated: The C-arm as the registration is given it.
        pose: The true pose.
        start_mm: mTRE of the start [mm].
        isocenter_off_mm: Stated less true isocentre [mm].
        target_kind: raw, log or display.
        dose_ngy: Of the image.
        seed: Of the start, the noise and what the kind draws.
    """

    kind: str
    number: int
    patient: str
    ct: str
    true: CarmGeometry
    stated: CarmGeometry
    pose: CarmPose
    start_mm: float
    isocenter_off_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    target_kind: Any = "raw"
    dose_ngy: float
    seed: int

    @property
    def random(self) -> Random:
        """What the kind draws, the same each time."""
        return np.random.default_rng([self.seed, 1])

    def views(self, center_xyz_mm: NDArray[np.float64]) -> tuple[View, View, View]:
        """The true view; the stated C-arm at the true pose; where the search starts."""
        x, y, z = center_xyz_mm.tolist()
        true = self.true.view(self.pose, (x, y, z))
        right = self.stated.view(self.pose, (x, y, z))
        twist = twist_at_mtre(np.random.default_rng(self.seed), self.start_mm, center_xyz_mm)
        shift = np.eye(4)
        shift[:3, 3] = self.isocenter_off_mm
        start = moved_view(right, motion_about(twist, center_xyz_mm) @ shift)
        return true, right, start


def draw_cases(seed: int, right: int = 200, share: float = 1.0) -> Iterator[VerdictCase]:
    """Yield the wrong cases, then the right ones.

    Args:
        seed: Of all that is drawn.
        right: How many right ones.
        share: Of the wrong ones of each kind, for a quick look.
    """
    for row, (kind, count) in enumerate(WRONG.items()):
        for number in range(max(1, round(share * count))):
            yield _drawn(kind, number, seed, row)
    for number in range(right):
        yield _drawn(RIGHT, number, seed, len(WRONG))


def _drawn(kind: str, number: int, seed: int, row: int) -> VerdictCase:
    random = np.random.default_rng([seed, row, number])
    patients = list(PATIENTS)
    patient = patients[number % 2]
    ct = patients[1 - number % 2] if kind == "another patient's CT" else patient
    if kind == "another region":
        halves = [f"{patient}, {half}" for half in HALVES]
        patient, ct = halves[number // 2 % 2], halves[1 - number // 2 % 2]
    x, y, z = random.uniform(-15, 15, 3).tolist()
    pose = CarmPose(
        lao_deg=random.uniform(-45, 45),
        cra_deg=random.uniform(-20, 20),
        roll_deg=random.uniform(-10, 10),
        translation_mm=(x, y, z),
    )
    low, high = np.log(DOSES_NGY)
    case = VerdictCase(
        kind=kind,
        number=number,
        patient=patient,
        ct=ct,
        true=_within_tolerance(random),
        stated=GEOMETRY,
        pose=pose,
        start_mm=random.uniform(0, FARTHEST_START_MM),
        target_kind="display" if kind == "inverted" else ("raw", "display", "log")[number // 2 % 3],
        dose_ngy=float(np.exp(random.uniform(low, high))),
        seed=int(random.integers(2**31)),
    )
    return _with_fault(case, random)


def _within_tolerance(random: Random) -> CarmGeometry:
    """A C-arm as the stated one might be in truth."""
    tolerance = CarmTolerance()
    sdd, sod, pitch, u, v = random.normal(size=5).tolist()
    return replace(
        GEOMETRY,
        source_to_detector_mm=GEOMETRY.source_to_detector_mm
        + sdd * tolerance.source_to_detector_mm,
        source_to_isocenter_mm=GEOMETRY.source_to_isocenter_mm
        + sod * tolerance.source_to_isocenter_mm,
        pixel_spacing_mm=GEOMETRY.pixel_spacing_mm * (1 + pitch * tolerance.pixel_spacing_share),
        detector_offset_mm=(u * tolerance.principal_point_mm, v * tolerance.principal_point_mm),
    )


def _with_fault(case: VerdictCase, random: Random) -> VerdictCase:
    """The case with the C-arm's error that its kind is about; errors of images come later."""
    k = case.number // 2
    if case.kind.startswith("source to detector"):
        factor = 1 + (-0.2, -0.1, -0.03, 0.03, 0.1, 0.2)[k % 6]
        stated_mm = GEOMETRY.source_to_detector_mm * factor
        return replace(case, stated=replace(GEOMETRY, source_to_detector_mm=stated_mm))
    if case.kind.startswith("pitch"):
        factor = 1 + (-0.1, -0.03, 0.03, 0.1)[k % 4]
        stated = replace(GEOMETRY, pixel_spacing_mm=GEOMETRY.pixel_spacing_mm * factor)
        return replace(case, stated=stated)
    if case.kind.startswith("principal point"):
        angle, off_mm = random.uniform(0, 2 * np.pi), random.uniform(3, 10) * 1.68
        offset = (off_mm * np.cos(angle), off_mm * np.sin(angle))
        return replace(case, stated=replace(GEOMETRY, detector_offset_mm=offset))
    if case.kind.startswith("isocentre"):
        off = random.normal(size=3)
        x, y, z = (off * random.uniform(5, 20) / np.linalg.norm(off)).tolist()
        return replace(case, isocenter_off_mm=(x, y, z))
    return case


@dataclass(frozen=True, eq=False)
class VerdictTargets:
    """Makes the images.

    Attributes:
        device: Where to render.
    """

    device: ComputeDevice
    _volumes: dict[str, MuVolume] = field(default_factory=dict)
    _renderers: dict[str, DrrRenderer] = field(default_factory=dict)

    def volume(self, patient: str) -> MuVolume:
        """A patient's CT, or a half of it."""
        if patient not in self._volumes:
            name, _, half = patient.partition(", ")
            config = VolumeConfig.model_validate(PATIENTS[name])
            whole = self._volumes.setdefault(name, load_volume(config))
            if half:
                self._volumes[patient] = _half(whole, HALVES.index(half))
        return self._volumes[patient]

    def _renderer(self, patient: str) -> DrrRenderer:
        if patient not in self._renderers:
            volume = self.volume(patient)
            self._renderers[patient] = DrrRenderer(volume, self.device, projector="march")
        return self._renderers[patient]

    def make(self, case: VerdictCase) -> Target:
        """What the registration is given."""
        view = case.views(self.volume(case.patient).grid.center_xyz_mm)[0]
        integrals = np.array(self.device.to_host(self._renderer(case.patient).render(view)))
        integrals, crop = _covered(case, integrals)
        chain = _chain(case)
        given = self.device.to_device(integrals.astype(np.float32))
        image = chain_image(self.device, given, case.true, chain, case.target_kind, case.seed)
        how = Preparation(
            kind=case.target_kind,
            polarity=chain.polarity if case.target_kind == "display" else None,
            crop=crop,
        )
        return prepare(_spoilt(case, image), how)


def _half(volume: MuVolume, which: int) -> MuVolume:
    """The lower or the upper half of the planes."""
    count = volume.grid.shape_zyx[0] // 2
    x, y, z = volume.grid.origin_xyz_mm
    shift_mm = which * count * volume.grid.spacing_xyz_mm[2] * volume.grid.direction[2][2]
    grid = replace(
        volume.grid,
        shape_zyx=(count, *volume.grid.shape_zyx[1:]),
        origin_xyz_mm=(x, y, z + shift_mm),
    )
    planes = np.ascontiguousarray(volume.mu_zyx[which * count : (which + 1) * count])
    return MuVolume(mu_zyx=planes, grid=grid, source=volume.source)


def _chain(case: VerdictCase) -> ImageChainConfig:
    """Everything that an image of the chain can have at the case's dose."""
    return ImageChainConfig.model_validate(
        {
            "dose_ngy": case.dose_ngy,
            "inverse_square": True,
            "heel_anode_side": "left",
            "scatter": {},
            "blur_sigma_mm": 1.0,
            "electronic_noise_photons": 20.0,
            "pixel_gain_spread": 0.01,
            "dead_pixel_fraction": 0.0005,
            "window": {"level": 3.0, "width": 6.0},
        }
    )


def _spoilt(case: VerdictCase, image: Image) -> Image:
    """The image as a wrong export hands it over."""
    if case.kind == "mirrored":
        return image[:, ::-1]
    if case.kind.startswith("turned"):
        return np.rot90(image, 1 + case.number // 2 % 3)
    if case.kind == "inverted":
        return np.asarray(255 - image)
    return image


def _covered(case: VerdictCase, integrals: Image) -> tuple[Image, tuple[int, ...] | None]:
    """Line integrals under a collimator or an instrument; the crop where the user knows it."""
    random, size = case.random, integrals.shape[0]
    if case.kind.startswith("collimated"):
        edge = round(size * random.uniform(1 / 3, 1 / np.sqrt(3)))
        top, left = random.integers(size // 8, size - edge - size // 8, 2).tolist()
        outside = np.ones(integrals.shape, bool)
        outside[top : top + edge, left : left + edge] = False
        crop = (top, size - top - edge, left, size - left - edge)
        known = crop if case.number // 2 % 2 else None
        return np.where(outside, integrals + METAL, integrals), known
    if case.kind.startswith("instrument"):
        rows, columns = np.indices(integrals.shape) - size / 2
        angle, off = random.uniform(0, np.pi), random.uniform(-size / 6, size / 6)
        distance = np.abs(rows * np.cos(angle) + columns * np.sin(angle) - off)
        covered = distance < random.uniform(5, 16)
        return np.where(covered, integrals + METAL, integrals), None
    return integrals, None
