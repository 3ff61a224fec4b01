"""Images of a registration: before and after, error over the iterations, an animation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from fluoro.files.image_files import save_image
from fluoro.plot.line_charts import Curve, Panel, write_curves
from fluoro.plot.text_overlay import draw_text
from fluoro.registration.report.convergence import Station, leading
from fluoro.registration.report.overlay import comparison, overlay
from fluoro.registration.targets.target import Target

__all__ = ["write_comparison", "write_convergence", "write_error_plot"]

Rgb = NDArray[np.uint8]

COLORS = ((214, 39, 40), (230, 140, 20), (31, 119, 180), (120, 60, 160), (30, 140, 70))
GREY = (150, 158, 164)
INK = (245, 245, 245)
LEAST_MM = 1e-3
"""Smaller distances are drawn as this: a logarithmic axis has no zero."""
GOOD_MM = 2.0
EDGE_PX = 480
FRAME_MS, LAST_MS = 200, 2000
WEBP_QUALITY = 80


def write_comparison(
    path: Path, target: Target, before: NDArray[Any], after: NDArray[Any], words: tuple[str, str]
) -> None:
    """Overlay and chessboard, at the start and at the pose that was found.

    Args:
        path: PNG file to make.
        target: What was seen.
        before: Line integrals at the start, the target's shape.
        after: Line integrals at the pose that was found.
        words: What to write on the upper row and on the lower.

    Raises:
        OutputError: It cannot be written.
    """
    image = Image.fromarray(comparison(target, before, after))
    for row, text in enumerate(words):
        _caption(image, text, top_px=row * image.height // 2 + 8)
    save_image(path, image)


def write_error_plot(path: Path, stations: Sequence[Station], title: str) -> None:
    """Distance and cost of every iteration, by level; a line through those that led.

    Args:
        path: PNG file to make.
        stations: The iterations.
        title: What the distance is.

    Raises:
        OutputError: It cannot be written.
    """
    levels = sorted({station.step.level for station in stations})
    chosen = {level: [s for s in stations if s.step.level == level] for level in levels}
    colors = {level: COLORS[n % len(COLORS)] for n, level in enumerate(levels)}
    path_led = leading(stations)
    led = Curve(name="lowest cost", color=GREY, x=_numbers(path_led), y=_distances(path_led))
    distances = [
        Curve(name=f"{k} px", color=colors[k], x=_numbers(some), y=_distances(some), dots=True)
        for k, some in chosen.items()
    ]
    costs = [
        Curve(
            name=f"{level} px",
            color=colors[level],
            x=_numbers(some),
            y=[station.step.cost for station in some],
            dots=True,
        )
        for level, some in chosen.items()
    ]
    panels = [
        Panel(title=title, curves=[led, *distances], logarithmic=True, level=GOOD_MM),
        Panel(title="Cost (each level's own)", curves=costs),
    ]
    write_curves(path, "iteration, all starts and levels", panels)


def _numbers(stations: Sequence[Station]) -> list[float]:
    return [float(station.number) for station in stations]


def _distances(stations: Sequence[Station]) -> list[float]:
    return [max(station.distance_mm, LEAST_MM) for station in stations]


def write_convergence(
    path: Path, target: Target, images: Sequence[NDArray[Any]], captions: Sequence[str]
) -> None:
    """An endless WebP of the overlay as the pose was found; the last image stays a while.

    Args:
        path: WebP file to make.
        target: What was seen.
        images: Line integrals, one an image, the target's shape; at least one.
        captions: What to write on each.

    Raises:
        OutputError: It cannot be written.
    """
    shown = [
        _captioned(overlay(target, image), text)
        for image, text in zip(images, captions, strict=True)
    ]
    save_image(
        path,
        shown[0],
        save_all=True,
        append_images=shown[1:],
        duration=[FRAME_MS] * (len(shown) - 1) + [LAST_MS],
        loop=0,
        quality=WEBP_QUALITY,
    )


def _captioned(rgb: Rgb, text: str) -> Image.Image:
    height, width = rgb.shape[:2]
    scale = EDGE_PX / max(height, width)
    size = (max(2, round(width * scale)), max(2, round(height * scale)))
    image = Image.fromarray(rgb).resize(size, Image.Resampling.BICUBIC)
    _caption(image, text, top_px=8)
    return image


def _caption(image: Image.Image, text: str, *, top_px: int) -> None:
    canvas = ImageDraw.Draw(image)
    draw_text(canvas, (8, top_px), text, size_px=16, fill=INK, outline_px=2)
