"""What a detector does to an intensity: gain and bias, quantum noise, electronic noise, blur.

In NumPy, for existing images. A simulator does the same with the image chain's kernels on its
device (intensity.py); a test compares the two. Noise is a pure function of (seed,
frame, pixel).
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import InputError
from fluoro.fluorosim.config import RealismSettings
from fluoro.imaging.linear_maps import blur
from fluoro.imaging.stages.blur import blur_weights
from fluoro.imaging.stages.electronic_noise import electronic_noise
from fluoro.imaging.stages.poisson import poisson

__all__ = ["RealismConfig", "apply_realism", "drawn_seed"]


@dataclass(frozen=True)
class RealismConfig:
    """As `RealismSettings`, for `apply_realism`.

    Attributes:
        gain: Multiplies the intensity, > 0.
        bias: Is added after the gain.
        poisson_photons: Photons per pixel at intensity 1; 0: no quantum noise.
        gaussian_sigma: Standard deviation of the electronic noise; 0: none.
        blur_sigma_px: Gaussian sigma of the blur [pixels]; 0: none.
        normalize_output: Clip the result to [0, 1]; it is never stretched to its own extremes.
        seed: Of the noise, 0 to 2**63 - 1; None: drawn.

    Raises:
        InputError: A value out of its range.
    """

    gain: float = 1.0
    bias: float = 0.0
    poisson_photons: float = 0.0
    gaussian_sigma: float = 0.0
    blur_sigma_px: float = 0.0
    normalize_output: bool = True
    seed: int | None = 0

    def __post_init__(self) -> None:
        self.settings  # noqa: B018  (says what is out of range)

    @property
    def settings(self) -> RealismSettings:
        """The same values as a simulator's settings."""
        values = {key: value for key, value in vars(self).items() if key != "normalize_output"}
        return RealismSettings(enabled=True, **values)


DEFAULT = RealismConfig()


def apply_realism(
    img: NDArray[Any], cfg: RealismConfig = DEFAULT, *, frame_idx: int = 0
) -> NDArray[np.float32]:
    """Return a detector's noise and blur on an intensity, before it is inverted for display.

    Args:
        img: Intensity, shape (height, width); 1 is the open field.
        cfg: What to do.
        frame_idx: Selects the noise: give each frame its own number.

    Returns:
        Shape (height, width), float32.

    Raises:
        InputError: Another number of axes.
    """
    if img.ndim != 2:
        raise InputError(f"Expected 2D image, got shape {img.shape}")
    seed = drawn_seed(cfg.seed)
    image = np.asarray(img, np.float32) * np.float32(cfg.gain) + np.float32(cfg.bias)
    if cfg.poisson_photons > 0:
        photons = np.float32(cfg.poisson_photons)
        image = poisson(image * photons, seed, frame_idx) / photons
    if cfg.gaussian_sigma > 0:
        image = electronic_noise(image, cfg.gaussian_sigma, seed, frame_idx)
    if cfg.blur_sigma_px > 0:
        image = np.asarray(blur(image, blur_weights(cfg.blur_sigma_px)), np.float32)
    return np.clip(image, 0, 1) if cfg.normalize_output else image


def drawn_seed(seed: int | None) -> int:
    """Return the seed, or one that is drawn where there is none."""
    return secrets.randbits(63) if seed is None else int(seed)
