"""A run's skin dose map as an image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from fluoro.files.image_files import save_image
from fluoro.imaging.skin_dose import CELL_MM, SkinDoseMap
from fluoro.plot.text_overlay import draw_text

__all__ = ["skin_dose_image", "write_skin_dose_image"]

CELL_PX, EDGE_PX, TITLE_PX = 4, 36, 48
BAR_PX, BAR_SPACE_PX, TEXT_PX = 14, 76, 16
SCALE_MM = 100.0
"""Length of the line that gives the scale."""
PLACES = ("front", "left", "back", "right", "front")
PAPER, INK, FAINT = (18, 20, 24), (240, 240, 240), (110, 120, 130)
COLOURS = np.array([(18, 20, 24), (70, 20, 110), (190, 50, 80), (250, 150, 40), (255, 245, 180)])
"""From no dose to the largest one."""


def write_skin_dose_image(path: Path, skin: SkinDoseMap, title: str) -> None:
    """Write the map as PNG.

    Raises:
        OutputError: The file cannot be written.
    """
    save_image(path, skin_dose_image(skin, title))


def skin_dose_image(skin: SkinDoseMap, title: str) -> Image.Image:
    """Return the skin unrolled, as it is seen from outside, cranial up; the back is in the middle.

    Tubes stand under the table, so that most beams enter at the back.
    """
    dose = np.roll(skin.dose_mgy, skin.dose_mgy.shape[1] // 2, axis=1)
    big = np.kron(_coloured(dose / max(skin.peak_mgy, 1e-12)), np.ones((CELL_PX, CELL_PX, 1)))
    height, width = big.shape[:2]
    size = (width + 2 * EDGE_PX + BAR_SPACE_PX, height + TITLE_PX + 2 * EDGE_PX)
    page = Image.new("RGB", size, PAPER)
    page.paste(Image.fromarray(big.astype(np.uint8)), (EDGE_PX, TITLE_PX))
    canvas = ImageDraw.Draw(page)
    box = (EDGE_PX, TITLE_PX, EDGE_PX + width, TITLE_PX + height)
    canvas.rectangle(box, outline=FAINT)
    text = f"{title}: skin dose, at most {skin.peak_mgy:.3g} mGy"
    draw_text(canvas, (EDGE_PX, TITLE_PX / 2), text, size_px=20, fill=INK, anchor="lm")
    _draw_places(canvas, box)
    _draw_bar(page, box, skin.peak_mgy)
    return page


def _coloured(share: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the colours of shares of the largest dose, shape (..., 3)."""
    at = np.linspace(0, 1, len(COLOURS))
    return np.stack([np.interp(share, at, channel) for channel in COLOURS.T], axis=-1)


def _draw_places(canvas: ImageDraw.ImageDraw, box: tuple[int, int, int, int]) -> None:
    """Name head, feet and the sides, and draw the scale."""
    left, top, right, bottom = box
    for place, name in enumerate(PLACES):
        anchor = ("lm", "mm", "mm", "mm", "rm")[place]
        at = (left + place * (right - left) / 4, bottom + EDGE_PX / 2)
        draw_text(canvas, at, name, size_px=TEXT_PX, fill=INK, anchor=anchor)
    middle = (left + right) / 2
    for y, name in ((top + TEXT_PX, "head"), (bottom - TEXT_PX, "feet")):
        draw_text(canvas, (middle, y), name, size_px=TEXT_PX, fill=FAINT, anchor="mm")
    long_px, y = SCALE_MM / CELL_MM * CELL_PX, bottom - TEXT_PX
    canvas.line((left + TEXT_PX, y, left + TEXT_PX + long_px, y), fill=INK, width=2)
    at = (left + 1.5 * TEXT_PX + long_px, y)
    draw_text(canvas, at, f"{SCALE_MM / 10:g} cm", size_px=TEXT_PX, fill=INK, anchor="lm")


def _draw_bar(page: Image.Image, box: tuple[int, int, int, int], peak_mgy: float) -> None:
    """Draw what the colours mean [mGy]."""
    _, top, right, bottom = box
    left, canvas = right + TEXT_PX, ImageDraw.Draw(page)
    shares = np.linspace(1, 0, bottom - top)[:, None]
    bar = np.repeat(_coloured(shares), BAR_PX, axis=1).astype(np.uint8)
    page.paste(Image.fromarray(bar), (left, top))
    canvas.rectangle((left, top, left + BAR_PX, bottom), outline=FAINT)
    for share in (0.0, 0.5, 1.0):
        y = bottom - share * (bottom - top) + (0.5 - share) * TEXT_PX * -1
        at = (left + BAR_PX + 6, y)
        draw_text(canvas, at, f"{share * peak_mgy:.2g}", size_px=TEXT_PX, fill=INK, anchor="lm")
    at = (left, bottom + EDGE_PX / 2)
    draw_text(canvas, at, "mGy", size_px=TEXT_PX, fill=INK, anchor="lm")
