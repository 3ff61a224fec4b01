"""Two images in one: in two colours, or as a chessboard."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["chessboard_rgb", "overlay_rgb"]

Rgb = NDArray[np.uint8]
Mask = NDArray[np.bool_]

SHOWN_PERCENTILES = (1.0, 99.0)
"""Of the values that count: black and full colour."""
FIELDS = 8
"""Of the chessboard, along the image's longer side."""


def overlay_rgb(seen: NDArray[Any], rendered: NDArray[Any], mask: Mask | None = None) -> Rgb:
    """Return the first image in orange, the second in blue: grey where they agree, (H, W, 3).

    Args:
        seen: Shape (height, width).
        rendered: The same shape; gain and offset do not matter.
        mask: Pixels that count, others are black; None: all.
    """
    kept = np.ones(seen.shape, bool) if mask is None else mask
    first, second = _shown(seen, kept), _shown(rendered, kept)
    # orange and blue add up to grey, and differ for eyes that confuse red and green
    channels = [first, 0.5 * (first + second), second]
    return _eight_bit(np.stack(channels, axis=-1), kept)


def chessboard_rgb(seen: NDArray[Any], rendered: NDArray[Any], mask: Mask | None = None) -> Rgb:
    """Return fields of both images in turn: edges run on where they agree, shape (H, W, 3).

    Args:
        seen: Shape (height, width).
        rendered: The same shape; gain and offset do not matter.
        mask: Pixels that count, others are black; None: all.
    """
    kept = np.ones(seen.shape, bool) if mask is None else mask
    edge = max(1, -(-max(seen.shape) // FIELDS))
    rows, columns = np.indices(seen.shape) // edge
    mixed = np.where((rows + columns) % 2 == 0, _shown(seen, kept), _shown(rendered, kept))
    return _eight_bit(np.repeat(mixed[..., None], 3, axis=-1), kept)


def _shown(image: NDArray[Any], mask: Mask) -> NDArray[np.float64]:
    """Values in [0, 1] by their own percentiles: gain and offset do not matter here."""
    low, high = np.percentile(image[mask], SHOWN_PERCENTILES)
    return np.asarray(np.clip((image - low) / max(float(high - low), 1e-12), 0.0, 1.0))


def _eight_bit(rgb: NDArray[np.float64], mask: Mask) -> Rgb:
    shown = np.where(mask[..., None], rgb, 0.0)
    return np.asarray(shown * 255 + 0.5).astype(np.uint8)
