"""Three slices through a CT, as a radiologist looks at them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from fluoro.plot.text_overlay import draw_text
from fluoro.volume.orientation import tilt_deg, turned_to_lps
from fluoro.volume.volumes import HuVolume

__all__ = ["draw_slices"]

WINDOW_LEVEL_HU, WINDOW_WIDTH_HU = -200.0, 1600.0
"""Shows lung, soft tissue and bone in one image; fixed, whatever the volume holds."""
LONGEST_EDGE_PX = 440
"""Of the largest slice; all three are drawn to the same scale."""
MARGIN_PX, CAPTION_PX, TEXT_PX = 26, 56, 16
TEXT_RGB, FAINT_RGB = (235, 235, 235), (150, 150, 150)


@dataclass(frozen=True, kw_only=True)
class _Slice:
    """A slice to draw: grey levels, its size in the patient, letters left, right, top, bottom."""

    title: str
    grey: NDArray[np.uint8]
    width_mm: float
    height_mm: float
    letters: str


def draw_slices(hu: HuVolume) -> Image.Image:
    """Axial, coronal and sagittal slice through the middle of a volume, side by side.

    As radiologists hang them: the patient's right on the left of the image, the front to the
    top or the left, the head up. One scale for all; the window is fixed and stated. An oblique
    volume is cut along its own axes, which the caption says.
    """
    slices = _middle_slices(hu)
    px_per_mm = LONGEST_EDGE_PX / max(max(s.width_mm, s.height_mm) for s in slices)
    images = [_scaled(s, px_per_mm) for s in slices]
    width = sum(p.width for p in images) + MARGIN_PX * 6
    height = max(p.height for p in images) + MARGIN_PX * 2 + CAPTION_PX
    sheet = Image.new("RGB", (width, height))
    left = MARGIN_PX
    for part, image in zip(slices, images, strict=True):
        _draw(sheet, part, image, left, (height - CAPTION_PX - image.height) // 2)
        left += image.width + MARGIN_PX * 2
    _draw_caption(sheet, hu)
    return sheet


def _middle_slices(hu: HuVolume) -> list[_Slice]:
    voxels, (dz, dy, dx) = turned_to_lps(hu.hu_zyx, hu.grid)
    z, y, x = (size // 2 for size in voxels.shape)
    return [
        _slice("axial", voxels[z], (dy, dx), "RLAP"),
        _slice("coronal", voxels[::-1, y], (dz, dx), "RLHF"),
        _slice("sagittal", voxels[::-1, :, x], (dz, dy), "APHF"),
    ]


def _slice(
    title: str, values: NDArray[np.generic], spacing_mm: tuple[float, float], letters: str
) -> _Slice:
    return _Slice(
        title=title,
        grey=_windowed(values),
        width_mm=values.shape[1] * spacing_mm[1],
        height_mm=values.shape[0] * spacing_mm[0],
        letters=letters,
    )


def _windowed(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    display = (values.astype(np.float32) - WINDOW_LEVEL_HU) / WINDOW_WIDTH_HU + 0.5
    return np.asarray(np.clip(display, 0, 1) * 255 + 0.5).astype(np.uint8)


def _scaled(part: _Slice, px_per_mm: float) -> Image.Image:
    size = [max(1, round(edge * px_per_mm)) for edge in (part.width_mm, part.height_mm)]
    return Image.fromarray(part.grey).resize((size[0], size[1]), Image.Resampling.BICUBIC)


def _draw(sheet: Image.Image, part: _Slice, image: Image.Image, left: int, top: int) -> None:
    sheet.paste(image.convert("RGB"), (left, top))
    canvas = ImageDraw.Draw(sheet)
    right, bottom = left + image.width, top + image.height
    middle_x, middle_y = left + image.width / 2, top + image.height / 2
    gap = MARGIN_PX / 2
    places = [
        (left - gap, middle_y),
        (right + gap, middle_y),
        (middle_x, top - gap),
        (middle_x, bottom + gap),
    ]
    for letter, place in zip(part.letters, places, strict=True):
        draw_text(canvas, place, letter, size_px=TEXT_PX, fill=TEXT_RGB, anchor="mm")
    corner = (left + 6, top + 6)
    draw_text(canvas, corner, part.title, size_px=TEXT_PX, fill=TEXT_RGB, outline_px=2)


def _draw_caption(sheet: Image.Image, hu: HuVolume) -> None:
    tilt = tilt_deg(hu.grid.direction)
    text = f"middle slices, level {WINDOW_LEVEL_HU:g} HU, width {WINDOW_WIDTH_HU:g} HU"
    if tilt >= 0.05:
        text += f", cut along the volume's own axes (tilted by {tilt:.1f} degrees)"
    canvas = ImageDraw.Draw(sheet)
    bottom = sheet.height - CAPTION_PX / 2
    draw_text(canvas, (MARGIN_PX, bottom), text, size_px=TEXT_PX, fill=FAINT_RGB, anchor="lm")
