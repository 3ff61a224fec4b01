"""The image chain: line integrals become photons, counts, a signal and at last a picture.

    expected photons -> focal spot -> distance, heel, collimator, filters -> scatter -> Poisson
    -> blur, MTF -> image intensifier -> glare -> lag -> electronic noise -> pattern
    -> gain and bias -> digitiser -> log -> temporal filter -> subtraction
    -> edge enhancement -> window -> curve -> shutter

Each stage is one kernel (shaders/<stage>.slang), has a switch in the configuration and an oracle
in `fluoro.imaging.reference`; `fluoro.imaging.fused` makes one kernel of several. Noise is a pure
function of (seed, frame number, pixel). Lag and the temporal filter remember earlier frames
(`fluoro.imaging.memory`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.config import (
    BowTieConfig,
    DsaConfig,
    ImageChainConfig,
    LutConfig,
    MtfConfig,
    ScatterConfig,
    VeilingGlareConfig,
    WedgeConfig,
)
from fluoro.errors import InputError
from fluoro.geometry.carm import CarmGeometry
from fluoro.imaging.brightness import next_dose_ngy, roi_box
from fluoro.imaging.curve import curve_table
from fluoro.imaging.dose_meter import Pulse
from fluoro.imaging.dsa import dsa_turn
from fluoro.imaging.exposure import pulse_of
from fluoro.imaging.field import (
    Stage,
    field_stages,
    intensifier_stage,
    pin_cushion_stage,
    required_geometry,
    shutter_stage,
)
from fluoro.imaging.filters import beam_filters, filter_stages
from fluoro.imaging.fir import focal_spot_taps, focal_spot_width_mm, taps_of
from fluoro.imaging.frame_state import FrameState, state_of
from fluoro.imaging.fused import StageRunner
from fluoro.imaging.lag import lag_shares
from fluoro.imaging.memory import FrameMemory
from fluoro.imaging.scatter import (
    add_stage,
    cell_grid,
    glare_kernel,
    line_uniforms,
    most_cells,
    source_uniforms,
    spread_in_lines,
    spread_uniforms,
)
from fluoro.imaging.tables import Tables
from fluoro.imaging.xray import (
    Beams,
    beam_uniforms,
    detector_signal_of,
    open_field_of,
    scatter_integral_uniforms,
    transmission_stage,
)
from fluoro.physics.beam import Beam
from fluoro.physics.materials import Material
from fluoro.rendering.devices import ComputeDevice
from fluoro.rendering.unrendered import UnrenderedIntegrals

__all__ = ["ImageChain", "blur_weights", "focal_spot_filter"]

NO_PHOTON = 0.5
"""The logarithm takes a signal below half a photon as half a photon."""

BLUR_REACH_SIGMAS = 3.5
"""The Gaussian is cut where it has fallen to 0.2 % of its peak."""


_Words = tuple[int, int, int]


class ImageChain:
    """Applies the stages that a configuration switches on.

    Args:
        device: Where the line integrals lie and the kernels run.
        seed: Of the noise, 0 to 2**63 - 1.
        materials: Whose thicknesses come instead of line integrals, where `xray` is configured.
        fused: Run neighbouring stages that look at no other pixel as one kernel: the same values
            in fewer launches, and kernels that are compiled for this configuration alone.
    """

    def __init__(
        self,
        device: ComputeDevice,
        seed: int,
        materials: Sequence[Material] = (),
        *,
        fused: bool = False,
    ) -> None:
        self.device, self._fused = device, fused
        self._beams, self._tables = Beams(materials), Tables(device)
        self._seed_number, self._seed = seed, _words(seed)
        self._memory = FrameMemory(device)
        self.pulse = Pulse(dose_ngy=0.0)
        """What the last picture was made with."""

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
        """The picture of one frame.

        Args:
            integrals: Line integrals (dimensionless), float32 array of the device, shape
                (height, width); with `xray` thicknesses [mm], shape (materials, height, width);
                left as they are. Or `UnrenderedIntegrals`, which become one kernel with the stages
                that follow, where the chain is fused and has neither `xray` nor `scatter`.
            config: Which stages, with which numbers; may change from frame to frame.
            frame_number: Selects the noise. Lag and temporal filter start afresh where it does
                not rise, and where the picture's size changes.
            pixel_spacing_mm: Pixel pitch [mm], for the photons per pixel and the blur.
            geometry: The detector and its distance, where a stage of the field needs them.
            pulse: False: no X-rays, the last pulse's picture is shown once more; needs
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
        """Return when the pictures that were begun are there."""
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
        """Begin with the picture of one frame: `apply` without the wait on a `LaunchQueue`.

        Takes what `apply` takes and returns what it returns, not to be read before `finish`.
        """
        if isinstance(integrals, UnrenderedIntegrals) and not self._integrates(config):
            integrals = integrals.render()
        memory = self._memory
        memory.begin(integrals.shape[-2:], frame_number, config)
        made, config = pulse_of(config, memory.numbers, geometry)
        beam = self._beams.beam(config.xray) if config.xray else None
        _require_planes(integrals.shape, len(self._beams.materials) if beam else 0)
        chain = _Run(
            self.device,
            integrals,
            self._seed,
            _words(frame_number),
            beam,
            self._beams.materials,
            self._tables,
            fused=self._fused,
        )
        if pulse or not memory.has("held"):
            chain.set_dose(config, made, pixel_spacing_mm, geometry)
            chain.expose(config, pixel_spacing_mm, geometry)
            chain.detect(config, pixel_spacing_mm, memory)
            chain.regulate(config, memory)
            chain.read_out(config)
            chain.process(config, pixel_spacing_mm, memory)
            self.pulse = chain.pulse
        chain.hold(config, memory, pulse=pulse)
        chain.show(config, geometry)
        chain.finish()
        return chain.image

    def _integrates(self, config: ImageChainConfig) -> bool:
        """Whether line integrals are needed in each pixel's own stage alone."""
        return self._fused and not (config.xray or config.scatter)

    def prepare(
        self,
        integrals: Any,
        config: ImageChainConfig,
        pixel_spacing_mm: float,
        geometry: CarmGeometry | None = None,
    ) -> None:
        """Compile every kernel that frames of a stream need, and forget the frames before.

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
        for number, pulse in enumerate(_rehearsal(config)):
            self.apply(
                integrals, _shortened(config), number, pixel_spacing_mm, geometry, pulse=pulse
            )
        self._memory, self.pulse = FrameMemory(self.device), Pulse(dose_ngy=0.0)

    def state(
        self, config: ImageChainConfig, frame_number: int, shape: tuple[int, int]
    ) -> FrameState:
        """What the frames so far leave to the next one, for its derivative; changes nothing.

        Args:
            config: Of the next frame.
            frame_number: Of the next frame.
            shape: Of its picture (height, width).
        """
        continues = self._memory.continues(shape, frame_number)
        memory = self._memory if continues else FrameMemory(self.device)
        return state_of(memory, config, frame_number, self._seed_number)


class _Run:
    """One frame on its way through the stages."""

    def __init__(
        self,
        device: ComputeDevice,
        integrals: Any,
        seed: _Words,
        frame: _Words,
        beam: Beam | None,
        materials: Sequence[Material],
        tables: Tables,
        *,
        fused: bool,
    ) -> None:
        self._device, self._tables = device, tables
        self._runner = StageRunner(device, fused=fused)
        self._integrals, self._beam, self._materials = integrals, beam, materials
        self._gain: Any = None
        self._draw = {"seed": seed, "frame": frame}
        height, width = integrals.shape[-2:]
        self._shape = (height, width)
        self._size = (width, height, 1)
        self.image = device.empty((height, width))
        self._open_field = 1.0
        self._reference = 1.0
        self.pulse = Pulse(dose_ngy=0.0)
        self._subtracted = False

    def _stage(self, name: str, **uniforms: Any) -> None:
        self._runner.run(name, self.image, self._size, uniforms)

    def finish(self) -> None:
        """Run what waits to be put together with others."""
        self._runner.finish()

    def _run_stage(self, stage: Stage) -> None:
        self._stage(stage.name, **stage.uniforms)

    def set_dose(
        self,
        config: ImageChainConfig,
        made: Pulse,
        pixel_spacing_mm: float,
        geometry: CarmGeometry | None,
    ) -> None:
        """The pulse's dose, and the photons that the signal is relative to."""
        self.pulse = made
        opened = open_field_of(config.xray, self._beam, made.dose_ngy, pixel_spacing_mm, geometry)
        self._open_field = self._reference = opened
        if config.brightness:
            self._per_ngy = detector_signal_of(self._beam, 1.0, pixel_spacing_mm)
            self._reference = self._per_ngy * config.brightness.target_ngy

    def regulate(self, config: ImageChainConfig, memory: FrameMemory) -> None:
        """Measure what the detector received; the next pulse follows, but not within a series."""
        if not config.brightness:
            return
        left, top, right, bottom = roi_box(config.brightness.roi, self._shape)
        rows = self._on_cells(
            Stage(
                "row_sums",
                {
                    "source": self.image,
                    "source_size": self._size,
                    "first": (left, top, 0),
                    "end": (right, bottom, 0),
                },
            ),
            (bottom - top, 1),
        )
        total = float(np.sum(self._device.to_host(rows), dtype=float))
        measured_ngy = total / ((right - left) * (bottom - top)) / self._per_ngy
        dose_ngy = self.pulse.dose_ngy
        self.pulse = replace(self.pulse, measured_ngy=measured_ngy)
        held = config.dsa is not None and memory.number >= config.dsa.first_frame
        if not held:
            dose_ngy = next_dose_ngy(config.brightness, dose_ngy, measured_ngy)
        memory.numbers.keep("brightness", dose_ngy)

    def hold(self, config: ImageChainConfig, memory: FrameMemory, *, pulse: bool) -> None:
        """Keep a pulse's picture for the frames until the next, or take it up again."""
        if config.pulse_rate_hz is None:
            memory.forget("held")
            return
        kept, fresh = memory.layers("held", 1)
        if pulse or fresh:
            memory.numbers.keep("held_subtracted", float(self._subtracted))
            self._stage("keep", kept=kept)
        else:
            self._stage("copy_integrals", integrals=kept)
            self._subtracted = memory.numbers.value("held_subtracted", 0.0) > 0

    def expose(
        self, config: ImageChainConfig, pixel_spacing_mm: float, geometry: CarmGeometry | None
    ) -> None:
        """Photons in each pixel: expected, and counted."""
        if not config.beer_lambert:
            self._take_integrals()
            return
        self._transmit(config, pixel_spacing_mm)
        if config.focal_spot_mm > 0:
            self._blur(self._tables.of(_focal_spot_blur, config, pixel_spacing_mm, geometry))
        shaping = self._tables.of(field_stages, config, self._shape, geometry)
        filters = self._tables.of(filter_stages, config, self._shape, pixel_spacing_mm)
        for stage in shaping if self._beam else (*shaping, *filters):
            self._run_stage(stage)
        if config.scatter:
            self._scatter(config.scatter, [*shaping, *filters], pixel_spacing_mm)
        if config.poisson and self._gain is not None:
            self._stage("poisson_weighted", gain=self._gain, **self._draw)
        elif config.poisson:
            self._stage("poisson", **self._draw)

    def _take_integrals(self) -> None:
        """The line integrals as the picture."""
        given = self._integrals
        if isinstance(given, UnrenderedIntegrals):
            self._stage(given.stage, **given.uniforms)
        else:
            self._stage("copy_integrals", integrals=given)

    def _transmit(self, config: ImageChainConfig, pixel_spacing_mm: float) -> None:
        """Expected photons behind the patient."""
        if isinstance(self._integrals, UnrenderedIntegrals):
            self._take_integrals()
            self._stage("transmit", open_field_photons=self._open_field)
            return
        if config.xray is None or self._beam is None:
            self._stage(
                "beer_lambert", integrals=self._integrals, open_field_photons=self._open_field
            )
            return
        weighs = config.poisson and config.xray.detector.kind == "energy_integrating"
        gain = self._device.empty(self._shape) if weighs else self.image
        beam = self._tables.of(
            _beam_uniforms,
            self._beam,
            config.wedge,
            config.bow_tie,
            self._shape,
            pixel_spacing_mm,
            self._open_field,
        )
        stage = transmission_stage(beam, self._integrals, gain, moments=weighs)
        self._run_packets(stage, "polychromatic")
        self._gain = gain if weighs else None

    def _run_packets(self, stage: Stage, module: str) -> None:
        """A stage whose threads carry a packet of pixels each."""
        self._runner.run_packets(module, stage.name, self.image, self._size, stage.uniforms)

    def _scatter(
        self, config: ScatterConfig, shaping: list[Stage], pixel_spacing_mm: float
    ) -> None:
        """Add what the shaped beam scatters, computed on cells of many pixels."""
        block, cells = cell_grid(self._shape, most_cells(config))
        primary = self.image
        with self._runner.aside():
            received = self._scattered(config, shaping, block, cells, pixel_spacing_mm)
        self.image = primary
        self._run_stage(add_stage(config, received, cells, block, pixel_spacing_mm))

    def _scattered(
        self,
        config: ScatterConfig,
        shaping: list[Stage],
        block: int,
        cells: tuple[int, int],
        pixel_spacing_mm: float,
    ) -> Any:
        """What each cell receives."""
        source = {
            "integrals": self._line_integrals(),
            "open_field_photons": self._open_field,
            **self._tables.of(source_uniforms, config, self._beam),
        }
        self.image = self._device.empty(self._shape)
        for stage in (Stage("scatter_source", source), *shaping):
            self._run_stage(stage)
        given_off, cell_mm = self._cell_sums(block, cells), block * pixel_spacing_mm
        if config.quality == "accurate":
            lines = self._tables.of(line_uniforms, config, cell_mm)
            return spread_in_lines(lines, given_off, lambda stage: self._on_cells(stage, cells))
        spread = self._tables.of(spread_uniforms, config, cell_mm)
        return self._on_cells(Stage("scatter_spread", {"source": given_off, **spread}), cells)

    def _line_integrals(self) -> Any:
        """What scatter takes as so much water."""
        if self._beam is None:
            return self._integrals
        self.image = self._device.empty(self._shape)
        weights = self._tables.of(scatter_integral_uniforms, self._materials)
        self._stage("thickness_sum", thicknesses=self._integrals, **weights)
        return self.image

    def _on_cells(self, stage: Stage, shape: tuple[int, int]) -> Any:
        """The result of a stage that works on a picture of another size."""
        full, self.image = (self.image, self._size), self._device.empty(shape)
        self._size = (shape[1], shape[0], 1)
        self._run_stage(stage)
        result = self.image
        self.image, self._size = full
        return result

    def detect(
        self, config: ImageChainConfig, pixel_spacing_mm: float, memory: FrameMemory
    ) -> None:
        """What the detector makes of the photons: blur, the intensifier's light, lag."""
        if config.blur_sigma_mm > 0:
            self._blur(self._tables.of(_gaussian, config.blur_sigma_mm / pixel_spacing_mm))
        if config.mtf:
            self._convolve(self._tables.of(_transfer, config.mtf, pixel_spacing_mm))
        if config.image_intensifier:
            given = config.image_intensifier
            if given.pin_cushion > 0:
                source, self.image = self.image, self._device.empty(self._shape)
                self._run_stage(pin_cushion_stage(given, source, self._shape, pixel_spacing_mm))
            self._run_stage(intensifier_stage(given, self._shape, pixel_spacing_mm))
        if config.veiling_glare:
            self._stray(config.veiling_glare, pixel_spacing_mm)
        if config.lag:
            trapped, fresh = memory.layers("lag", 4)
            shares = self._tables.of(lag_shares, config.lag)
            self._stage("lag", trapped=trapped, fresh=fresh, **shares)

    def _cell_sums(self, block: int, cells: tuple[int, int]) -> Any:
        sums = Stage("block_sum", {"source": self.image, "source_size": self._size, "block": block})
        return self._on_cells(sums, cells)

    def _stray(self, config: VeilingGlareConfig, pixel_spacing_mm: float) -> None:
        """Light that strays far, computed on cells of many pixels."""
        block, cells = cell_grid(self._shape)
        kernel = self._tables.of(glare_kernel, config, block, pixel_spacing_mm)
        uniforms = {"source": self._cell_sums(block, cells), **kernel}
        self._stage(
            "veiling_glare",
            cells=self._on_cells(Stage("scatter_spread", uniforms), cells),
            cells_size=(cells[1], cells[0], 1),
            block=float(block),
            fraction=float(config.fraction),
        )

    def _convolve(self, taps: dict[str, Any]) -> None:
        source, self.image = self.image, self._device.empty(self._shape)
        self._run_packets(Stage("convolve", {"source": source, **taps}), "convolve")

    def _blur(self, taps: dict[str, Any]) -> None:
        for along_rows in (1, 0):
            source, self.image = self.image, self._device.empty(self.image.shape)
            uniforms = {"source": source, "along_rows": along_rows, **taps}
            self._run_packets(Stage("blur", uniforms), "blur")

    def read_out(self, config: ImageChainConfig) -> None:
        """Photons to a digital signal relative to the open field, and its logarithm."""
        if not config.beer_lambert:
            return
        if config.electronic_noise_photons > 0:
            sigma = float(config.electronic_noise_photons)
            self._stage("electronic_noise", sigma_photons=sigma, **self._draw)
        if config.pixel_gain_spread > 0 or config.dead_pixel_fraction > 0:
            spread, dead = float(config.pixel_gain_spread), float(config.dead_pixel_fraction)
            pattern = self._device, self._shape, self._draw["seed"], spread, dead
            self._stage("pixel_gains", gains=self._tables.of(pixel_gains, *pattern))
        self._stage(
            "gain_bias",
            open_field_photons=self._reference,
            gain=float(config.gain),
            bias=float(config.bias),
        )
        if config.digitiser:
            highest = float(2**config.digitiser.bits - 1)
            self._stage("digitise", full_scale=float(config.digitiser.full_scale), codes=highest)
        if config.log:
            self._stage("logarithm", floor_signal=NO_PHOTON / self._reference)

    def process(
        self, config: ImageChainConfig, pixel_spacing_mm: float, memory: FrameMemory
    ) -> None:
        """What the console's computer does before it shows a picture."""
        if config.recursive_filter_weight < 1:
            smoothed, fresh = memory.layers("recursive_filter", 1)
            weight = float(config.recursive_filter_weight)
            self._stage("recursive_filter", smoothed=smoothed, weight=weight, fresh=fresh)
        if config.dsa:
            self._subtract(config.dsa, memory)
        if config.edge_enhancement:
            sharp = self.image
            sigma_px = config.edge_enhancement.sigma_mm / pixel_spacing_mm
            self._blur(self._tables.of(_gaussian, sigma_px))
            self._stage("sharpen", source=sharp, amount=float(config.edge_enhancement.amount))

    def _subtract(self, config: DsaConfig, memory: FrameMemory) -> None:
        """Gather the mask, take it away, trace the vessels, lay them over the picture."""
        self.finish()  # whether a frame is subtracted or not, its other kernels are the same
        turn = dsa_turn(config, memory)
        if turn is None:
            return
        self._subtracted = True
        mask, _ = memory.layers("dsa_mask", 1)
        if turn.mask_weight > 0:
            self._stage("mask_mean", mask=mask, weight=turn.mask_weight)
        column, row = config.pixel_shift
        shift = (float(column), float(row), 0.0)
        self._stage("subtract_mask", mask=mask, shift_px=shift)
        if turn.traces:
            peak, fresh = memory.layers("dsa_peak", 1)
            self._stage("peak_hold", peak=peak, fresh=fresh)
        if turn.guides and config.roadmap:
            peak, _ = memory.layers("dsa_peak", 1)
            self._stage("roadmap", peak=peak, opacity=float(config.roadmap.opacity))

    def show(self, config: ImageChainConfig, geometry: CarmGeometry | None) -> None:
        """The fixed window, the polarity, the display's curve and the shutter."""
        given = config.dsa.window if config.dsa and self._subtracted else config.window
        bright_where_large = config.polarity == "bone_bright"
        if config.beer_lambert and not config.log:
            bright_where_large = not bright_where_large  # a signal is small behind bone
        self._stage(
            "window",
            lower=float(given.level - given.width / 2),
            width=float(given.width),
            inverted=0 if bright_where_large else 1,
        )
        if config.lut:
            self._stage("lookup", **self._tables.of(_curve, config.lut))
        if config.shutter:
            place = required_geometry("shutter", geometry)
            self._run_stage(shutter_stage(config.shutter, config.collimator, self._shape, place))


