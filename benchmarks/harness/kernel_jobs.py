"""Work that launches every kernel of shaders/, and a device that looks at each launch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from benchmarks import instruments, labels, meshes
from benchmarks.chain import BARE, CARM, PITCH_MM, PIXELS, STAGES
from benchmarks.harness.beam_work import PHYSICS
from benchmarks.harness.scene import load_ct, make_views, sparse_view
from fluoro.config import Config, ImageChainConfig, VolumeConfig
from fluoro.geometry.carm import CarmPose
from fluoro.geometry.projection import View
from fluoro.imaging.chain import ImageChain
from fluoro.physics.tissues import tissue_map
from fluoro.rendering.devices.base import KernelText, Launch
from fluoro.rendering.devices.cpu.device import CpuDevice
from fluoro.rendering.label_renderer import LabelRenderer
from fluoro.rendering.material_renderer import MaterialRenderer
from fluoro.rendering.patient_renderer import make_patient
from fluoro.rendering.projectors import PROJECTORS
from fluoro.rendering.renderer import DrrRenderer
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.load import load_volume
from fluoro.volume.material_volume import LabelledInclusion, MaterialVolume
from fluoro.volume.rigid_solids import SampledSolid

__all__ = ["GROUPS", "RAY_SIZE_PX", "Key", "kernel_name", "run_jobs"]

RAY_SIZE_PX = 200
"""Of the projectors' images: benchmarks/projectors.py has the same."""
MATERIALS = tissue_map("tissues").materials
VISIBLE = 0.1
STEADY_FRAMES = 4
AT_AN_ANGLE = CarmPose(lao_deg=30, cra_deg=20)
LISTED = "march"
"""Projector that is measured for listed rays too: others differ from it as for pixels."""
OF_MATERIALS = ("poisson", "scatter")
"""Stages with other kernels for a beam of many energies."""

Job = Callable[[], Any]


class Key(NamedTuple):
    """Launches of one kind.

    Attributes:
        group: What they belong to: a projector, or one of `GROUPS`.
        kernel: Their name.
        threads: Their number along columns, rows and layers.
    """

    group: str
    kernel: str
    threads: tuple[int, int, int]


Watch = Callable[[Key, Launch, Callable[[], None]], None]
"""Is called instead of a dispatch, with it, and calls it."""


class WatchedDevice(CpuDevice):
    """One thread, and a watch over its launches.

    Args:
        watch: Over all launches.

    Attributes:
        group: What the launches belong to.
    """

    group = ""

    def __init__(self, watch: Watch) -> None:
        super().__init__(1)
        self._watch = watch

    def run(self, launch: Launch) -> None:
        """Prepare, and hand over."""
        kernel = self.kernel_loader.begin(launch).result()
        prepared = self.prepared(launch, kernel)
        key = Key(self.group, kernel_name(launch), launch.threads)
        self._watch(key, launch, lambda: kernel.dispatch(*prepared))


def run_jobs(watch: Watch, times: int) -> None:
    """Do all work, each piece several times in a row."""
    device = WatchedDevice(watch)
    for name in PROJECTORS:
        _run_group(device, name, _projections(name, device), times)
    for group, make in GROUPS.items():
        _run_group(device, group, make(device), times)


def _run_group(device: WatchedDevice, group: str, jobs: Iterator[Job], times: int) -> None:
    device.group = group
    for job in jobs:
        for _ in range(times):
            job()


def kernel_name(launch: Launch) -> str:
    """Return the entry point; of what is put together the stages, or the task with its packet."""
    module = launch.module
    if not isinstance(module, KernelText):
        return launch.entry
    heads = [line.split('"')[1][:-6] for line in module.slang.splitlines() if "#include" in line]
    if heads[:1] == ["fused_slopes"]:
        return f"slopes: {', '.join(heads[1:])}"
    if heads[:1] == ["pixel_stage"]:
        return f"fused: {', '.join(heads[1:])}"
    return str(module)


def _projections(name: str, device: CpuDevice) -> Iterator[Job]:
    volume, projector = load_ct(), PROJECTORS[name]
    view = make_views(volume.grid, RAY_SIZE_PX, names=("PA",))["PA"]
    step = {"step_mm": min(volume.grid.spacing_xyz_mm)} if projector.steps else {}
    yield from _of_one_energy(DrrRenderer(volume, device, projector=name, **step), view)
    if projector.materials:
        body = MaterialVolume(volume=volume, tissues=tissue_map("tissues"))
        yield from _of_materials(MaterialRenderer(body, device, projector=name, **step), view)


