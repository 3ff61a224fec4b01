"""A page of frames from all along a run, each with its number and angles."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from fluoro.files.image_files import save_image
from fluoro.geometry.view_text import angle_label
from fluoro.plot.text_overlay import draw_text
from fluoro.recording.frame_sampler import SampledFrame, evenly

__all__ = ["contact_sheet", "write_contact_sheet"]

COLUMNS = 4
CELL_PX = 256
"""Longest edge of each image on the page."""
GAP_PX, CAPTION_PX, TITLE_PX = 12, 26, 56
PAPER, INK, FAINT = (18, 20, 24), (240, 240, 240), (150, 160, 170)


def write_contact_sheet(
    path: Path | str, frames: Sequence[SampledFrame], title: str, count: int = 16
) -> None:
    """Write the page as PNG; see `contact_sheet`.

    Raises:
        OutputError: The file cannot be written.
    """
    path = Path(path)
    save_image(path, contact_sheet(frames, title, count))


def contact_sheet(frames: Sequence[SampledFrame], title: str, count: int = 16) -> Image.Image:
    """At most `count` of the frames, evenly spaced, on a page with a title."""
    shown = evenly(list(frames), count)
    width, height = _cell_size(shown)
    rows = -(-len(shown) // COLUMNS)
    page = Image.new(
        "RGB",
        (GAP_PX + COLUMNS * (width + GAP_PX), TITLE_PX + rows * (height + CAPTION_PX + GAP_PX)),
        PAPER,
    )
    canvas = ImageDraw.Draw(page)
    middle = TITLE_PX / 2
    draw_text(canvas, (GAP_PX, middle), title, size_px=24, fill=INK, anchor="lm")
    for index, frame in enumerate(shown):
        row, column = divmod(index, COLUMNS)
        left = GAP_PX + column * (width + GAP_PX)
        top = TITLE_PX + row * (height + CAPTION_PX + GAP_PX)
        page.paste(Image.fromarray(frame.grey).resize((width, height)), (left, top))
        _caption(canvas, frame, left, left + width, top + height + CAPTION_PX // 2)
    return page


def _cell_size(frames: Sequence[SampledFrame]) -> tuple[int, int]:
    height, width = frames[0].grey.shape if frames else (CELL_PX, CELL_PX)
    scale = CELL_PX / max(height, width)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _caption(
    canvas: ImageDraw.ImageDraw, frame: SampledFrame, left: int, right: int, y: int
) -> None:
    draw_text(canvas, (left, y), angle_label(frame.pose), size_px=16, fill=INK, anchor="lm")
    draw_text(canvas, (right, y), f"{frame.number}", size_px=14, fill=FAINT, anchor="rm")
