"""A small scene on a device, held to the float64 reference; in a process of its own where asked.

`python -m fluoro.device_trial` reads JSON, the device and a configuration's sections, and prints
one line of JSON, the verdict. A device that ends or stops this process has answered as well
(fluoro/rendering/trial.py).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.config import (
    BallInclusion,
    Config,
    InclusionConfig,
    LabelInclusion,
    MaterialsConfig,
    MotionConfig,
    VolumeConfig,
)
from fluoro.errors import DeviceMemoryError, FluoroError, NoDeviceError, OutputError
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.geometry.projection import View
from fluoro.imaging.chain import ImageChain
from fluoro.imaging.reference import ReferenceChain
from fluoro.physics.materials import Material, material
from fluoro.physics.tissues import tissue_map
from fluoro.rendering.choose import DeviceChoice, open_choice
from fluoro.rendering.devices import ComputeDevice
from fluoro.rendering.material_renderer import LABEL_COUNTS
from fluoro.rendering.patient_reference import patient_reference
from fluoro.rendering.patient_renderer import PatientRenderer, make_patient
from fluoro.rendering.trial import Verdict
from fluoro.volume.attenuation import mu_from_hu
from fluoro.volume.bolus import make_bolus
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.inclusions import displaced, make_inclusions
from fluoro.volume.materials import Inclusion, LabelledInclusion, MaterialVolume
from fluoro.volume.motion import beat, breath
from fluoro.volume.volumes import MuVolume

__all__ = ["Trial", "small_volume"]

SEED = 2026
FRAMES = 3
SHORTEST_STEP_MM = 1.0
"""A finer step would take the reference minutes."""
VESSEL_VOXEL_MM = 4.0
"""Finer voxels would take the reference longer."""
INCLUSION_MM, ROD_MM = 64.0, 160.0
"""An inclusion's edge or diameter and a rod's length: seen by many pixels."""
MOST_OFF = 0.02
"""Share of pixels that may differ: where a count of photons falls on the other side of a limit."""
INTEGRAL_OFF = 2e-3
"""Of the largest integral: NVIDIA's texture units have weights of 8 bits."""
MOST_OFF_OF_PART = 0.1
"""Share of the pixels with a material, or of those that motion and contrast change."""
SHOWN_OFF = 0.02
"""Of the display's range."""


def small_volume(edge_mm: float = 16.0) -> MuVolume:
    """Return attenuation of a body with a lung and a bone, alike in no two directions."""
    shape = tuple(round(length / edge_mm) for length in (320, 288, 384))
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, count) for count in shape), indexing="ij")
    hu = np.where(x**2 + y**2 < 0.9, 40 + 25 * np.sin(3 * x + 2 * y + z), -1000)
    hu[(x - 0.4) ** 2 + (y + 0.1) ** 2 + (z - 0.2) ** 2 < 0.12] = -750
    hu[(x + 0.3) ** 2 + (y - 0.4) ** 2 < 0.04] = 700
    x, y, z = (-(count - 1) / 2 * edge_mm for count in reversed(shape))  # about the phantom's middle
    grid = VolumeGrid(
        shape_zyx=(shape[0], shape[1], shape[2]),
        spacing_xyz_mm=(edge_mm,) * 3,
        origin_xyz_mm=(x, y, z),
    )
    return MuVolume(mu_zyx=mu_from_hu(hu.astype(np.float32), 70.0), grid=grid)


