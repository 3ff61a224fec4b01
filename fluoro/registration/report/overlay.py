"""What a registration looks like: target and rendered image in two colours, and as a chessboard."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.plot.overlays import chessboard_rgb, overlay_rgb
from fluoro.registration.targets.target import Target

__all__ = ["chessboard", "comparison", "overlay"]

Rgb = NDArray[np.uint8]

GAP_PX = 4
LARGEST_ZOOM, WANTED_PX = 8, 384
"""Small images are enlarged to about this many pixels, each pixel a square."""


def overlay(target: Target, image: NDArray[Any]) -> Rgb:
    """Target in orange, rendered image in blue: grey where they agree, shape (H, W, 3).

    Args:
        target: What was seen.
        image: Line integrals, the target's shape.
    """
    return overlay_rgb(target.image, image, target.mask)


def chessboard(target: Target, image: NDArray[Any]) -> Rgb:
    """Return fields of target and rendered image in turn: edges run on where they agree, (H, W, 3).

    Args:
        target: What was seen.
        image: Line integrals, the target's shape.
    """
    return chessboard_rgb(target.image, image, target.mask)


def comparison(target: Target, before: NDArray[Any], after: NDArray[Any]) -> Rgb:
    """Return two rows, before and after: overlay on the left, chessboard on the right.

    Args:
        target: What was seen.
        before: Line integrals at the start, the target's shape.
        after: Line integrals at the pose that was found.
    """
    rows = [
        _beside([overlay(target, image), chessboard(target, image)], axis=1)
        for image in (before, after)
    ]
    sheet = _beside(rows, axis=0)
    zoom = int(np.clip(WANTED_PX // max(target.image.shape), 1, LARGEST_ZOOM))
    return sheet.repeat(zoom, axis=0).repeat(zoom, axis=1)


def _beside(images: list[Rgb], axis: int) -> Rgb:
    shape = list(images[0].shape)
    shape[axis] = GAP_PX
    gap = np.full(shape, 255, np.uint8)
    return np.concatenate([images[0], gap, images[1]], axis=axis)