def _rehearsal(config: ImageChainConfig) -> list[bool]:
    """Frames that need all kernels there are: True with a pulse, False between two.

    With a roadmap: a mask, a frame whose vessels are traced, and one that they guide.
    """
    guided = config.dsa is not None and config.dsa.roadmap is not None
    held = config.pulse_rate_hz is not None
    return [True] * (3 if guided else 1) + [False] * held


def _shortened(config: ImageChainConfig) -> ImageChainConfig:
    """The configuration with a series that begins with frame 0, every part of it one frame."""
    if config.dsa is None:
        return config
    roadmap = config.dsa.roadmap and config.dsa.roadmap.model_copy(update={"frames": 1})
    once = {"first_frame": 0, "mask_frames": 1, "roadmap": roadmap}
    return config.model_copy(update={"dsa": config.dsa.model_copy(update=once)})


def _require_planes(shape: tuple[int, ...], materials: int) -> None:
    """Refuse thicknesses without a beam, and a beam without them."""
    wanted = 3 if materials else 2
    if len(shape) != wanted or (materials and shape[0] != materials):
        kind = f"{materials} materials' thicknesses" if materials else "line integrals"
        raise InputError(f"integrals must be a picture of {kind}, got shape {shape}")


def focal_spot_filter(
    config: ImageChainConfig, pixel_spacing_mm: float, geometry: CarmGeometry | None
) -> NDArray[np.float32]:
    """Taps of the configured focal spot's blur, from the middle outwards.

    Raises:
        InputError: The distances are not given.
    """
    given = required_geometry("focal_spot_mm", geometry)
    width_mm = focal_spot_width_mm(
        config.focal_spot_mm, given.source_to_detector_mm, given.source_to_isocenter_mm
    )
    return focal_spot_taps(width_mm / pixel_spacing_mm)