class Trial:
    """A small scene with a configuration's projector, image chain and patient.

    The patient moves, has contrast and holds inclusions where the configuration's does. Vessels
    have voxels of 4 mm at least; of the inclusions there is one of each kind, large enough to be
    seen, and labels in all numbers that are marched through side by side.

    Args:
        sections: `renderer` and `image_chain` as in a YAML file, of `volume` the keys `motion`,
            `contrast`, `materials` and `hu_to_mu`, and of `carm` the keys `source_to_detector_mm`
            and `source_to_isocenter_mm`; what is missing has its default.
        volume: What is rendered.
        geometry: Of the detector.
    """

    def __init__(
        self,
        sections: Mapping[str, Any],
        volume: MuVolume | None = None,
        geometry: CarmGeometry | None = None,
    ) -> None:
        self.volume = volume or small_volume()
        self.config = _small_scene(sections, min(self.volume.grid.spacing_xyz_mm))
        self.chain = self.config.image_chain
        self.geometry = geometry or _small_geometry(self.config)
        pose = CarmPose(lao_deg=25.0, cra_deg=15.0, translation_mm=(4.0, -3.0, 6.0))
        self.view: View = self.geometry.view(pose, self.volume.grid.center_xyz_mm.tolist())
        self.time_s, self.injected_s = _moment(self.config.volume)
        self.materials = _small_materials(self.config.volume.materials, self.volume)

    def patient(self, device: ComputeDevice, *, fused: bool = False) -> PatientRenderer:
        """Return the scene's renderer on a device."""
        renderer = self.config.renderer.model_copy(update={"fused": fused})
        config = self.config.model_copy(update={"renderer": renderer})
        return make_patient(config, self.volume, device, self.materials)

    def integrals(self, device: ComputeDevice, *, unrendered: bool = False) -> Any:
        """Return the device's line integrals (height, width), or thicknesses of materials [mm]."""
        patient = self.patient(device, fused=unrendered)
        return patient.render(self.view, self.time_s, self.injected_s)

    def expected_integrals(self, *, at_rest: bool = False) -> NDArray[np.float64]:
        """Return what `integrals` should be, in float64; at rest: breathed out, no contrast."""
        moment = (0.0, None) if at_rest else (self.time_s, self.injected_s)
        return patient_reference(self.config, self.volume, self.view, *moment, self.materials)

    def pictures(self, device: ComputeDevice, integrals: Any) -> list[NDArray[np.float32]]:
        """Return the first pictures that the device's image chain makes of one set of integrals."""
        chain = ImageChain(device, SEED, self._chain_materials, fused=True)
        pitch_mm = self.geometry.pixel_spacing_mm
        return [
            np.array(device.to_host(chain.apply(integrals, self.chain, n, pitch_mm, self.geometry)))
            for n in range(FRAMES)
        ]

    def expected_pictures(self, integrals: NDArray[Any]) -> list[NDArray[np.float32]]:
        """Return what `pictures` should be."""
        pitch_mm = self.geometry.pixel_spacing_mm
        chain = ReferenceChain(self.chain, SEED, pitch_mm, self.geometry, self._chain_materials)
        return [chain.apply(np.asarray(integrals, np.float32), n) for n in range(FRAMES)]

    @property
    def _chain_materials(self) -> tuple[Material, ...]:
        if self.chain.xray is None:
            return ()
        iodine = (material("iodine"),) if self.config.volume.contrast else ()
        return (*self.materials.materials, *iodine)

    def fault(self, device: ComputeDevice) -> str | None:
        """Return what is wrong with the device's integrals and pictures; None: nothing.

        They come through a queue, as those of a stream do.
        """
        queue = device.queue()
        try:
            integrals = self.integrals(queue)
            found = np.array(queue.to_host(integrals))
            wrong = self._wrong_integrals(found)
            if wrong:
                return wrong
            if self.config.renderer.fused:
                integrals = self.integrals(queue, unrendered=True)
            return self._wrong_pictures(queue, integrals, found)
        finally:
            queue.close()

    def _wrong_integrals(self, found: NDArray[np.float32]) -> str | None:
        """Each material is held to its own range, and what motion and contrast change to theirs."""
        expected = self.expected_integrals()
        at_rest = self.expected_integrals(at_rest=True)
        height, width = expected.shape[-2:]
        planes = (each.reshape(-1, height, width) for each in (found, expected, at_rest))
        for ours, theirs, before in zip(*planes, strict=True):
            limit = INTEGRAL_OFF * float(np.abs(theirs).max())
            off = ~(np.abs(ours - theirs) <= limit)
            if off.mean() > MOST_OFF:
                return f"{off.mean():.0%} of its line integrals are wrong"
            changed = np.abs(theirs - before) > limit
            if changed.any() and off[changed].mean() > MOST_OFF_OF_PART:
                return f"{off[changed].mean():.0%} of what motion and contrast change are wrong"
            there = theirs > limit
            if there.any() and off[there].mean() > MOST_OFF_OF_PART:
                return f"{off[there].mean():.0%} of a material's thicknesses are wrong"
        return None

    def _wrong_pictures(
        self, queue: ComputeDevice, integrals: Any, found: NDArray[np.float32]
    ) -> str | None:
        expected = self.expected_pictures(found)
        for number, (ours, theirs) in enumerate(
            zip(self.pictures(queue, integrals), expected, strict=True)
        ):
            off = _share_off(ours, theirs, SHOWN_OFF)
            if off > MOST_OFF:
                return f"{off:.0%} of the pixels of picture {number} are wrong"
        return None


def _small_scene(sections: Mapping[str, Any], finest_mm: float) -> Config:
    """The configuration of the scene; what is not in `sections` has its default."""
    renderer = {**sections.get("renderer", {}), "device": "auto"}
    if renderer.get("step_mm"):
        renderer["step_mm"] = max(renderer["step_mm"], min(SHORTEST_STEP_MM, finest_mm))
    volume = {"phantom": "thorax", **sections.get("volume", {})}
    if volume.get("contrast"):
        edge_mm = volume["contrast"].get("spacing_mm", 0.0)
        volume["contrast"] = {**volume["contrast"], "spacing_mm": max(edge_mm, VESSEL_VOXEL_MM)}
    return Config.model_validate(
        {
            "volume": {key: value for key, value in volume.items() if value is not None},
            "pose_source": {"kind": "static"},
            "renderer": renderer,
            "image_chain": sections.get("image_chain", {}),
            "carm": sections.get("carm", {}),
        }
    )


