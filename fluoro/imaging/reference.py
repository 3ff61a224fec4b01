"""The oracle of the image chain: each stage in plain NumPy, and the whole in order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fluoro.config import ImageChainConfig
from fluoro.imaging import random_reference as draws
from fluoro.imaging.chain import NO_PHOTON, blur_weights
from fluoro.physics.dose import open_field_photons

__all__ = ["apply_chain", "blur", "electronic_noise", "expected_photons", "poisson", "window"]

Image = NDArray[np.float32]


def expected_photons(integrals: Image, open_field: float) -> Image:
    """N0 exp(-p)."""
    return np.asarray(np.float32(open_field) * draws.exp_portable(-integrals))


def poisson(expected: Image, seed: int, frame: int) -> Image:
    """Counts with the given expectation."""
    bits = draws.draw_bits(expected.shape, seed, frame, draws.POISSON_STAGE)
    return draws.poisson_quantile(expected, bits)


def blur(image: Image, sigma_px: float) -> Image:
    """Separable Gaussian; beyond the border the border pixel holds."""
    half = blur_weights(sigma_px).astype(float)
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


def apply_chain(
    integrals: Image, config: ImageChainConfig, seed: int, frame: int, pixel_spacing_mm: float
) -> Image:
    """The whole chain, as `ImageChain.apply` runs it."""
    large_is_bone = True
    image = np.asarray(integrals, np.float32)
    if config.beer_lambert:
        open_field = open_field_photons(config.dose_ngy, pixel_spacing_mm)
        image = _signal(image, config, seed, frame, open_field, pixel_spacing_mm)
        if config.log:
            image = np.asarray(-np.log(np.maximum(image, np.float32(NO_PHOTON / open_field))))
        large_is_bone = config.log
    lower = config.window.level - config.window.width / 2
    inverted = (config.polarity == "bone_bright") != large_is_bone
    return window(image, lower, config.window.width, inverted=inverted)


def _signal(
    image: Image,
    config: ImageChainConfig,
    seed: int,
    frame: int,
    open_field: float,
    pixel_spacing_mm: float,
) -> Image:
    image = expected_photons(image, open_field)
    if config.poisson:
        image = poisson(image, seed, frame)
    if config.blur_sigma_mm > 0:
        image = blur(image, config.blur_sigma_mm / pixel_spacing_mm)
    if config.electronic_noise_photons > 0:
        image = electronic_noise(image, config.electronic_noise_photons, seed, frame)
    signal = image / np.float32(open_field) * np.float32(config.gain) + np.float32(config.bias)
    return np.asarray(signal, np.float32)
