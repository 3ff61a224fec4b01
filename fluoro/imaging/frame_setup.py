"""A frame before its first stage: the stages that are on, its pulse, its photons."""

from __future__ import annotations

from typing import Any

from fluoro.config import ImageChainConfig
from fluoro.errors import InputError
from fluoro.geometry.carm import CarmGeometry
from fluoro.imaging.configured_beam import Beams, detector_signal_of, open_field_of
from fluoro.imaging.exposure.pulse_exposure import pulse_of
from fluoro.imaging.frame_history import FrameMemory
from fluoro.imaging.stage import FrameContext, Stage
from fluoro.imaging.stages.order import HOLD, ORDER

__all__ = ["StageSelection", "begin_frame", "require_derivative"]


class StageSelection:
    """The stages that a configuration switches on; the last answer is kept."""

    def __init__(self) -> None:
        self._config: ImageChainConfig | None = None
        self._on: list[Stage] = []
        self._forgotten: list[str] = []

    def of(self, config: ImageChainConfig) -> tuple[list[Stage], list[str]]:
        """Return the stages that are on, in order, and what the others would remember."""
        if config is not self._config:
            self._on = [stage for stage in ORDER if stage.is_on(config)]
            off = [stage.remembers for stage in ORDER if stage not in self._on]
            self._config, self._forgotten = config, [name for name in off if name]
        return self._on, self._forgotten


def require_derivative(config: ImageChainConfig) -> None:
    """Refuse a chain that has no derivative.

    Raises:
        InputError: A stage that has none is on.
    """
    for stage in ORDER:
        if stage.no_derivative and stage.is_on(config):
            raise InputError(
                "the image chain's derivative must be taken without "
                f"image_chain.{stage.keys[0]}: {stage.no_derivative}"
            )


def begin_frame(
    integrals: Any,
    config: ImageChainConfig,
    number: int,
    pixel_spacing_mm: float,
    geometry: CarmGeometry | None,
    *,
    selection: StageSelection,
    memory: FrameMemory,
    beams: Beams,
    seed: int,
    pulse: bool = True,
    noise: bool = True,
) -> FrameContext:
    """Return the frame's context; what its memory holds for other frames is forgotten.

    Args:
        integrals: Line integrals, shape (height, width), or thicknesses [mm] with `xray`.
        config: Which stages, with which numbers.
        number: Of the frame.
        pixel_spacing_mm: Pixel pitch [mm].
        geometry: The detector and its distance; None: not given.
        selection: Of the chain.
        memory: Of the run.
        beams: Of the materials.
        seed: Of the noise.
        pulse: Whether there are X-rays.
        noise: Whether noise is drawn.

    Raises:
        InputError: Integrals of another kind than the configuration's, or no geometry.
    """
    shape = (integrals.shape[-2], integrals.shape[-1])
    stages, forgotten = selection.of(config)
    memory.begin(shape, number, forgotten)
    exposure, config = pulse_of(config, memory.numbers, geometry)
    beam = beams.beam(config.xray) if config.xray else None
    _require_planes(integrals.shape, len(beams.materials) if beam else 0)
    frame = FrameContext(
        config=config,
        shape=shape,
        pixel_spacing_mm=pixel_spacing_mm,
        geometry=geometry,
        seed=seed,
        number=number,
        memory=memory,
        integrals=integrals,
        beam=beam,
        materials=beams.materials,
        stages=stages,
        exposure=exposure,
        noise=noise,
    )
    frame.holds = not pulse and memory.has(HOLD.remembers)
    if not frame.holds:
        _set_photons(frame)
    return frame


def _set_photons(frame: FrameContext) -> None:
    """The photons of the open field, and those that the signal is relative to."""
    config, pitch_mm = frame.config, frame.pixel_spacing_mm
    dose_ngy = frame.exposure.dose_ngy
    opened = open_field_of(config.xray, frame.beam, dose_ngy, pitch_mm, frame.geometry, config.grid)
    frame.open_field_photons = frame.reference_photons = opened
    if config.brightness:
        frame.photons_per_ngy = detector_signal_of(frame.beam, 1.0, pitch_mm)
        frame.reference_photons = frame.photons_per_ngy * config.brightness.target_ngy


def _require_planes(shape: tuple[int, ...], materials: int) -> None:
    """Refuse thicknesses without a beam, and a beam without them."""
    wanted = 3 if materials else 2
    if len(shape) != wanted or (materials and shape[0] != materials):
        kind = f"{materials} materials' thicknesses" if materials else "line integrals"
        raise InputError(f"integrals must be an image of {kind}, got shape {shape}")