def _small_geometry(config: Config) -> CarmGeometry:
    return CarmGeometry(
        source_to_detector_mm=config.carm.source_to_detector_mm,
        source_to_isocenter_mm=config.carm.source_to_isocenter_mm,
        detector_width_px=40,
        detector_height_px=36,
        pixel_spacing_mm=12.0,
    )


def _moment(config: VolumeConfig) -> tuple[float, float | None]:
    """A time at which breath and heart are far from rest, and when contrast was injected [s]."""
    time_s = 0.0
    if config.motion:
        time_s = max(np.arange(1, 60) * 0.1, key=lambda at: _activity(config.motion, at))
    if config.contrast is None:
        return float(time_s), None
    bolus = make_bolus(config.contrast)
    filled_s = float(np.median(bolus.travel_s)) + config.contrast.spread_s
    return float(time_s), float(time_s) - filled_s


def _activity(motion: MotionConfig | None, time_s: float) -> float:
    if motion is None:
        return 0.0
    per_s = motion.breaths_per_min / 60, motion.heart_rate_per_min / 60
    return breath(time_s * per_s[0]) + beat(time_s * per_s[1])


def _small_materials(config: MaterialsConfig | None, volume: MuVolume) -> MaterialVolume:
    """The volume as materials, with inclusions of each configured kind."""
    wanted = config or MaterialsConfig()
    kinds = {each.kind: each for each in sorted(wanted.inclusions, key=_label_count)}
    made = [(each.displaces, _small_inclusions(each, volume.grid)) for each in kinds.values()]
    solid = [each for displaces, several in made if displaces for each in several]
    return MaterialVolume(
        volume=displaced(volume, solid),
        tissues=tissue_map(wanted.kind, wanted.ct_energy_kev),
        inclusions=tuple(each for _, several in made for each in several),
    )


def _label_count(config: InclusionConfig) -> int:
    return len(config.materials) if isinstance(config, LabelInclusion) else 0


def _small_inclusions(
    config: InclusionConfig, grid: VolumeGrid
) -> Sequence[Inclusion | LabelledInclusion]:
    """One inclusion in the middle of the volume; of labels one for each number side by side."""
    center = np.asarray(grid.center_xyz_mm, float)
    if isinstance(config, LabelInclusion):
        return _small_labels(config, center)
    size = {"diameter_mm": max(config.diameter_mm, INCLUSION_MM)}
    if isinstance(config, BallInclusion):
        return make_inclusions(config.model_copy(update={"center_mm": tuple(center), **size}))
    along = np.subtract(config.to_mm, config.from_mm)
    half = along / np.linalg.norm(along) * ROD_MM / 2
    ends = {"from_mm": tuple(center - half), "to_mm": tuple(center + half)}
    return make_inclusions(config.model_copy(update={**ends, **size}))


def _small_labels(
    config: LabelInclusion, center_xyz_mm: NDArray[np.float64]
) -> list[Inclusion | LabelledInclusion]:
    """Slabs of the labels' materials, for every kernel that sums some of them."""
    names = list(dict.fromkeys(config.materials.values()))
    counts = sorted({min(count, len(names)) for count in (1, *LABEL_COUNTS)})
    edge_mm = INCLUSION_MM / 8
    x, y, z = (center_xyz_mm - 3.5 * edge_mm).tolist()
    grid = VolumeGrid(shape_zyx=(8,) * 3, spacing_xyz_mm=(edge_mm,) * 3, origin_xyz_mm=(x, y, z))
    made: list[Inclusion | LabelledInclusion] = []
    for count in counts:
        of_slab = np.arange(8) * count // 8 + 1
        labels = np.broadcast_to(of_slab[:, None, None], grid.shape_zyx).astype(np.uint8)
        materials = tuple(material(name) for name in names[:count])
        if count == 1:
            share = labels.astype(np.float32)
            made.append(Inclusion(material=materials[0], share_zyx=share, grid=grid))
        else:
            made.append(LabelledInclusion(materials=materials, label_zyx=labels, grid=grid))
    return made


def _share_off(found: NDArray[Any], expected: NDArray[Any], limit: float) -> float:
    """The share of values that are farther off than a limit, or not finite."""
    return float(np.mean(~(np.abs(found - expected) <= limit)))


def main(asked: Mapping[str, Any]) -> Verdict:
    """Return the verdict on a device.

    Args:
        asked: `choice` with the fields of a `DeviceChoice`, and `sections` for the `Trial`.
    """
    try:
        device = open_choice(DeviceChoice(**asked["choice"], reason="on trial"), workers=1)
    except FluoroError as error:
        return _verdict(error)
    try:
        return Verdict(fault=Trial(asked["sections"]).fault(device))
    except FluoroError as error:
        return _verdict(error)
    finally:
        device.close()


def _verdict(error: FluoroError) -> Verdict:
    return Verdict(
        fault=str(error),
        absent=isinstance(error, NoDeviceError),
        lasting=not isinstance(error, DeviceMemoryError | OutputError),
    )


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(main(json.load(sys.stdin)))) + "\n")
