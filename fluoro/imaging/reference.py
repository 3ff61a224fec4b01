"""The oracle of the image chain: each stage in plain NumPy, and the whole in order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fluoro.config import (
    BrightnessConfig,
    DigitiserConfig,
    EdgeEnhancementConfig,
    ImageChainConfig,
    LutConfig,
    VeilingGlareConfig,
)
from fluoro.geometry.carm import CarmGeometry
from fluoro.imaging import field_reference, memory_reference, scatter_reference
from fluoro.imaging import random_reference as draws
from fluoro.imaging.brightness import next_dose_ngy, roi_box
from fluoro.imaging.chain import NO_PHOTON, blur_weights
from fluoro.imaging.curve import curve_table
from fluoro.imaging.exposure import pulse_of
from fluoro.imaging.field import required_geometry
from fluoro.imaging.filters import FILTER_KEV, BeamFilter, beam_filters
from fluoro.imaging.fir import focal_spot_taps, focal_spot_width_mm, taps_of
from fluoro.imaging.memory import KeptNumbers
from fluoro.imaging.scatter import cell_grid, glare_kernel
from fluoro.imaging.xray import (
    SCATTER_KEV,
    Beams,
    detector_signal_of,
    filter_mu,
    open_field_of,
)
from fluoro.physics.beam import Beam
from fluoro.physics.materials import Material

__all__ = [
    "ReferenceChain",
    "apply_chain",
    "blur",
    "convolve",
    "curved",
    "digitise",
    "electronic_noise",
    "expected_photons",
    "pixel_pattern",
    "poisson",
    "polychromatic",
    "separable",
    "sharpen",
    "veiling_glare",
    "window",
]

Image = NDArray[np.float32]


def expected_photons(integrals: Image, open_field: float) -> Image:
    """N0 exp(-p)."""
    return np.asarray(np.float32(open_field) * draws.exp_portable(-integrals))


def polychromatic(
    thicknesses: Image, beam: Beam, open_field: float, filters: Sequence[BeamFilter] = ()
) -> tuple[Image, Image]:
    """Expected signal behind materials, and what a quantum is worth there, as the kernel does it.

    Args:
        thicknesses: Of each material [mm], float32, shape (materials, height, width).
        beam: Energies, weights and attenuation.
        open_field: Photon equivalents per pixel with nothing in between.
        filters: What else is in the beam.
    """
    planes = [*thicknesses, *(each for _, each in filters)]
    mu_per_mm = beam.mu_per_mm
    if filters:
        mu_per_mm = np.hstack([mu_per_mm, filter_mu(beam, filters)])
    signal, square = (np.zeros(thicknesses.shape[1:], np.float32) for _ in range(2))
    weights = (open_field * beam.quadrature.weights).astype(np.float32)
    noise = (open_field * beam.noise_weights).astype(np.float32)
    for mu, weight, worth in zip(mu_per_mm.astype(np.float32), weights, noise, strict=True):
        exponent = np.zeros_like(signal)
        for one, thickness in zip(mu, planes, strict=True):
            exponent -= one * thickness
        left = draws.exp_portable(exponent)
        signal, square = signal + weight * left, square + worth * left
    return signal, np.asarray(square / signal)


def poisson(expected: Image, seed: int, frame: int) -> Image:
    """Counts with the given expectation."""
    bits = draws.draw_bits(expected.shape, seed, frame, draws.POISSON_STAGE)
    return draws.poisson_quantile(expected, bits)


def blur(image: Image, sigma_px: float) -> Image:
    """Separable Gaussian; beyond the border the border pixel holds."""
    return separable(image, blur_weights(sigma_px))


def convolve(image: Image, quarter: NDArray[np.float32]) -> Image:
    """Every pixel from its neighbours by a filter that is mirrored in both axes."""
    radius = len(quarter) - 1
    padded = np.pad(image.astype(float), radius, mode="edge")
    height, width = image.shape
    total = np.zeros(image.shape)
    for down in range(-radius, radius + 1):
        for across in range(-radius, radius + 1):
            top, left = radius + down, radius + across
            near = padded[top : top + height, left : left + width]
            total += float(quarter[abs(down), abs(across)]) * near
    return np.asarray(total, np.float32)


def veiling_glare(image: Image, config: VeilingGlareConfig, pixel_spacing_mm: float) -> Image:
    """A share of the signal spread by a Gaussian, on cells of many pixels."""
    block, (rows, columns) = cell_grid((image.shape[0], image.shape[1]))
    padded = np.zeros((rows * block, columns * block))
    padded[: image.shape[0], : image.shape[1]] = image
    cells = padded.reshape(rows, block, columns, block).sum(axis=(1, 3))
    weights = glare_kernel(config, block, pixel_spacing_mm)["narrow"].astype(float)
    down, across = (
        weights[np.abs(np.subtract.outer(np.arange(n), np.arange(n)))] for n in (rows, columns)
    )
    spread = scatter_reference.between_cells(down @ cells @ across, image.shape, block)
    return np.asarray((1 - config.fraction) * image + config.fraction * spread, np.float32)


def separable(image: Image, weights: NDArray[np.float32]) -> Image:
    """The same filter along rows and columns; beyond the border the border pixel holds."""
    half = weights.astype(float)
    taps = np.concatenate([half[:0:-1], half])
    radius = len(half) - 1
    for axis in (1, 0):
        pad = [(radius, radius) if a == axis else (0, 0) for a in (0, 1)]
        padded = np.pad(image, pad, mode="edge")
        image = np.apply_along_axis(np.convolve, axis, padded, taps, mode="valid")
    return np.asarray(image, np.float32)


def electronic_noise(image: Image, sigma_photons: float, seed: int, frame: int) -> Image:
    """Normal noise added to the counts."""
    bits = draws.draw_bits(image.shape, seed, frame, draws.ELECTRONIC_STAGE)
    return np.asarray(
        image + np.float32(sigma_photons) * draws.normal_quantile(*draws.uniform(bits))
    )


def window(image: Image, lower: float, width: float, *, inverted: bool) -> Image:
    """Display values of a fixed window."""
    shown = np.clip((image - np.float32(lower)) / np.float32(width), 0, 1)
    return np.asarray(1 - shown if inverted else shown, np.float32)


def pixel_pattern(image: Image, gain_spread: float, dead_fraction: float, seed: int) -> Image:
    """Pixels whose gains differ, and dead ones; the same in every frame."""
    gains, deaths = (
        draws.draw_bits(image.shape, seed, 0, stage)
        for stage in (draws.GAIN_STAGE, draws.DEATH_STAGE)
    )
    spread = np.float32(gain_spread) * draws.normal_quantile(*draws.uniform(gains))
    tail, upper = draws.uniform(deaths)
    dead = np.where(upper, np.float32(1) - tail, tail) < np.float32(dead_fraction)
    return np.where(dead, np.float32(0), image * np.maximum(np.float32(1) + spread, 0))


def digitise(image: Image, config: DigitiserConfig) -> Image:
    """Whole steps up to full scale, in float32 as the kernel takes them."""
    full_scale, codes = np.float32(config.full_scale), np.float32(2**config.bits - 1)
    share = np.clip(image / full_scale, 0, 1)
    return np.asarray(np.floor(share * codes + np.float32(0.5)) / codes * full_scale)


def sharpen(image: Image, config: EdgeEnhancementConfig, pixel_spacing_mm: float) -> Image:
    """What a blur takes away is added."""
    taken = image - blur(image, config.sigma_mm / pixel_spacing_mm)
    return np.asarray(image + np.float32(config.amount) * taken)


def curved(image: Image, config: LutConfig) -> Image:
    """Display values through the display's curve."""
    table = curve_table(config)
    return np.interp(image, np.linspace(0, 1, len(table)), table).astype(np.float32)


