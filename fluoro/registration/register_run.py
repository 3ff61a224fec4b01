"""One registration from a configuration to the files of its folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fluoro.config import PoseConfig
from fluoro.errors import InputError
from fluoro.files.atomic_write import replacing, whole_file
from fluoro.files.image_files import save_image
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.geometry.from_config import make_geometry
from fluoro.geometry.projection import View
from fluoro.paths import output_dir
from fluoro.recording.run_folder import make_run_folder
from fluoro.recording.run_record import versions
from fluoro.registration.config import RegisterConfig
from fluoro.registration.measures.spectral import at_energy
from fluoro.registration.register import PROJECTOR, Registrar
from fluoro.registration.report.convergence import Convergence, Station, leading
from fluoro.registration.report.registration_images import (
    write_comparison,
    write_convergence,
    write_error_plot,
)
from fluoro.registration.report.report import result_facts
from fluoro.registration.report.result import RegistrationResult, Step
from fluoro.registration.rigid_motion import motion_about, moved_view
from fluoro.registration.search.pyramid import bin_image, bin_view
from fluoro.registration.search.starts import twist_at_mtre
from fluoro.registration.targets.rendered_target import rendered_image
from fluoro.registration.targets.target import Target
from fluoro.registration.targets.target_files import read_target_image
from fluoro.registration.targets.target_preprocessing import prepare
from fluoro.registration.xray_target import XrayTarget, read_xray_target
from fluoro.rendering.devices.base import ComputeDevice
from fluoro.rendering.devices.selection import open_device
from fluoro.rendering.renderer import DrrRenderer
from fluoro.volume.labels.load import structures_alone
from fluoro.volume.load import load_volume
from fluoro.volume.volumes import MuVolume

__all__ = ["RegisterOutcome", "RegisterReporter", "run_register"]

ANIMATION_IMAGES = 30


class RegisterReporter(Protocol):
    """Told what goes on."""

    def stage(self, what: str, fraction: float) -> None:
        """Something that takes a while is done to a fraction, 0 to 1."""

    def iteration(self, number: int, step: Step, mtre_mm: float | None) -> None:
        """An iteration is done; the error where the truth is known [mm]."""


@dataclass(frozen=True, kw_only=True)
class RegisterOutcome:
    """How a registration ended.

    Attributes:
        facts: What result.json says, without its config and history.
        folder: Where its files are.
    """

    facts: dict[str, Any]
    folder: Path


@dataclass(frozen=True, kw_only=True, eq=False)
class _Task:
    """What is registered to what.

    Attributes:
        volume: What the image shows.
        geometry: The C-arm's lengths and detector.
        center_xyz_mm: Isocentre, world LPS [mm].
        start: First pose.
        truth: The right pose; None: not known.
    """

    volume: MuVolume
    geometry: CarmGeometry
    center_xyz_mm: tuple[float, float, float]
    start: CarmPose
    truth: CarmPose | None

    @property
    def view(self) -> View:
        """Where the search starts."""
        return self.geometry.view(self.start, self.center_xyz_mm)

    def motion_to(self, pose: CarmPose) -> NDArray[np.float64]:
        """Return the 4x4 motion of the view from the start to a pose."""
        there, here = (p.world_from_carm(self.center_xyz_mm) for p in (pose, self.start))
        return np.asarray(there @ np.linalg.inv(here))


def run_register(config: RegisterConfig, name: str, reporter: RegisterReporter) -> RegisterOutcome:
    """Register, and write result.json and the images.

    Args:
        config: What, from where and how.
        name: Of the configuration, for the folder's name.
        reporter: Told of progress.

    Raises:
        FluoroError: Something cannot be read, rendered or written, or does not fit.
    """
    xray = read_xray_target(config)
    config = xray.config if xray else config
    task = _task(config, load_volume(config.volume, reporter.stage))
    wanted = config.renderer
    device = open_device(
        wanted.device,
        workers=wanted.workers,
        sections={
            "renderer": {"projector": wanted.projector},
            "derivatives": config.registration.projector or PROJECTOR,
        },
    )
    with closing(device):
        image, target = _target(config, task, device, xray)
        settings = config.registration
        energy_kev = config.registration.tissues_at_kev
        volume = at_energy(task.volume, energy_kev) if energy_kev else task.volume
        volume = structures_alone(
            volume, config.volume, config.registration.labels, "registration.labels"
        )
        registrar = Registrar(
            volume,
            device,
            settings,
            center_xyz_mm=task.center_xyz_mm,
            tolerance=config.carm.tolerance,
        )
        result = _search(registrar, target, task, reporter)
        run_name = config.run.name or f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
        folder = make_run_folder(config.run.output_dir or output_dir(), run_name)
        facts = result_facts(result, task.start, task.center_xyz_mm, task.truth)
        facts["target_notes"] = [*(xray.notes if xray else ()), *target.notes]
        stations = _convergence(task, result).stations(result.history)
        _write_record(folder / "result.json", facts, config, device.name, stations)
        _write_image(folder, image)
        drawing = _Drawing(registrar, target, task, result, facts)
        drawing.write(folder, stations, animation=config.run.animation, reporter=reporter)
    return RegisterOutcome(facts=facts, folder=folder)


def _task(config: RegisterConfig, volume: MuVolume) -> _Task:
    x, y, z = config.carm.isocenter_mm or volume.grid.center_xyz_mm.tolist()
    center = (float(x), float(y), float(z))
    truth = _pose(config.target.pose) if config.target.pose else None
    return _Task(
        volume=volume,
        geometry=make_geometry(config.carm),
        center_xyz_mm=center,
        start=_start(config, truth, center),
        truth=truth,
    )


def _start(
    config: RegisterConfig, truth: CarmPose | None, center: tuple[float, float, float]
) -> CarmPose:
    """The given pose, or the truth displaced at random."""
    if config.registration.start.pose or truth is None:
        return _pose(config.registration.start.pose or PoseConfig())
    random = np.random.default_rng(config.registration.start.seed)
    motion = motion_about(twist_at_mtre(random, config.registration.start.mtre_mm, center), center)
    return CarmPose.from_world_from_carm(motion @ truth.world_from_carm(center), center)


def _pose(config: PoseConfig) -> CarmPose:
    return CarmPose(**config.model_dump(include=set(PoseConfig.model_fields)))


def _target(
    config: RegisterConfig, task: _Task, device: ComputeDevice, xray: XrayTarget | None
) -> tuple[NDArray[Any], Target]:
    """The image as read, and the target made from it."""
    if config.target.path is None:
        image = _rendered(config, task, device)
        return image, prepare(image, config.target.preparation(config.image_chain.polarity))
    image = xray.image if xray else read_target_image(config.target.path)
    size = (task.geometry.detector_height_px, task.geometry.detector_width_px)
    if image.shape != size:
        raise InputError(
            f"{config.target.path}: must have carm's detector size, {size[1]} x {size[0]}, "
            f"got {image.shape[1]} x {image.shape[0]}"
        )
    return image, xray.target() if xray else prepare(image, config.target.preparation())


def _rendered(config: RegisterConfig, task: _Task, device: ComputeDevice) -> NDArray[Any]:
    renderer = DrrRenderer(
        task.volume,
        device,
        projector=config.renderer.projector,
        step_mm=config.renderer.step_mm,
        texture=config.renderer.texture,
    )
    view = task.geometry.view(task.truth or task.start, task.center_xyz_mm)
    kind, seed = config.target.kind, config.run.seed
    return rendered_image(renderer, view, task.geometry, config.image_chain, kind, seed)


def _search(
    registrar: Registrar, target: Target, task: _Task, reporter: RegisterReporter
) -> RegistrationResult:
    convergence = (
        Convergence(task.motion_to(task.truth), task.center_xyz_mm) if task.truth else None
    )
    count = 0

    def watch(step: Step) -> None:
        nonlocal count
        count += 1
        reporter.iteration(
            count, step, convergence.distance_mm(step.motion) if convergence else None
        )

    return registrar.register([target], [task.view], watch=watch)


def _convergence(task: _Task, result: RegistrationResult) -> Convergence:
    goal = task.motion_to(task.truth) if task.truth else result.motion
    return Convergence(goal, task.center_xyz_mm)


def _write_record(
    path: Path,
    facts: dict[str, Any],
    config: RegisterConfig,
    device: str,
    stations: Sequence[Station],
) -> None:
    """result.json: the facts, then where they come from, then a line for each iteration."""
    plain = config.model_dump(mode="json", by_alias=True)
    head = {**facts, "device": device, "versions": versions(), "config": plain}
    error = "distance_to_result_mm" if config.target.pose is None else "mtre_mm"
    rows = [
        json.dumps(
            {
                "level_px": station.step.level,
                "start": station.step.candidate,
                "iteration": station.step.iteration,
                "cost": station.step.cost if np.isfinite(station.step.cost) else None,
                error: station.distance_mm,
            }
        )
        for station in stations
    ]
    with replacing(path) as file:
        file.write(json.dumps(head, indent=2).removesuffix("\n}"))
        file.write(',\n  "history": [\n    ' + ",\n    ".join(rows) + "\n  ]\n}\n")


def _write_image(folder: Path, image: NDArray[Any]) -> None:
    """The target as it came: PNG where its numbers fit into one, else NPY."""
    grey = image.dtype in (np.uint8, np.uint16)
    path = folder / ("target.png" if grey else "target.npy")
    if grey:
        save_image(path, Image.fromarray(image))
        return
    with whole_file(path) as unfinished, unfinished.open("wb") as file:
        np.save(file, image)


class _Drawing:
    """Renders the images at the last level's detector, each of them again."""

    def __init__(
        self,
        registrar: Registrar,
        target: Target,
        task: _Task,
        result: RegistrationResult,
        facts: dict[str, Any],
    ) -> None:
        view, self._facts, self._result = task.view, facts, result
        width = registrar.settings.widths_px[-1]
        factor = max(1, round(min(view.width_px, view.height_px) / width))
        image, mask = bin_image(target.image, target.mask, factor)
        self._target = Target(image=image, mask=mask)
        self._view = bin_view(view, factor)
        shrink = task.geometry.source_to_isocenter_mm / task.geometry.source_to_detector_mm
        self._renderer = registrar.renderer(factor * task.geometry.pixel_spacing_mm * shrink)

    def write(
        self,
        folder: Path,
        stations: Sequence[Station],
        *,
        animation: bool,
        reporter: RegisterReporter,
    ) -> None:
        """comparison.png, errors.png and convergence.webp."""
        reporter.stage("drawing", 0.0)
        before, after = self._image(np.eye(4)), self._image(self._result.motion)
        known = "mtre_mm" in self._facts
        write_comparison(
            folder / "comparison.png", self._target, before, after, self._words(known=known)
        )
        title = "mTRE [mm]" if known else "mTRE to the pose found [mm]"
        write_error_plot(folder / "errors.png", stations, title)
        if animation:
            self._write_animation(folder / "convergence.webp", stations, known=known)
        reporter.stage("drawing", 1.0)

    def _image(self, motion: NDArray[np.float64]) -> NDArray[Any]:
        image = self._renderer.render(moved_view(self._view, motion))
        return np.asarray(self._renderer.device.to_host(image))

    def _words(self, *, known: bool) -> tuple[str, str]:
        found = "converged" if self._result.converged else "NOT CONVERGED"
        if not known:
            return "start", found
        start_mm, end_mm = self._facts["mtre_start_mm"], self._facts["mtre_mm"]
        return f"start, mTRE {start_mm:.1f} mm", f"{found}, mTRE {end_mm:.2f} mm"

    def _write_animation(self, path: Path, stations: Sequence[Station], *, known: bool) -> None:
        first, last = self._words(known=known)
        led = leading(stations)
        chosen = sorted(set(np.linspace(0, len(led) - 1, ANIMATION_IMAGES).astype(int).tolist()))
        motions, captions = [np.eye(4)], [first]
        for station in (led[k] for k in chosen if led):
            motions.append(station.step.motion)
            captions.append(_caption(station, known=known))
        images = [self._image(motion) for motion in [*motions, self._result.motion]]
        write_convergence(path, self._target, images, [*captions, last])


def _caption(station: Station, *, known: bool) -> str:
    error = f", mTRE {station.distance_mm:.2f} mm" if known else ""
    return f"{station.step.level} px, iteration {station.number}{error}"
