"""The simulator: a volume and settings in, frames out."""

from __future__ import annotations

import itertools
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fluoro.fluorosim.cine import frame_path
from fluoro.fluorosim.frame_times import FrameTimes, SimulatorMetrics, at_most
from fluoro.fluorosim.rendering.realism import drawn_seed
from fluoro.fluorosim.volume import PreprocessedVolume as AnyVolume
from fluoro.geometry.projection import View
from fluoro.imaging.linear_maps import blur
from fluoro.imaging.stages.blur import blur_weights
from fluoro.imaging.stages.electronic_noise import electronic_noise
from fluoro.imaging.stages.poisson import poisson
from fluoro.rendering.devices.base import ComputeDevice
from fluoro.rendering.devices.selection import open_device
from fluoro.rendering.renderer import DrrRenderer
from fluoro.xray_simulator.config import CarmGeometry, RealismSettings, SimulatorConfig
from fluoro.xray_simulator.display import (
    Appearance,
    DisplaySettings,
    apply_display,
    calibrate_display,
    resolve_display_settings,
)
from fluoro.xray_simulator.frames import CineSequence, Frame
from fluoro.xray_simulator.geometry import Vector3, euler_zxy_to_matrix, view_frame_warning
from fluoro.xray_simulator.pose import ZERO, Pose

__all__ = ["xray_simulator"]


class xray_simulator:  # noqa: N801  (its name in scripts)
    """Takes images of a volume with a C-arm.

    Args:
        volume: What is in the beam.
        config: Settings; None: the defaults.
        device: As `renderer.device` of the configuration, or a device that is open.

    Raises:
        TypeError: Another volume than a `PreprocessedVolume`.
        DeviceError: The device is not there.
    """

    def __init__(
        self,
        volume: AnyVolume,
        config: SimulatorConfig | None = None,
        *,
        device: str | ComputeDevice = "auto",
    ) -> None:
        if not isinstance(volume, AnyVolume):
            raise TypeError(f"volume must be a PreprocessedVolume, got {type(volume).__name__}")
        self._volume, self._config = volume, config or SimulatorConfig()
        physics = self._config.physics
        self._display = physics.display(self._config.display)
        self._device = open_device(device) if isinstance(device, str) else device
        self._renderer = DrrRenderer(volume.mu, self._device, step_mm=physics.step_mm)
        self._center = np.array(volume.mu.grid.center_xyz_mm)
        self._singles = itertools.count()
        self._frame_times = FrameTimes()
        self._warned = False

    @property
    def config(self) -> SimulatorConfig:
        """The settings."""
        return self._config

    @property
    def display(self) -> DisplaySettings:
        """How intensity is shown at the moment."""
        return self._display

    @property
    def volume(self) -> AnyVolume:
        """What is in the beam."""
        return self._volume

    @property
    def renderer(self) -> DrrRenderer:
        """What renders line integrals; it has derivatives."""
        return self._renderer

    @property
    def volume_center_xyz_mm(self) -> Vector3:
        """Centre of the volume's box, patient LPS [mm]: the isocentre without a translation."""
        x, y, z = self._center.tolist()
        return x, y, z

    def isocenter_translation(self, point: ArrayLike) -> Vector3:
        """Return the translation that brings the isocentre to a point of patient LPS [mm]."""
        x, y, z = (np.asarray(point, float) - self._center).tolist()
        return x, y, z

    # How it looks

    def set_appearance(self, display: DisplaySettings | str) -> None:
        """Show frames from now on by a preset's name or by settings."""
        self._display = resolve_display_settings(display)

    def set_polarity(self, polarity: Appearance) -> None:
        """Show dense structures dark ("fluoro") or bright; the calibration stays."""
        self._display = replace(self._display, polarity=polarity)

    def calibrate_display(
        self,
        pose: Pose | Mapping[str, Any] | None = None,
        percentiles: tuple[float, float] = (1.0, 99.0),
    ) -> DisplaySettings:
        """Fit the log window to this volume, once, by a frame without noise; return the settings.

        Args:
            pose: Of that frame; None: `Pose.ap()`.
            percentiles: Of its line integrals, that become the window's ends.

        Raises:
            InputError: A frame of one value, or percentiles that do not rise.
        """
        intensity = self._intensity(_pose(pose) if pose is not None else Pose.ap())
        i0 = self._config.physics.i0
        self._display = calibrate_display(intensity, self._display, i0, percentiles)
        return self._display

    # Frames

    def render_frame(
        self,
        rotation: Vector3 = ZERO,
        translation: Vector3 = ZERO,
        pose: Pose | Mapping[str, Any] | None = None,
    ) -> Frame:
        """Return one image; its noise is the seed's, so a second one repeats it.

        Args:
            rotation: Euler angles (rx, ry, rz) [rad].
            translation: Of the isocentre [mm].
            pose: Both; counts instead of them.

        Raises:
            InputError: A pose that is not finite.
            OutputError: The frame cannot be saved.
        """
        given = Pose(rotation, translation) if pose is None else _pose(pose)
        return self._render(given, next(self._singles), noise=0)

    def render_cine(
        self,
        poses: Iterable[Pose | Mapping[str, Any]],
        fps: float = 30.0,
        progress: bool = True,
    ) -> CineSequence:
        """Return the image of each pose, each with noise of its own.

        Args:
            poses: Poses, or mappings of their keys.
            fps: Rate at which the frames are meant to be shown [1/s].
            progress: Tell the log (level INFO) every 10 frames how far it is.
        """
        frames: list[Any] = self._frame_times.collected(self.stream(poses), progress=progress)
        return CineSequence(frames=frames, fps=fps)

    def stream(
        self, pose_generator: Iterable[Pose | Mapping[str, Any]], max_frames: int | None = None
    ) -> Iterator[Frame]:
        """Yield images as poses come, numbered from 0.

        Args:
            pose_generator: Poses, or mappings of their keys.
            max_frames: Number of frames; None: until the poses end.

        Raises:
            InputError: A pose that is not finite, or a negative `max_frames`.
            OutputError: A frame cannot be saved.
        """
        for number, pose in enumerate(at_most(pose_generator, max_frames)):
            yield self._render(_pose(pose), number, noise=number)

    def get_metrics(self) -> SimulatorMetrics:
        """Return the speed, in the form of `config.metrics`."""
        return self._frame_times.metrics(self._config.metrics, self._device.kind)

    def close(self) -> None:
        """Give back what the device holds; the simulator must not be used afterwards."""
        self._device.close()

    def view(self, pose: Pose) -> View:
        """Return the source and detector at a pose, patient LPS [mm]."""
        return view_of(self._config.geometry, pose, self._center)

    def __repr__(self) -> str:
        geometry = self._config.geometry
        return (
            f"xray_simulator(volume={self._volume!r}, detector="
            f"{geometry.detector_height_px}x{geometry.detector_width_px}, "
            f"device={self._device.name!r})"
        )

    def _render(self, pose: Pose, number: int, *, noise: int) -> Frame:
        self._warn(pose)
        start_s = time.perf_counter()
        intensity = self._intensity(pose)
        realism, output, i0 = self._config.realism, self._config.output, self._config.physics.i0
        if realism.enabled:
            intensity = detected(intensity, realism, noise)
        image: Any = apply_display(intensity, self._display, i0)
        timestamp_ms = self._frame_times.add(start_s)
        frame = Frame(
            image=self._device.to_device(image) if output.keep_in_gpu else image,
            pose=pose,
            frame_idx=number,
            timestamp_ms=timestamp_ms,
            intensity=intensity if output.keep_intensity else None,
            i0=i0,
        )
        if output.save_to_disk and output.output_dir is not None:
            frame.save(frame_path(output.output_dir, number, output.format))
        return frame

    def _intensity(self, pose: Pose) -> NDArray[np.float32]:
        integrals = self._device.to_host(self._renderer.render(self.view(pose)))
        return np.asarray(np.float32(self._config.physics.i0) * np.exp(-integrals), np.float32)

    def _warn(self, pose: Pose) -> None:
        frame = getattr(self._volume.metadata, "anatomical_frame", None)
        text = None if self._warned else view_frame_warning(pose.view, frame)
        if text:
            self._warned = True
            warnings.warn(text, UserWarning, stacklevel=4)