def apply_chain(
    integrals: Image, config: ImageChainConfig, seed: int, frame: int, pixel_spacing_mm: float
) -> Image:
    """The whole chain for one frame, as `ImageChain.apply` runs it."""
    return ReferenceChain(config, seed, pixel_spacing_mm).apply(integrals, frame)


class ReferenceChain:
    """The whole chain; it remembers every frame of a run, as `ImageChain` does in its buffers.

    Args:
        config: Which stages, with which numbers.
        seed: Of the noise.
        pixel_spacing_mm: Pixel pitch [mm].
        geometry: As for `ImageChain.apply`.
        materials: As for `ImageChain`.
    """

    def __init__(
        self,
        config: ImageChainConfig,
        seed: int,
        pixel_spacing_mm: float,
        geometry: CarmGeometry | None = None,
        materials: Sequence[Material] = (),
    ) -> None:
        self._config, self._seed = config, seed
        self._pitch_mm, self._geometry = pixel_spacing_mm, geometry
        self._kept = KeptNumbers()
        self._held: Image | None = None
        self._beams = Beams(materials)
        self._begin_pulse()
        self._scatter_mu = np.array([each.mu_per_mm(SCATTER_KEV) for each in materials])
        self._exposures: list[Image] = []
        self._shown: list[Image] = []
        self._series: list[Image] = []

    def apply(self, integrals: Image, frame: int, *, pulse: bool = True) -> Image:
        """The picture of the next frame."""
        if not pulse and self._held is not None:
            return self._held
        config, image = self._config, np.asarray(integrals, np.float32)
        if config.beer_lambert:
            self._begin_pulse()
            image = self._detect(self._expose(image, frame))
            if config.brightness:
                self._regulate(config.brightness, image, frame)
            image = self._read_out(image, frame)
            if config.log:
                floor = np.float32(NO_PHOTON / self._reference)
                image = np.asarray(-np.log(np.maximum(image, floor)))
        subtracts = config.dsa is not None and frame >= config.dsa.first_frame
        given = config.dsa.window if config.dsa and subtracts else config.window
        large_is_bone = config.log or not config.beer_lambert
        inverted = (config.polarity == "bone_bright") != large_is_bone
        image = self._process(image, subtracts=subtracts)
        shown = window(image, given.level - given.width / 2, given.width, inverted=inverted)
        shown = shown if config.lut is None else curved(shown, config.lut)
        if config.shutter and self._geometry:
            place = (shown.shape[0], shown.shape[1])
            visible = field_reference.shutter(place, self._geometry, config)
            shown = np.asarray(shown * visible, np.float32)
        self._held = shown
        return self._held

    def _begin_pulse(self) -> None:
        """Dose, tube and beam that the frames so far have settled."""
        pulse, config = pulse_of(self._config, self._kept, self._geometry)
        self._dose_ngy, xray = pulse.dose_ngy, config.xray
        self._beam = self._beams.beam(xray) if xray else None
        self._open_field = self._reference = open_field_of(
            xray, self._beam, self._dose_ngy, self._pitch_mm, self._geometry
        )

    def _regulate(self, brightness: BrightnessConfig, image: Image, frame: int) -> None:
        per_ngy = detector_signal_of(self._beam, 1.0, self._pitch_mm)
        left, top, right, bottom = roi_box(brightness.roi, (image.shape[0], image.shape[1]))
        measured_ngy = float(np.mean(image[top:bottom, left:right], dtype=float)) / per_ngy
        self._reference = per_ngy * brightness.target_ngy
        dsa = self._config.dsa
        if dsa is None or frame < dsa.first_frame:
            dose_ngy = next_dose_ngy(brightness, self._dose_ngy, measured_ngy)
            self._kept.keep("brightness", dose_ngy)

    def _expose(self, image: Image, frame: int) -> Image:
        shape = (image.shape[-2], image.shape[-1])
        field = field_reference.field(shape, self._config, self._geometry)
        primary, gain = self._transmitted(image)
        layers = np.ones(shape)
        for each, thickness in self._filters(primary):
            layers = layers * np.exp(-each.mu_per_mm(FILTER_KEV) * thickness)
        if self._config.focal_spot_mm > 0:
            primary = self._focal_spot(primary)
        shaped = primary * field * (layers if self._beam is None else 1)
        if self._config.scatter:
            given = self._config.scatter
            flat = image if self._beam is None else np.tensordot(self._scatter_mu, image, 1)
            part = scatter_reference.scatter(
                flat, field * layers, given, self._pitch_mm, self._beam
            )
            shaped = shaped + self._open_field * part
        image = shaped.astype(np.float32)
        if not self._config.poisson:
            return image
        return np.asarray(gain * poisson(image / gain, self._seed, frame), np.float32)

    def _transmitted(self, image: Image) -> tuple[Image, Image]:
        """Expected photons behind the patient, and what a quantum is worth there."""
        one = np.ones(image.shape[-2:], np.float32)
        if self._beam is None:
            return expected_photons(image, self._open_field), one
        expected, gain = polychromatic(image, self._beam, self._open_field, self._filters(one))
        return expected, gain if self._weighs_energy else one

    def _filters(self, image: Image) -> tuple[BeamFilter, ...]:
        config, shape = self._config, (image.shape[0], image.shape[1])
        return beam_filters(config.wedge, config.bow_tie, shape, self._pitch_mm)

    def _focal_spot(self, image: Image) -> Image:
        given = required_geometry("focal_spot_mm", self._geometry)
        width_mm = focal_spot_width_mm(
            self._config.focal_spot_mm, given.source_to_detector_mm, given.source_to_isocenter_mm
        )
        return separable(image, focal_spot_taps(width_mm / self._pitch_mm))

    @property
    def _weighs_energy(self) -> bool:
        xray = self._config.xray
        return xray is not None and xray.detector.kind == "energy_integrating"

    def _detect(self, image: Image) -> Image:
        config, result = self._config, image
        if config.blur_sigma_mm > 0:
            result = blur(image, config.blur_sigma_mm / self._pitch_mm)
        if config.mtf:
            result = convolve(result, taps_of(config.mtf, self._pitch_mm))
        if config.image_intensifier:
            given = config.image_intensifier
            if given.pin_cushion > 0:
                result = field_reference.pin_cushion(given, result, self._pitch_mm)
            light = field_reference.image_intensifier(given, image.shape, self._pitch_mm)
            result = (result * light).astype(np.float32)
        if config.veiling_glare:
            result = veiling_glare(result, config.veiling_glare, self._pitch_mm)
        if config.lag:
            self._exposures.append(result)
            result = memory_reference.lag(config.lag, self._exposures).astype(np.float32)
        return result

    def _read_out(self, image: Image, frame: int) -> Image:
        config = self._config
        if config.electronic_noise_photons > 0:
            image = electronic_noise(image, config.electronic_noise_photons, self._seed, frame)
        if config.pixel_gain_spread > 0 or config.dead_pixel_fraction > 0:
            spread, dead = config.pixel_gain_spread, config.dead_pixel_fraction
            image = pixel_pattern(image, spread, dead, self._seed)
        signal = image / np.float32(self._reference) * np.float32(config.gain)
        signal = np.asarray(signal + np.float32(config.bias), np.float32)
        return digitise(signal, config.digitiser) if config.digitiser else signal

    def _process(self, image: Image, *, subtracts: bool) -> Image:
        config = self._config
        if config.recursive_filter_weight < 1:
            self._shown.append(image)
            weight = config.recursive_filter_weight
            image = memory_reference.recursive_filter(weight, self._shown).astype(np.float32)
        if config.dsa and subtracts:
            self._series.append(image)
            image = memory_reference.subtracted(config.dsa, self._series).astype(np.float32)
        if config.edge_enhancement:
            image = sharpen(image, config.edge_enhancement, self._pitch_mm)
        return image
