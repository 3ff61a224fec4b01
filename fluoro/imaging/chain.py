"""The image chain: line integrals become photons, counts, a signal and at last an image.

The stages and their order are in `fluoro.imaging.stages.order.ORDER`; each one is a module with its
kernels in shaders/stages/ and its reference in NumPy. `fluoro.imaging.fused` makes one kernel of
several. Noise is a pure function of (seed, frame number, pixel). Stages that look back remember
earlier frames in `fluoro.imaging.frame_history`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fluoro.config import ImageChainConfig
from fluoro.errors import require_type
from fluoro.geometry.carm import CarmGeometry
from fluoro.imaging.configured_beam import Beams
from fluoro.imaging.device_tables import Tables
from fluoro.imaging.exposure.dose_meter import Pulse
from fluoro.imaging.exposure.pulse_exposure import beams_of_pulses
from fluoro.imaging.frame_history import FrameMemory
from fluoro.imaging.frame_setup import StageSelection, begin_frame, require_derivative
from fluoro.imaging.frame_state import FrameState
from fluoro.imaging.kernel_run import KernelRun
from fluoro.imaging.linearised import LinearisedImage
from fluoro.imaging.stage import FrameContext
from fluoro.imaging.stages.order import HOLD, ORDER
from fluoro.physics.materials import Material
from fluoro.rendering.deferred_integrals import DeferredIntegrals
from fluoro.rendering.devices.base import ComputeDevice

__all__ = ["ImageChain"]


class ImageChain:
    """Applies the stages that a configuration switches on.

    Args:
        device: Where the line integrals lie and the kernels run.
        seed: Of the noise, 0 to 2**63 - 1.
        materials: Whose thicknesses come instead of line integrals, where `xray` is configured.
        fused: Run neighbouring stages that look at no other pixel as one kernel: the same values
            in fewer launches, and kernels that are compiled for this configuration alone.

    Raises:
        InputError: `device` is no compute device.
    """

    def __init__(
        self,
        device: ComputeDevice,
        seed: int,
        materials: Sequence[Material] = (),
        *,
        fused: bool = False,
    ) -> None:
        require_type("device", device, ComputeDevice, "fluoro.open_device")
        self.device, self._fused = device, fused
        self._beams, self._tables = Beams(materials), Tables(device)
        self._selection = StageSelection()
        self.pulse: Pulse
        """What the last image was made with."""
        self.restart(seed)

    def apply(
        self,
        integrals: Any,
        config: ImageChainConfig,
        frame_number: int,
        pixel_spacing_mm: float,
        geometry: CarmGeometry | None = None,
        *,
        pulse: bool = True,
    ) -> Any:
        """Return the image of one frame.

        Args:
            integrals: Line integrals (dimensionless), float32 array of the device, shape
                (height, width); with `xray` thicknesses [mm], shape (materials, height, width);
                left as they are. Or `DeferredIntegrals`, which become one kernel with the stages
                that follow, where the chain is fused and has neither `xray` nor `scatter`.
            config: Which stages, with which numbers; may change from frame to frame.
            frame_number: Selects the noise. Lag and temporal filter start afresh where it does
                not rise, and where the image's size changes.
            pixel_spacing_mm: Pixel pitch [mm], for the photons per pixel and the blur.
            geometry: The detector and its distance, where a stage of the field needs them.
            pulse: False: no X-rays, the last pulse's image is shown once more; needs
                `pulse_rate_hz`.

        Returns:
            Display values in [0, 1], a new float32 array of the device of the same shape.

        Raises:
            InputError: A stage needs a geometry that is not given.
        """
        image = self.start(integrals, config, frame_number, pixel_spacing_mm, geometry, pulse=pulse)
        self.finish()
        return image

    def finish(self) -> None:
        """Return when the images that were begun are there."""
        self.device.finish()

    def start(
        self,
        integrals: Any,
        config: ImageChainConfig,
        frame_number: int,
        pixel_spacing_mm: float,
        geometry: CarmGeometry | None = None,
        *,
        pulse: bool = True,
    ) -> Any:
        """Begin with the image of one frame: `apply` without the wait on a `LaunchQueue`.

        Takes what `apply` takes and returns what it returns, not to be read before `finish`.
        """
        image, frame = self._launch(
            integrals, config, frame_number, pixel_spacing_mm, geometry, pulse=pulse
        )
        for read in frame.readings:
            read(frame)
        if not frame.holds:
            self.pulse = frame.exposure
        return image

    def _launch(
        self,
        integrals: Any,
        config: ImageChainConfig,
        frame_number: int,
        pixel_spacing_mm: float,
        geometry: CarmGeometry | None,
        *,
        pulse: bool,
    ) -> tuple[Any, FrameContext]:
        """The image of a frame, all its launches lined up, and what the stages left to read."""
        if isinstance(integrals, DeferredIntegrals) and not self._integrates(config):
            integrals = integrals.render()
        frame = begin_frame(
            integrals,
            config,
            frame_number,
            pixel_spacing_mm,
            geometry,
            selection=self._selection,
            memory=self._memory,
            beams=self._beams,
            seed=self._seed,
            pulse=pulse,
        )
        kernels = KernelRun(self.device, self._tables, frame.shape, fused=self._fused)
        stages = frame.stages
        if frame.holds:
            HOLD.take(frame, kernels)
            stages = frame.after(HOLD)
        for stage in stages:
            stage.run(frame, kernels)
        kernels.finish()
        return kernels.image, frame

    def linearise(
        self,
        integrals: Any,
        config: ImageChainConfig,
        frame_number: int,
        pixel_spacing_mm: float,
        geometry: CarmGeometry | None = None,
    ) -> LinearisedImage:
        """Return the expected image of a frame, and its derivative, by kernels.

        The chain's memory stays as it is. `fluoro.imaging.gradients` has the same in NumPy.

        Args:
            integrals: As for `apply`.
            config: As for `apply`; `poisson` and `electronic_noise_photons` are taken as off.
            frame_number: Of the frame; what earlier frames of the run have left is held. A number
                that does not rise is that of a run's first frame.
            pixel_spacing_mm: Pixel pitch [mm].
            geometry: As for `apply`.

        Raises:
            InputError: The digitiser is on, a stage needs a geometry that is not given, or a
                plugin's stage has no derivative in kernels.
        """
        require_derivative(config)
        given = integrals.render() if isinstance(integrals, DeferredIntegrals) else integrals
        continues = self._memory.continues(given.shape[-2:], frame_number)
        frame = begin_frame(
            given,
            config,
            frame_number,
            pixel_spacing_mm,
            geometry,
            selection=self._selection,
            memory=self._memory.branch() if continues else FrameMemory(self.device),
            beams=self._beams,
            seed=self._seed,
            noise=False,
        )
        return LinearisedImage(self.device, self._tables, frame)

    def look_again(
        self,
        integrals: Any,
        config: ImageChainConfig,
        pixel_spacing_mm: float,
        geometry: CarmGeometry | None = None,
    ) -> Any | None:
        """Return the held image with the stages after `HOLD`: another window, curve or shutter.

        The memory stays as it is: the next frame is made as if this had not been called.

        Args:
            integrals: As for `apply`; only their shape counts.
            config: Of the last frame, but for the stages after `HOLD`.
            pixel_spacing_mm: Pixel pitch [mm].
            geometry: The detector and its distance, where a stage of the field needs them.

        Returns:
            Display values in [0, 1], as of `apply`; None where no image is held.
        """
        if not self._memory.has(HOLD.remembers):
            return None
        with self._memory.as_it_is() as number:
            return self.apply(integrals, config, number, pixel_spacing_mm, geometry, pulse=False)

    def _integrates(self, config: ImageChainConfig) -> bool:
        """Whether line integrals are needed in each pixel's own stage alone."""
        return self._fused and not (config.xray or config.scatter)

    def restart(self, seed: int) -> None:
        """Forget the frames so far: what follows is a stream of its own.

        Args:
            seed: Of its noise, 0 to 2**63 - 1.
        """
        self._seed, self._memory = seed, FrameMemory(self.device)
        self.pulse = Pulse(dose_ngy=0.0)

    def prepare(
        self,
        integrals: Any,
        config: ImageChainConfig,
        pixel_spacing_mm: float,
        geometry: CarmGeometry | None = None,
    ) -> None:
        """Compile every kernel that frames of a stream need, and fit the energies of its beams.

        The memory of frames is cleared.

        On a `LaunchQueue` of the CPU they are compiled side by side.

        Other numbers in the configuration need no others: a window, a dose, a field, another rate
        of pulses, another mask.

        Args:
            integrals: Of any frame, as `apply` takes them.
            config: Of the stream.
            pixel_spacing_mm: Pixel pitch [mm].
            geometry: The detector and its distance, where a stage of the field needs them.

        Raises:
            InputError: A stage needs a geometry that is not given.
        """
        for xray in beams_of_pulses(config):
            self._beams.beam(xray)
        config, pulses = _rehearsal(config)
        for number, pulse in enumerate(pulses):
            self._launch(integrals, config, number, pixel_spacing_mm, geometry, pulse=pulse)
        self.finish()
        self.restart(self._seed)

    def state(self, frame_number: int, shape: tuple[int, int]) -> FrameState:
        """Return what the frames so far leave to the next one, for its derivative; changes nothing.

        Args:
            frame_number: Of the next frame.
            shape: Of its image (height, width).
        """
        continues = self._memory.continues(shape, frame_number)
        memory = self._memory.copy() if continues else FrameMemory()
        return FrameState(seed=self._seed, number=frame_number, memory=memory)


def _rehearsal(config: ImageChainConfig) -> tuple[ImageChainConfig, list[bool]]:
    """Return a configuration and frames that need all kernels: True with a pulse, False without."""
    pulses = 1
    held = False
    for stage in ORDER:
        if stage.is_on(config):
            config, frames = stage.rehearsed(config)
            pulses, held = max(pulses, sum(frames)), held or not all(frames)
    return config, [True] * pulses + [False] * held