def _beam_uniforms(
    beam: Beam,
    wedge: WedgeConfig | None,
    bow_tie: BowTieConfig | None,
    shape: tuple[int, int],
    pixel_spacing_mm: float,
    open_field: float,
) -> dict[str, Any]:
    filters = beam_filters(wedge, bow_tie, shape, pixel_spacing_mm)
    return beam_uniforms(beam, filters, open_field)


def _focal_spot_blur(
    config: ImageChainConfig, pixel_spacing_mm: float, geometry: CarmGeometry | None
) -> dict[str, Any]:
    return _taps(focal_spot_filter(config, pixel_spacing_mm, geometry), "weights")


def _gaussian(sigma_px: float) -> dict[str, Any]:
    return _taps(blur_weights(sigma_px), "weights")


def _transfer(config: MtfConfig, pixel_spacing_mm: float) -> dict[str, Any]:
    return _taps(taps_of(config, pixel_spacing_mm), "taps")


def _taps(taps: NDArray[np.float32], name: str) -> dict[str, Any]:
    return {name: taps, "radius": len(taps) - 1}


def _curve(config: LutConfig) -> dict[str, Any]:
    table = curve_table(config)
    return {"curve": table, "last": len(table) - 1}


def pixel_gains(
    device: ComputeDevice,
    shape: tuple[int, int],
    seed: _Words,
    gain_spread: float,
    dead_fraction: float,
) -> Any:
    """Each pixel's gain, 0 where it is dead: float32 array of the device, shape (height, width)."""
    gains = device.to_device(np.ones(shape, np.float32))
    size = (shape[1], shape[0], 1)
    uniforms = {
        "image": gains,
        "image_size": size,
        "seed": seed,
        "gain_spread": gain_spread,
        "dead_fraction": dead_fraction,
    }
    device.launch("pixel_pattern", "pixel_pattern", size, uniforms, exact=True)
    return gains


def _words(number: int) -> _Words:
    """Low and high 32-bit word, as signed integers."""
    low, high = number & 0xFFFFFFFF, (number >> 32) & 0xFFFFFFFF
    return _signed(low), _signed(high), 0


def _signed(word: int) -> int:
    return word - (1 << 32) if word >= 1 << 31 else word


def blur_weights(sigma_px: float) -> NDArray[np.float32]:
    """Weights of a Gaussian blur from the middle outwards; both sides together sum to 1."""
    radius = max(1, int(np.ceil(BLUR_REACH_SIGMAS * sigma_px)))
    weights = np.exp(-0.5 * (np.arange(radius + 1) / sigma_px) ** 2)
    return np.asarray(weights / (weights[0] + 2 * weights[1:].sum()), np.float32)