def _pose(given: Pose | Mapping[str, Any]) -> Pose:
    return given if isinstance(given, Pose) else Pose.from_dict(given)


def view_of(geometry: CarmGeometry, pose: Pose, center_xyz_mm: NDArray[np.float64]) -> View:
    """Return the source and detector at a pose about the volume's centre, patient LPS [mm]."""
    turn = euler_zxy_to_matrix(pose.rotation)
    columns, rows, beam = turn.T
    (dx, dy), (offset_x, offset_y) = geometry.pixel_spacing_xy_mm, geometry.detector_offset_xy_mm
    isocenter = center_xyz_mm + np.array(pose.translation)
    source = isocenter - geometry.source_to_isocenter_mm * beam
    middle = source + geometry.source_to_detector_mm * beam
    middle = middle + offset_x * columns + offset_y * rows
    width, height = geometry.detector_width_px, geometry.detector_height_px
    return View(
        source_xyz_mm=source,
        corner_xyz_mm=middle - columns * dx * width / 2 - rows * dy * height / 2,
        column_step_xyz_mm=columns * dx,
        row_step_xyz_mm=rows * dy,
        width_px=width,
        height_px=height,
    )


def detected(
    intensity: NDArray[np.float32], settings: RealismSettings, number: int
) -> NDArray[np.float32]:
    """What the detector makes of an intensity: gain, bias, quantum and electronic noise, blur.

    Noise is a function of (seed, number, pixel); without a seed it is drawn.
    """
    seed = drawn_seed(settings.seed)
    image = intensity * np.float32(settings.gain) + np.float32(settings.bias)
    image = np.maximum(image, 0).astype(np.float32)
    if settings.poisson_photons > 0:
        photons = np.float32(settings.poisson_photons)
        image = poisson(image * photons, seed, number) / photons
    if settings.gaussian_sigma > 0:
        noisy = electronic_noise(image, settings.gaussian_sigma, seed, number)
        image = np.maximum(noisy, 0).astype(np.float32)
    if settings.blur_sigma_px > 0:
        image = np.asarray(blur(image, blur_weights(settings.blur_sigma_px)), np.float32)
    return np.asarray(image, np.float32)
