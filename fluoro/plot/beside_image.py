"""Two frames of one view side by side: what an X-ray file holds, and what is rendered."""

from __future__ import annotations

from PIL import Image, ImageDraw

from fluoro.geometry.carm import CarmPose
from fluoro.geometry.view_text import angle_label
from fluoro.plot.text_overlay import draw_text

__all__ = ["beside_image"]

HEIGHT_PX, CAPTION_PX, TEXT_PX = 480, 32, 16
TEXT_RGB = (235, 235, 235)


def beside_image(
    seen: Image.Image, rendered: Image.Image, pose: CarmPose, number: int
) -> Image.Image:
    """Return both at one height, with captions; even in width and height, as films need it.

    Args:
        seen: The file's frame, in grey.
        rendered: Ours, in grey.
        pose: Where the C-arm stood.
        number: Of the file's frame, from 1.
    """
    parts = [_scaled(seen), _scaled(rendered)]
    width = sum(part.width for part in parts)
    sheet = Image.new("L", (width + width % 2, HEIGHT_PX + CAPTION_PX))
    sheet.paste(parts[0], (0, 0))
    sheet.paste(parts[1], (parts[0].width, 0))
    colour = sheet.convert("RGB")
    canvas = ImageDraw.Draw(colour)
    texts = (f"file, frame {number}", f"rendered, {angle_label(pose)}")
    for text, left in zip(texts, (0, parts[0].width), strict=True):
        place = (left + 8, HEIGHT_PX + CAPTION_PX / 2)
        draw_text(canvas, place, text, size_px=TEXT_PX, fill=TEXT_RGB, anchor="lm")
    return colour.convert("L")


def _scaled(part: Image.Image) -> Image.Image:
    width = round(part.width * HEIGHT_PX / part.height)
    return part.resize((width, HEIGHT_PX), Image.Resampling.BICUBIC)
