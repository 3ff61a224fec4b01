"""A page of frames of a training set, with their masks, boxes and landmarks drawn in."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from fluoro.datasets.training.build import WorkReporter
from fluoro.datasets.training.frame_maker import MadeFrame
from fluoro.datasets.training.plan import Plan
from fluoro.datasets.training.shard_maker import ShardMaker
from fluoro.errors import InputError
from fluoro.files.atomic_write import writing
from fluoro.files.image_files import save_image
from fluoro.geometry.view_text import angle_label
from fluoro.imaging.frame import to_uint8
from fluoro.plot.text_overlay import draw_text

__all__ = ["preview_sheet", "write_preview"]

COLUMNS, FRAMES = 4, 16
CELL_PX, GAP_PX, CAPTION_PX = 320, 10, 26
PAPER, INK, POINT = (18, 20, 24), (235, 235, 235), (255, 220, 60)
OPACITY = 0.3
TEXT_PX, POINT_PX = 15, 2


def write_preview(plan: Plan, path: Path, reporter: WorkReporter) -> int:
    """Render frames from all over the set and write a page of them as PNG.

    Args:
        plan: The set.
        path: The page.
        reporter: Receives the number of frames that are rendered.

    Returns:
        Number of frames on the page.

    Raises:
        InputError: None of them can be made.
        OutputError: The file cannot be written.
    """
    total = plan.file.config.frames
    count = min(FRAMES, total)
    cells: list[tuple[int, MadeFrame]] = []
    failures: list[InputError] = []
    with closing(ShardMaker(plan)) as maker:
        for turn in range(count):
            reporter.work("rendering", turn, count, f"{turn} of {count} frames")
            index = turn * total // count
            try:
                cells.append((index, maker.frame(index)[1]))
            except InputError as error:
                failures.append(error)
    reporter.work("rendering", count, count, f"{count} of {count} frames")
    if not cells:
        raise failures[0]
    page = preview_sheet(cells)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    save_image(path, page)
    return len(cells)


def preview_sheet(cells: list[tuple[int, MadeFrame]]) -> Image.Image:
    """Return a page of frames by their numbers."""
    rows = -(-len(cells) // COLUMNS)
    across, down = CELL_PX + GAP_PX, CELL_PX + CAPTION_PX + GAP_PX
    page = Image.new("RGB", (GAP_PX + COLUMNS * across, GAP_PX + rows * down), PAPER)
    canvas = ImageDraw.Draw(page)
    for turn, (index, frame) in enumerate(cells):
        row, column = divmod(turn, COLUMNS)
        left, top = GAP_PX + column * across, GAP_PX + row * down
        page.paste(_cell(frame), (left, top))
        text = f"{index}  {angle_label(frame.pose)}  {frame.dose_ngy:.1f} nGy"
        place = (left, top + CELL_PX + CAPTION_PX / 2)
        draw_text(canvas, place, text, size_px=TEXT_PX, fill=INK, anchor="lm")
    return page


def _cell(frame: MadeFrame) -> Image.Image:
    """A frame with its annotations, in a square."""
    grey = np.repeat(to_uint8(frame.image)[..., None], 3, axis=2).astype(np.float32)
    colours = {each["id"]: each.get("color", INK) for each in frame.categories}
    _tint(grey, frame, colours)
    height, width = grey.shape[:2]
    scale = CELL_PX / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    image = Image.fromarray(grey.astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)
    canvas = ImageDraw.Draw(image)
    for each in frame.truth.annotations() if frame.truth else ():
        _draw(canvas, each, tuple(colours.get(each["category_id"], INK)), scale)
    cell = Image.new("RGB", (CELL_PX, CELL_PX), PAPER)
    cell.paste(image, ((CELL_PX - size[0]) // 2, (CELL_PX - size[1]) // 2))
    return cell


def _tint(grey: Any, frame: MadeFrame, colours: dict[int, Any]) -> None:
    """Give the pixels of each mask some of its structure's colour."""
    masks = frame.truth.masks if frame.truth else None
    if masks is None:
        return
    labels = masks.label_image()
    for label, each in enumerate(masks.structures, start=1):
        inside = labels == label
        colour = np.asarray(colours[each.number], np.float32)
        grey[inside] += OPACITY * (colour - grey[inside])


def _draw(canvas: ImageDraw.ImageDraw, each: dict[str, Any], colour: Any, scale: float) -> None:
    if "bbox" in each:
        left, top, width, height = (value * scale for value in each["bbox"])
        canvas.rectangle((left, top, left + width, top + height), outline=colour)
    flat = each.get("keypoints", [])
    for u, v, seen in zip(flat[::3], flat[1::3], flat[2::3], strict=True):
        if seen:
            x, y = u * scale, v * scale
            canvas.ellipse((x - POINT_PX, y - POINT_PX, x + POINT_PX, y + POINT_PX), fill=POINT)
