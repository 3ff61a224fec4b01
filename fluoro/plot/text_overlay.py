"""Text on images, in the font that Pillow carries."""

from __future__ import annotations

from functools import cache

from PIL import ImageDraw, ImageFont

__all__ = ["draw_text"]


@cache
def _font(size_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size_px)


def draw_text(
    canvas: ImageDraw.ImageDraw,
    xy_px: tuple[float, float],
    text: str,
    *,
    size_px: int,
    fill: tuple[int, int, int],
    anchor: str = "lt",
    outline_px: int = 0,
) -> None:
    """Write one line; `anchor` as in Pillow: horizontally l m r, vertically t m b.

    With `outline_px` it stays readable on any image.
    """
    font = _font(size_px)
    canvas.text(xy_px, text, fill, font, anchor, stroke_width=outline_px, stroke_fill=(0, 0, 0))
