"""Render a small scene on a device and compare it with the float64 reference.

`python -m fluoro.diagnostics.device_trial` reads JSON, the device and a configuration's sections,
and prints the result as one line of JSON. A device that ends or blocks this process has failed
(fluoro/rendering/devices/trial.py).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fluoro.config import (
    Config,
    MaterialsConfig,
    MotionConfig,
    VolumeConfig,
)
from fluoro.errors import DeviceMemoryError, FluoroError, InputError, NoDeviceError, OutputError
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.geometry.projection import View
from fluoro.geometry.se3 import se3_exp
from fluoro.geometry.triangles import Surface
from fluoro.geometry.view_derivatives import moved, rigid_motions
from fluoro.imaging.chain import ImageChain
from fluoro.imaging.reference import ReferenceChain
from fluoro.physics.materials import Material, material
from fluoro.physics.tissues import tissue_map
from fluoro.rendering.devices.base import ComputeDevice
from fluoro.rendering.devices.selection import DeviceChoice, open_choice
from fluoro.rendering.devices.trial import TrialResult
from fluoro.rendering.patient_reference import patient_reference
from fluoro.rendering.patient_renderer import PatientRenderer, make_patient
from fluoro.rendering.projectors import PROJECTORS
from fluoro.rendering.renderer import DrrRenderer
from fluoro.scene.assemble import scene_solids
from fluoro.scene.pose_track import PoseTrack
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.hu_to_mu import mu_from_hu
from fluoro.volume.material_volume import Inclusion, LabelledInclusion, MaterialVolume, Solid
from fluoro.volume.phantom.patient import phantom_bolus
from fluoro.volume.phantom.phantom_motion import beat, breath
from fluoro.volume.posed_solid import PosedSolid, Tubes, TubeSolid, materials_of
from fluoro.volume.rigid_solids import MeshSolid, SampledSolid
from fluoro.volume.volumes import MuVolume

__all__ = ["Trial", "rigid_differences", "small_volume"]

SEED = 2026
FRAMES = 3
SHORTEST_STEP_MM = 1.0
"""A finer step would take the reference minutes."""
VESSEL_VOXEL_MM = 8.0
"""Of the vessels; finer ones would take the reference longer."""
INCLUSION_MM, INCLUSION_VOXELS = 64.0, 8
"""An inclusion's edge, seen by many pixels, and its voxels along it."""
MOST_OFF = 0.02
"""Share of pixels that may differ: where a count of photons falls on the other side of a limit.

Contrast and inclusions cover 5 % of the pixels at least."""
INTEGRAL_OFF = 2e-3
"""Of the largest integral: NVIDIA's texture units have weights of 8 bits."""
DERIVATIVE_OFF = 0.02
"""Of the largest derivative with respect to the same parameter."""
ROTATION_STEP_RAD, SHIFT_STEP_MM = 1e-7, 1e-5
"""Of the central differences that derivatives are held to."""
SHOWN_OFF = 0.02
"""Of the display's range."""


def small_volume(edge_mm: float = 16.0) -> MuVolume:
    """Return attenuation of a body with a lung and a bone, alike in no two directions."""
    shape = tuple(round(length / edge_mm) for length in (320, 288, 384))
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, count) for count in shape), indexing="ij")
    hu = np.where(x**2 + y**2 < 0.9, 40 + 25 * np.sin(3 * x + 2 * y + z), -1000)
    hu[(x - 0.4) ** 2 + (y + 0.1) ** 2 + (z - 0.2) ** 2 < 0.12] = -750
    hu[(x + 0.3) ** 2 + (y - 0.4) ** 2 < 0.04] = 700
    nz, ny, nx = shape
    left, front, low = ((1 - count) / 2 * edge_mm for count in (nx, ny, nz))
    grid = VolumeGrid(
        shape_zyx=(nz, ny, nx),
        spacing_xyz_mm=(edge_mm,) * 3,
        origin_xyz_mm=(left, front, low),  # its middle is the phantom's
    )
    return MuVolume(mu_zyx=mu_from_hu(hu.astype(np.float32), 70.0), grid=grid)


