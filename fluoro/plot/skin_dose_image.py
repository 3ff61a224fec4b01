"""A run's skin dose map as an image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from fluoro.files.atomic_write import writing
from fluoro.imaging.skin_dose import SkinDoseMap
from fluoro.plot.text_overlay import draw_text

__all__ = ["skin_dose_image", "write_skin_dose_image"]

CELL_PX, EDGE_PX, TITLE_PX = 4, 36, 48
PAPER, INK, FAINT = (18, 20, 24), (240, 240, 240), (110, 120, 130)
COLOURS = np.array([(18, 20, 24), (70, 20, 110), (190, 50, 80), (250, 150, 40), (255, 245, 180)])
"""From no dose to the largest one."""


def write_skin_dose_image(path: Path, skin: SkinDoseMap, title: str) -> None:
    """Write the map as PNG.

    Raises:
        OutputError: The file cannot be written.
    """
    page = skin_dose_image(skin, title)
    with writing(path):
        page.save(path)


def skin_dose_image(skin: SkinDoseMap, title: str) -> Image.Image:
    """Return the skin unrolled, cranial up: behind, the patient's right, front, left, behind."""
    share = skin.dose_mgy / max(skin.peak_mgy, 1e-12)
    at = np.linspace(0, 1, len(COLOURS))
    colours = np.stack([np.interp(share, at, channel) for channel in COLOURS.T], axis=-1)
    big = np.kron(colours, np.ones((CELL_PX, CELL_PX, 1))).astype(np.uint8)
    height, width = big.shape[:2]
    page = Image.new("RGB", (width + 2 * EDGE_PX, height + TITLE_PX + 2 * EDGE_PX), PAPER)
    page.paste(Image.fromarray(big), (EDGE_PX, TITLE_PX))
    canvas = ImageDraw.Draw(page)
    box = (EDGE_PX, TITLE_PX, EDGE_PX + width, TITLE_PX + height)
    canvas.rectangle(box, outline=FAINT)
    text = f"{title}: skin dose, at most {skin.peak_mgy:.3g} mGy"
    draw_text(canvas, (EDGE_PX, TITLE_PX / 2), text, size_px=20, fill=INK, anchor="lm")
    below = TITLE_PX + height + EDGE_PX / 2
    for place, name in enumerate(("back", "right", "front", "left", "back")):
        anchor = ("lm", "mm", "mm", "mm", "rm")[place]
        x = EDGE_PX + place * width / 4
        draw_text(canvas, (x, below), name, size_px=16, fill=INK, anchor=anchor)
    return page
