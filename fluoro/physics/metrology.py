"""How images are measured: modulation transfer from a slanted edge, noise power spectrum."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import InputError

__all__ = ["noise_power", "slanted_edge_mtf"]

Array = NDArray[np.float64]

OVERSAMPLING = 4
"""Bins of the edge's profile a pixel, as ISO 12233 has it."""


def slanted_edge_mtf(image: Array, pixel_spacing_mm: float) -> tuple[Array, Array]:
    """Return the modulation transfer by the slanted edge of ISO 12233 and IEC 62220-1-1.

    The edge runs roughly along rows' direction down the image, a few degrees off: its place in
    every row is the centroid of the row's derivative, a line is fitted, all pixels are sorted by
    their distance from it into bins of a quarter pixel, and the derivative of that profile is
    transformed.

    Args:
        image: Linear signal, one edge between two even areas, shape (height, width).
        pixel_spacing_mm: Pixel pitch [mm].

    Returns:
        Frequencies across the edge [1/mm] up to Nyquist's, and the transfer, 1 at 0.

    Raises:
        InputError: An edge that does not cross the image, or is not slanted.
    """
    height, width = image.shape
    slope = np.abs(np.diff(image, axis=1))
    slope = np.where(slope > 0.1 * slope.max(), slope, 0)
    if not slope.any(axis=1).all():
        raise InputError("image must have one edge that crosses every row")
    place = slope @ (np.arange(width - 1) + 1.0) / slope.sum(axis=1)
    tilt, offset = np.polyfit(np.arange(height) + 0.5, place, 1)
    if abs(tilt) * height < 1:
        raise InputError("image must have an edge that moves by at least one pixel over its rows")
    rows, columns = np.indices(image.shape) + 0.5
    away = (columns - offset - tilt * rows) / np.hypot(1, tilt)
    reach = int(min(offset + min(0, tilt * height), width - offset - max(0, tilt * height)) - 2)
    bins = np.floor((away + reach) * OVERSAMPLING).astype(int)
    inside = (bins >= 0) & (bins < 2 * reach * OVERSAMPLING)
    count = np.bincount(bins[inside], minlength=2 * reach * OVERSAMPLING)
    profile = np.bincount(bins[inside], image[inside], 2 * reach * OVERSAMPLING) / count
    spread = np.diff(profile) * np.hanning(len(profile) + 1)[1:-1]
    transfer = np.abs(np.fft.rfft(spread))
    step_px = 1 / OVERSAMPLING
    f_px = np.fft.rfftfreq(len(spread), step_px)
    # the bins and the difference are filters themselves
    transfer = transfer / (transfer[0] * np.sinc(f_px * step_px) ** 2)
    kept = f_px <= 0.5
    return np.asarray(f_px[kept] / pixel_spacing_mm, float), np.asarray(transfer[kept], float)


def noise_power(
    images: Sequence[Array], pixel_spacing_mm: float, tile: int = 64
) -> tuple[Array, Array]:
    """Return the noise power spectrum along the axes, as IEC 62220-1-1 measures it.

    Tiles that overlap by half, a plane of second order taken off each, the mean of the squared
    transforms; then the mean of seven lines on either side of both axes, without the axes.

    Args:
        images: Even exposures, linear signal, each of shape (height, width).
        pixel_spacing_mm: Pixel pitch [mm].
        tile: Edge of a tile [pixels].

    Returns:
        Frequencies [1/mm], and the power [signal^2 mm2].
    """
    y, x = (axis.ravel() / tile for axis in np.indices((tile, tile)))
    trend = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1)
    project = np.linalg.pinv(trend)
    powers = []
    for image in images:
        for top in range(0, image.shape[0] - tile + 1, tile // 2):
            for left in range(0, image.shape[1] - tile + 1, tile // 2):
                part = image[top : top + tile, left : left + tile].ravel()
                rest = (part - trend @ (project @ part)).reshape(tile, tile)
                powers.append(np.abs(np.fft.fft2(rest)) ** 2)
    mean = np.mean(powers, axis=0) * pixel_spacing_mm**2 / tile**2
    half = tile // 2
    beside = [*range(1, 8), *range(-7, 0)]
    lines = [mean[k, 1:half] for k in beside] + [mean[1:half, k] for k in beside]
    grid = np.fft.fftfreq(tile, pixel_spacing_mm)
    radii = [np.hypot(grid[1:half], grid[k]) for k in beside]
    return np.mean(radii, axis=0), np.mean(lines, axis=0)