class Trial:
    """A small scene with a configuration's projector, image chain and patient.

    The patient moves, has contrast and holds inclusions where the configuration's does. The
    vessels are coarse and filled at the defaults' concentration; inclusions are blocks in the
    middle, one for each kernel that the configured inclusions need. So are a wire, a mesh and a
    part of a CT where it has objects with a pose.

    Args:
        sections: `renderer` and `image_chain` as in a YAML file, of `volume` the keys `motion`,
            `contrast`, `materials` and `hu_to_mu`, and of `carm` the keys `source_to_detector_mm`
            and `source_to_isocenter_mm`; what is missing has its default. Besides `derivatives`,
            the projector of derivatives; None: none are needed.
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
        self.derivatives: str | None = sections.get("derivatives")
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

    def integrals(self, device: ComputeDevice, *, deferred: bool = False) -> Any:
        """Return the device's line integrals (height, width), or thicknesses of materials [mm]."""
        patient = self.patient(device, fused=deferred)
        return patient.render(self.view, self.time_s, self.injected_s)

    def expected_integrals(self) -> NDArray[np.float64]:
        """Return what `integrals` should be, in float64."""
        moment = self.time_s, self.injected_s
        return patient_reference(self.config, self.volume, self.view, *moment, self.materials)

    def images(self, device: ComputeDevice, integrals: Any) -> list[NDArray[np.float32]]:
        """Return the first images that the device's image chain makes of one set of integrals."""
        chain = ImageChain(device, SEED, self._chain_materials, fused=True)
        pitch_mm = self.geometry.pixel_spacing_mm
        return [
            np.array(device.to_host(chain.apply(integrals, self.chain, n, pitch_mm, self.geometry)))
            for n in range(FRAMES)
        ]

    def expected_images(self, integrals: NDArray[Any]) -> list[NDArray[np.float32]]:
        """Return what `images` should be."""
        pitch_mm = self.geometry.pixel_spacing_mm
        chain = ReferenceChain(self.chain, SEED, pitch_mm, self.geometry, self._chain_materials)
        return [chain.apply(np.asarray(integrals, np.float32), n) for n in range(FRAMES)]

    @property
    def _chain_materials(self) -> tuple[Material, ...]:
        if self.chain.xray is None:
            return ()
        iodine = (material("iodine"),) if self.config.volume.contrast else ()
        still = replace(self.materials, posed=())
        return (*still.materials, *iodine, *materials_of(self.materials.posed))

    def fault(self, device: ComputeDevice) -> str | None:
        """Return what is wrong with the device's integrals and images; None: nothing.

        They come through a queue, as those of a stream do.
        """
        queue = device.queue()
        try:
            integrals = self.integrals(queue)
            found = np.array(queue.to_host(integrals))
            wrong = self._wrong_integrals(found)
            if wrong:
                return wrong
            wrong = self._wrong_derivatives(queue, self.derivatives) if self.derivatives else None
            if wrong:
                return wrong
            if self.config.renderer.fused:
                integrals = self.integrals(queue, deferred=True)
            return self._wrong_images(queue, integrals, found)
        finally:
            queue.close()

    def _wrong_integrals(self, found: NDArray[np.float32]) -> str | None:
        """Tissues are compared relative to the thickest; each inclusion and contrast to itself."""
        expected = self.expected_integrals()
        shape = (-1, self.view.height_px, self.view.width_px)
        limits = INTEGRAL_OFF * np.abs(expected.reshape(shape)).max(axis=(1, 2))
        tissues = len(self.materials.tissues.materials)
        limits[:tissues] = limits[:tissues].max()
        for ours, theirs, limit in zip(
            found.reshape(shape), expected.reshape(shape), limits, strict=True
        ):
            off = _share_off(ours, theirs, limit)
            if off > MOST_OFF:
                return f"{off:.0%} of its line integrals are wrong"
        return None

    def _wrong_derivatives(self, queue: ComputeDevice, projector: str) -> str | None:
        center = self.volume.grid.center_xyz_mm
        renderer = DrrRenderer(self.volume, queue, projector=projector)
        found = queue.to_host(renderer.render_jacobian(self.view, center)[1])
        expected = rigid_differences(self.volume, self.view, center, projector)
        limits = DERIVATIVE_OFF * np.abs(expected).max(axis=(1, 2), keepdims=True)
        off = _share_off(found, expected, limits)
        return f"{off:.0%} of its derivatives are wrong" if off > MOST_OFF else None

    def _wrong_images(
        self, queue: ComputeDevice, integrals: Any, found: NDArray[np.float32]
    ) -> str | None:
        expected = self.expected_images(found)
        for number, (ours, theirs) in enumerate(
            zip(self.images(queue, integrals), expected, strict=True)
        ):
            off = _share_off(ours, theirs, SHOWN_OFF)
            if off > MOST_OFF:
                return f"{off:.0%} of the pixels of image {number} are wrong"
        return None