def _of_one_energy(renderer: DrrRenderer, view: View) -> Iterator[Job]:
    center = renderer.grid.center_xyz_mm
    upstream = np.ones((view.height_px, view.width_px), np.float32)
    yield lambda: renderer.render(view)
    yield lambda: renderer.render_jacobian(view, center)
    yield lambda: renderer.backproject(view, upstream)
    if renderer.projector == LISTED:
        listed = np.argwhere(upstream > 0)
        yield lambda: renderer.render(view, pixels=listed)
        yield lambda: renderer.render_jacobian(view, center, pixels=listed)
        yield lambda: renderer.backproject(view, upstream.ravel(), pixels=listed)


def _of_materials(renderer: MaterialRenderer, view: View) -> Iterator[Job]:
    shape = (len(renderer.materials), view.height_px, view.width_px)
    yield from _image_and_derivatives(renderer, view)
    yield lambda: renderer.backproject(view, np.ones(shape, np.float32))


def _image_and_derivatives(renderer: MaterialRenderer, view: View) -> Iterator[Job]:
    center = renderer.grid.center_xyz_mm
    worth = np.ones((len(renderer.materials), view.height_px, view.width_px), np.float32)
    yield lambda: renderer.render(view)
    yield lambda: renderer.render_jacobian(view, center, worth)


def _in_place(device: CpuDevice) -> Iterator[Job]:
    """Joseph where its copies do not fit into the memory: rays that y leads, and rays that x does.

    Voxels are read in place once someone may write to them.
    """
    volume = load_ct()
    views = make_views(volume.grid, RAY_SIZE_PX, names=("PA", "lateral"))
    body = MaterialVolume(volume=volume, tissues=tissue_map("tissues"))
    of_materials = MaterialRenderer(body, device, projector="joseph")
    of_materials.samples(0)
    of_one = DrrRenderer(volume, device, projector="joseph")
    of_one._rays.copies = of_one._rays.gradient_copies = None
    for view in views.values():
        yield from _image_and_derivatives(of_materials, view)
        yield lambda view=view: of_one.render(view)
    yield lambda: of_one.render_jacobian(views["PA"], volume.grid.center_xyz_mm)


def _thicknesses(planes: int) -> Any:
    ramp = np.linspace(0.0, 60.0, planes * PIXELS**2, dtype=np.float32)
    return ramp.reshape(-1, PIXELS, PIXELS)


def _stages(device: CpuDevice) -> Iterator[Job]:
    """Each stage of the image chain by itself, with one energy and with many."""
    one, many = (_thicknesses(1)[0] * 0.02, ()), (_thicknesses(5), MATERIALS)
    for name, settings in STAGES.items():
        config = ImageChainConfig.model_validate({**BARE, **settings})
        yield _chain_job(device, *one, config, fused=False)
        if name in OF_MATERIALS:
            config = ImageChainConfig.model_validate({**BARE, "xray": {}, **settings})
            yield _chain_job(device, *many, config, fused=False)


def _chain_job(
    device: CpuDevice, integrals: Any, materials: Any, config: ImageChainConfig, *, fused: bool
) -> Job:
    """Frames that need every kernel of the configuration, then some that find their memory."""
    chain = ImageChain(device, 0, materials, fused=fused)

    def call() -> None:
        chain.prepare(integrals, config, PITCH_MM, CARM)
        for number in range(STEADY_FRAMES):
            chain.apply(integrals, config, number, PITCH_MM, CARM)

    return call


def _whole_chain(device: CpuDevice) -> Iterator[Job]:
    """Full physics, as one frame has it."""
    config = ImageChainConfig.model_validate(PHYSICS)
    yield _chain_job(device, _thicknesses(5), MATERIALS, config, fused=True)


def _backwards(device: CpuDevice) -> Iterator[Job]:
    """Full physics, and what a flat panel does not have."""
    intensifier = ("image_intensifier", "veiling_glare", "blur_sigma_mm", "edge_enhancement")
    others = {key: value for name in intensifier for key, value in STAGES[name].items()}
    masked = {"dsa": {**STAGES["dsa"]["dsa"], "first_frame": 0}}
    one = _thicknesses(1)[0] * 0.02
    yield _chain_back(device, _thicknesses(5), MATERIALS, PHYSICS)
    yield _chain_back(device, one, (), {**others, "inverse_square": True})
    yield _chain_back(device, one, (), masked)


