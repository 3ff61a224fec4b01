"""The few-line API: a volume and settings in, frames out.

    simulator = FluoroSimulator(volume)
    frame = simulator.render_frame(rotation=(0.0, 0.5, 0.0))   # LAO, radians
    cine = simulator.render_cine([Pose(rotation=(0.0, a, 0.0)) for a in angles])

Scripts written for fluorosim run as they are (docs/coming_from_fluorosim.md).
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from fluoro.fluorosim.cine import CineSequence, Frame, Pose, frame_path
from fluoro.fluorosim.config import SimulatorConfig
from fluoro.fluorosim.frame_times import FrameTimes, SimulatorMetrics, at_most
from fluoro.fluorosim.rendering.diffdrr_slang_renderer import (
    SlangDiffDRRConfig,
    SlangDiffDRRRenderer,
)
from fluoro.fluorosim.rendering.realism import drawn_seed
from fluoro.fluorosim.volume import PreprocessedVolume
from fluoro.geometry.carm import CarmGeometry
from fluoro.rendering.devices.base import ComputeDevice

__all__ = ["CineSequence", "FluoroSimulator", "Frame", "Pose", "SimulatorMetrics"]

log = logging.getLogger(__name__)


class FluoroSimulator:
    """Takes images of a volume with a C-arm.

    Angles and shifts are those of docs/conventions.md: `rotation` is (cranial, LAO, roll) in
    radians, `translation` moves the C-arm in world LPS [mm], and the isocentre is the centre of
    the volume's box. Each frame has its own noise; a new simulator with the same seed
    repeats it.

    Args:
        volume: What is in the beam.
        config: Settings; None: the defaults.
        device: As `renderer.device` of the configuration, or a device that is open.

    Raises:
        TypeError: Another volume than a `PreprocessedVolume`, or a config or device of another
            type.
        DeviceError: The device is not there.
    """

    def __init__(
        self,
        volume: PreprocessedVolume,
        config: SimulatorConfig | None = None,
        *,
        device: str | ComputeDevice = "auto",
    ) -> None:
        if not isinstance(volume, PreprocessedVolume):
            raise TypeError(f"volume must be a PreprocessedVolume, got {type(volume).__name__}")
        if config is not None and not isinstance(config, SimulatorConfig):
            raise TypeError(f"config must be a SimulatorConfig, got {type(config).__name__}")
        if not isinstance(device, str | ComputeDevice):
            raise TypeError(f"device must be a name such as 'auto' or 'cpu', got {device!r}")
        self._volume, self._doubted = volume, False
        self._config = config or SimulatorConfig()
        self._renderer = _renderer(volume, self._config, device)
        self._seed = drawn_seed(self._config.realism.seed)
        if self._config.realism.enabled and self._config.realism.seed is None:
            log.info("noise seed drawn: %d", self._seed)
        if self._config.output.keep_in_gpu and self._renderer.device.kind != "cuda":
            log.warning("keep_in_gpu: frames are NumPy arrays on %s", self._renderer.device.name)
        self._exposures = itertools.count()
        self._singles = itertools.count()
        self._frame_times = FrameTimes()

    @property
    def config(self) -> SimulatorConfig:
        """The settings."""
        return self._config

    @property
    def volume(self) -> PreprocessedVolume:
        """What is in the beam."""
        return self._volume

    @property
    def renderer(self) -> SlangDiffDRRRenderer:
        """What renders, without noise; it has derivatives."""
        return self._renderer

    def render_frame(
        self,
        rotation: tuple[float, float, float] = (0.0, 0.0, 0.0),
        translation: tuple[float, float, float] = (0.0, 0.0, 0.0),
        pose: Pose | Mapping[str, Any] | None = None,
    ) -> Frame:
        """Return one image; the simulator's single frames are numbered from 0.

        Args:
            rotation: Angles (cranial, LAO, roll) [rad]; more than a full turn is doubted in the
                log, and `Pose.from_degrees` takes degrees.
            translation: Shift of the C-arm in world LPS [mm].
            pose: Both; counts instead of them.

        Raises:
            InputError: A pose that is not finite.
            OutputError: The frame cannot be saved.
        """
        return self._render(Pose(rotation, translation) if pose is None else pose, self._singles)

    def render_cine(
        self,
        poses: Iterable[Pose | Mapping[str, Any]],
        fps: float = 30.0,
        progress: bool = True,
    ) -> CineSequence:
        """Return the image of each pose, numbered from 0.

        Args:
            poses: Poses, or mappings with `rotation` and `translation`.
            fps: Rate at which the frames are meant to be shown [1/s].
            progress: Tell the log (level INFO) every 10 frames how far it is.

        Raises:
            InputError: A pose that is not finite.
            OutputError: A frame cannot be saved.
        """
        frames = self._frame_times.collected(self.stream(poses), progress=progress)
        return CineSequence(frames=frames, fps=fps)

    def stream(
        self, pose_generator: Iterable[Pose | Mapping[str, Any]], max_frames: int | None = None
    ) -> Iterator[Frame]:
        """Yield images as poses come, numbered from 0.

        Args:
            pose_generator: Poses, or mappings with `rotation` and `translation`.
            max_frames: Number of frames, after which no other pose is requested; None: until the
                poses end.

        Raises:
            InputError: A pose that is not finite, or a negative `max_frames`.
            OutputError: A frame cannot be saved.
        """
        numbers = itertools.count()
        for pose in at_most(pose_generator, max_frames):
            yield self._render(pose, numbers)

    def get_metrics(self) -> SimulatorMetrics:
        """Return the speed, in the form of `config.metrics`."""
        return self._frame_times.metrics(self._config.metrics, self._renderer.device.kind)

    def close(self) -> None:
        """Give back what the device holds; the simulator must not be used afterwards."""
        self._renderer.close()

    def _render(self, given: Pose | Mapping[str, Any], numbers: Iterator[int]) -> Frame:
        pose = given if isinstance(given, Pose) else Pose.from_dict(given)
        self._doubt(pose)
        start_s = time.perf_counter()
        image = self._expose(pose)
        frame = Frame(image, pose, next(numbers), self._frame_times.add(start_s))
        output = self._config.output
        if output.save_to_disk and output.output_dir is not None:
            frame.save(frame_path(output.output_dir, frame.frame_idx, output.format))
        return frame

    def _doubt(self, pose: Pose) -> None:
        """Say once that angles are hardly radians."""
        doubt = "" if self._doubted else pose.doubt()
        if doubt:
            self._doubted = True
            log.warning("%s", doubt)

    def _expose(self, pose: Pose) -> Any:
        """The image, on the host unless it is to stay on the GPU."""
        realism = self._config.realism
        image = self._renderer.render_on_device(
            pose.rotation,
            pose.translation,
            realism if realism.enabled else None,
            seed=self._seed,
            frame_idx=next(self._exposures),
        )
        device = self._renderer.device
        stays = self._config.output.keep_in_gpu and device.kind == "cuda"
        return image if stays else device.to_host(image)

    def __repr__(self) -> str:
        geometry = self._config.geometry
        return (
            f"FluoroSimulator(volume={self._volume!r}, detector="
            f"{geometry.detector_height_px}x{geometry.detector_width_px}, "
            f"device={self._renderer.device.name!r})"
        )


def _renderer(
    volume: PreprocessedVolume, config: SimulatorConfig, device: str | ComputeDevice
) -> SlangDiffDRRRenderer:
    geometry, physics = config.geometry, config.physics
    cfg = SlangDiffDRRConfig(
        det_height_px=geometry.detector_height_px,
        det_width_px=geometry.detector_width_px,
        pixel_spacing_mm=geometry.pixel_spacing_mm,
        source_to_detector_mm=geometry.source_to_detector_mm,
        source_to_isocenter_mm=geometry.source_to_isocenter_mm,
        step_mm=physics.step_mm,
        i0=physics.i0,
        normalize=physics.normalize,
        invert=physics.invert,
    )
    return SlangDiffDRRRenderer(
        volume.mu_volume,
        volume.spacing_zyx_mm,
        cfg,
        grid=volume.mu.grid,
        geometry=geometry if isinstance(geometry, CarmGeometry) else None,
        device=device,
    )