def rigid_differences(
    volume: MuVolume, view: View, center_xyz_mm: ArrayLike, projector: str
) -> NDArray[np.float64]:
    """Return derivatives with respect to a rigid motion as central differences of the reference.

    Args:
        volume: What is rendered.
        view: Where the C-arm stands.
        center_xyz_mm: About which it turns [mm].
        projector: "march", "joseph", "slab" or "siddon".

    Returns:
        As `DrrRenderer.render_jacobian`: [1/rad] and [1/mm], shape (6, height, width).
    """
    step_mm = min(volume.grid.spacing_xyz_mm) / 2
    reference, motions = PROJECTORS[projector].reference, rigid_motions(view, center_xyz_mm)

    def integrals(at: View) -> NDArray[np.float64]:
        return reference(volume, at, step_mm, view)

    found = []
    for unit, h in zip(np.eye(6), (*[ROTATION_STEP_RAD] * 3, *[SHIFT_STEP_MM] * 3), strict=True):
        ahead, behind = (integrals(moved(view, motions, unit * each)) for each in (h, -h))
        found.append((ahead - behind) / (2 * h))
    return np.stack(found)


def _small_scene(sections: Mapping[str, Any], finest_mm: float) -> Config:
    """The configuration of the scene; what is not in `sections` has its default."""
    renderer = {**sections.get("renderer", {}), "device": "auto"}
    if renderer.get("step_mm"):
        renderer["step_mm"] = max(renderer["step_mm"], min(SHORTEST_STEP_MM, finest_mm))
    volume = {"phantom": "thorax", **sections.get("volume", {})}
    if volume.get("contrast"):
        vessels = volume["contrast"]["vessels"]
        volume["contrast"] = {"vessels": vessels, "spacing_mm": VESSEL_VOXEL_MM}
    document = {
        "volume": {key: value for key, value in volume.items() if value is not None},
        "pose_source": {"kind": "static"},
        "renderer": renderer,
        "image_chain": sections.get("image_chain", {}),
        "carm": sections.get("carm", {}),
    }
    return Config.model_validate(document)


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
    bolus = phantom_bolus(config)
    if bolus is None:
        return float(time_s), None
    filled_s = float(np.median(bolus.travel_s)) + bolus.config.spread_s
    return float(time_s), float(time_s) - filled_s


def _activity(motion: MotionConfig | None, time_s: float) -> float:
    if motion is None:
        return 0.0
    per_s = motion.breaths_per_min / 60, motion.heart_rate_per_min / 60
    return breath(time_s * per_s[0]) + beat(time_s * per_s[1])


def _small_materials(config: MaterialsConfig | None, volume: MuVolume) -> MaterialVolume:
    """The volume as materials, with an inclusion for each kernel that the configured ones need."""
    wanted = config or MaterialsConfig()
    layers = {
        (layer.labels, len(layer.ramps)): solid
        for _, solid in scene_solids(wanted.inclusions)
        for layer in [solid.layer()]
    }
    return MaterialVolume(
        volume=volume,
        tissues=tissue_map(wanted.kind, wanted.ct_energy_kev),
        inclusions=tuple(_small(solid, volume.grid) for solid in layers.values()),
        posed=tuple(_small_posed(wanted, volume)),
    )


class _SmallWire(TubeSolid):
    """A thick bent wire of two shells."""

    name, priority = "wire", 1
    materials = (material("titanium"), material("steel"))

    def __init__(self, center_xyz_mm: ArrayLike) -> None:
        points = np.array([(-90.0, -20, -30), (10, 15, 5), (70, -40, 60)]) + center_xyz_mm
        self._tubes = Tubes(
            ends_xyz_mm=np.stack([points[:-1], points[1:]], axis=1),
            radii_mm=np.tile([22.0, 11.0], (2, 1)),
            materials=np.tile([0, 1], (2, 1)),
        )

    def tubes(self, time_s: float) -> Tubes:
        """Return its pieces."""
        del time_s
        return self._tubes


