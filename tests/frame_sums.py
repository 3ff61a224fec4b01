"""Closed forms of the stages that look back: sums over all earlier frames, in float64."""

import numpy as np


def lag(config, exposures):
    """Return the last frame's signal: direct + sum of b exp(-a k) of each frame k frames ago."""
    a, b = np.array(config.rates_per_frame), np.array(config.amplitudes)
    signal = (1 - np.sum(b / (1 - np.exp(-a)))) * np.asarray(exposures[-1], float)
    for ago, exposure in enumerate(reversed(exposures)):
        signal = signal + np.sum(b * np.exp(-a * ago)) * exposure
    return signal


def recursive_filter(weight, images):
    """Return weight a of the newest, a (1 - a)^k of that k frames ago, the rest of the first."""
    first, *later = images
    smoothed = (1 - weight) ** len(later) * np.asarray(first, float)
    for ago, image in enumerate(reversed(later)):
        smoothed = smoothed + weight * (1 - weight) ** ago * image
    return smoothed


def moved(image, columns, rows):
    """Return the image moved to the right and down; what is between pixels is bilinear."""
    for axis, shift in ((1, columns), (0, rows)):
        count = image.shape[axis]
        at = np.clip(np.arange(count) - shift, 0, count - 1)
        lower = at.astype(int)
        upper, share = np.minimum(lower + 1, count - 1), np.expand_dims(at - lower, 1 - axis)
        low, high = np.take(image, lower, axis), np.take(image, upper, axis)
        image = low + share * (high - low)
    return image


def subtracted(config, series):
    """Return the last frame less the mean of the first ones, and less the vessels' trace."""
    after = len(series) - config.mask_frames
    mask = moved(np.mean(np.asarray(series[: config.mask_frames], float), 0), *config.pixel_shift)
    shown = np.asarray(series[-1] - mask)
    if config.roadmap is None or after <= config.roadmap.frames:
        return shown
    traced = series[config.mask_frames : config.mask_frames + config.roadmap.frames]
    return shown - config.roadmap.opacity * (np.max(traced, axis=0) - mask)