def _chain_back(
    device: CpuDevice, integrals: Any, materials: Any, settings: Mapping[str, Any]
) -> Job:
    """The first frame of a run, and its derivative."""
    chain = ImageChain(device, 0, materials, fused=True)
    config = ImageChainConfig.model_validate(settings)
    upstream = np.ones((PIXELS, PIXELS), np.float32)
    return lambda: chain.linearise(integrals, config, 0, PITCH_MM, CARM).pull_back(upstream)


def _labels(device: CpuDevice) -> Iterator[Job]:
    volume = load_volume(VolumeConfig(path=labels.CHEST))
    view = CARM.view(AT_AN_ANGLE, volume.grid.center_xyz_mm)
    renderer = LabelRenderer(labels.labels(volume, labels.TWENTY_FOUR, 24), device, volume)
    yield lambda: renderer.masks(view)
    yield lambda: renderer.lengths(view)
    yield lambda: renderer.integrals(view, VISIBLE)
    yield lambda: renderer.add_moved(view, np.eye(4), renderer.masks(view))
    yield lambda: renderer.add_moved(view, np.eye(4), renderer.lengths(view))


def _meshes(device: CpuDevice) -> Iterator[Job]:
    """A mesh that adds to the tissue, one that takes its place, a part of a CT; labels in a box."""
    mesh, view = meshes.torus(), meshes.view()
    plain = meshes.scene()
    volume, tissues = plain.volume, plain.tissues
    part = SampledSolid("part", mesh, volume, tissues, meshes.solid(mesh, displaces=True).track)
    numbers = np.ones(volume.grid.shape_zyx, np.uint8)
    numbers[:, :64] = 2
    box = LabelledInclusion(materials=MATERIALS[-2:], label_zyx=numbers, grid=volume.grid)
    displacing = meshes.scene(meshes.solid(mesh, displaces=True))
    boxed = replace(displacing, inclusions=(box,))
    scenes = (
        meshes.scene(meshes.solid(mesh, displaces=False)),
        displacing,
        replace(plain, posed=(part,)),
        boxed,
    )
    for scene in scenes:
        yield from _image_and_derivatives(MaterialRenderer(scene, device, projector="joseph"), view)
    marched = MaterialRenderer(boxed, device, projector="march")
    nodes = VolumeGrid(shape_zyx=(8, 8, 8), spacing_xyz_mm=(30.0,) * 3, origin_xyz_mm=(-105.0,) * 3)
    still = np.zeros((8, 8, 8, 3), np.float32)
    yield lambda: marched.render_moved(sparse_view(view, 4), still, nodes)


def _wires(device: CpuDevice) -> Iterator[Job]:
    """A catheter in a thorax, and a chain that finds most pixels without it."""
    volume = load_volume(VolumeConfig(phantom="thorax", spacing_mm=1.4))
    view = CARM.view(AT_AN_ANGLE, volume.grid.center_xyz_mm)
    posed = instruments.scenes()[instruments.SCENES[0]]
    scene = MaterialVolume(volume=volume, tissues=tissue_map("tissues"), posed=posed)
    renderer = MaterialRenderer(scene, device, projector="joseph")
    yield from _image_and_derivatives(renderer, view)
    thicknesses = np.array(renderer.render(view))
    for settings in ({**BARE, "xray": {}}, PHYSICS):
        config = ImageChainConfig.model_validate(settings)
        yield _chain_job(device, thicknesses, scene.materials, config, fused=True)


def _moving_patient(device: CpuDevice) -> Iterator[Job]:
    """A breathing patient with contrast, of one energy and of many."""
    for chain in ({}, {"xray": {}}):
        given = {
            "volume": {
                "phantom": "thorax",
                "spacing_mm": 1.4,
                "motion": {},
                "contrast": {"vessels": "coronary", "start_s": 0.0, "duration_s": 2.0},
            },
            "pose_source": {"kind": "static"},
            "image_chain": chain,
        }
        yield _patient_job(Config.model_validate(given), device)


def _patient_job(config: Config, device: CpuDevice) -> Job:
    volume = load_volume(config.volume)
    patient = make_patient(config, volume, device)
    view = make_views(volume.grid, RAY_SIZE_PX, names=("PA",))["PA"]
    return lambda: patient.render(view, 1.0, injected_s=0.0)


GROUPS: dict[str, Callable[[CpuDevice], Iterator[Job]]] = {
    "voxels in place": _in_place,
    "full physics": _whole_chain,
    "chain backwards": _backwards,
    "stages": _stages,
    "labels": _labels,
    "meshes": _meshes,
    "wires": _wires,
    "moving patient": _moving_patient,
}
"""What is measured besides the projectors."""