def _small_posed(config: MaterialsConfig, volume: MuVolume) -> Iterator[PosedSolid]:
    """An object of each kind of part that the configured ones need."""
    kinds = {getattr(each, "kind", "") for each in config.inclusions}
    center = np.asarray(volume.grid.center_xyz_mm)
    if kinds & {"wire", "tool"}:
        yield _SmallWire(center)
    edge = np.array([1.0, 0.8, 1.2]) * INCLUSION_MM
    for name, of, shift in (("mesh", {"mesh"}, 30.0), ("part", {"fragment", "volume"}, -40.0)):
        if not kinds & of:
            continue
        pose = np.array(se3_exp([0.3, -0.2, 0.5, 0, 0, shift]))
        pose[:3, 3] += center
        track = PoseTrack(name, [0.0], [pose])
        if name == "mesh":
            yield MeshSolid(name, _box(edge), material("titanium"), track)
        else:
            corner = -(INCLUSION_VOXELS - 1) / 2 * edge / INCLUSION_VOXELS * 1.5
            grid = VolumeGrid(
                shape_zyx=(INCLUSION_VOXELS,) * 3,
                spacing_xyz_mm=tuple((edge / INCLUSION_VOXELS * 1.5).tolist()),
                origin_xyz_mm=tuple(corner.tolist()),
            )
            hu = np.linspace(100, 900, INCLUSION_VOXELS**3).reshape(grid.shape_zyx)
            dense = MuVolume(mu_zyx=mu_from_hu(hu.astype(np.float32), 70.0), grid=grid)
            tissues = tissue_map(config.kind, config.ct_energy_kev)
            yield SampledSolid(name, _box(edge), dense, tissues, track)


def _box(edges_mm: NDArray[np.float64]) -> Surface:
    """A closed box about the origin, its triangles counter-clockwise from outside."""
    corners = np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    faces = ((0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3))
    triangles = [t for a, b, c, d in faces for t in ((a, b, c), (a, c, d))]
    return Surface(
        vertices_xyz_mm=(corners * edges_mm / 2).astype(np.float32),
        faces=np.array(triangles, np.int32),
    )


def _small(solid: Solid, around: VolumeGrid) -> Solid:
    """A block of slabs, one of each of a solid's materials, in the middle of a volume."""
    edge_mm = INCLUSION_MM / INCLUSION_VOXELS
    corner = np.asarray(around.center_xyz_mm) - (INCLUSION_VOXELS - 1) / 2 * edge_mm
    x, y, z = corner.tolist()
    grid = VolumeGrid(
        shape_zyx=(INCLUSION_VOXELS,) * 3, spacing_xyz_mm=(edge_mm,) * 3, origin_xyz_mm=(x, y, z)
    )
    of_slab = 1 + np.arange(INCLUSION_VOXELS) * len(solid.materials) // INCLUSION_VOXELS
    labels = np.broadcast_to(of_slab[:, None, None], grid.shape_zyx)
    if solid.layer().labels:
        numbers = labels.astype(np.uint8)
        return LabelledInclusion(materials=solid.materials, label_zyx=numbers, grid=grid)
    shares = (labels > 0).astype(np.float32)
    return Inclusion(material=solid.materials[0], share_zyx=shares, grid=grid)


def _share_off(found: NDArray[Any], expected: NDArray[Any], limit: float) -> float:
    """The share of values that are farther off than a limit, or not finite."""
    return float(np.mean(~(np.abs(found - expected) <= limit)))


def main(asked: Mapping[str, Any]) -> TrialResult:
    """Return the result of a device's trial.

    Args:
        asked: `choice` with the fields of a `DeviceChoice`, and `sections` for the `Trial`.
    """
    try:
        device = open_choice(DeviceChoice(**asked["choice"], reason="on trial"), workers=1)
    except FluoroError as error:
        return _failed(error)
    try:
        return TrialResult(fault=Trial(asked["sections"]).fault(device))
    except FluoroError as error:
        return _failed(error)
    finally:
        device.close()


def _failed(error: FluoroError) -> TrialResult:
    return TrialResult(
        fault=str(error),
        absent=isinstance(error, NoDeviceError),
        lasting=not isinstance(error, DeviceMemoryError | InputError | OutputError),
    )


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(main(json.load(sys.stdin)))) + "\n")
