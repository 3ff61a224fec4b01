"""A frame of an X-ray file as its viewer shows it, with the patient's directions at the edges."""

from __future__ import annotations

from collections.abc import Generator
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from fluoro.geometry.carm import CarmGeometry
from fluoro.geometry.view_text import angle_label, orientation_letters
from fluoro.plot.text_overlay import draw_text
from fluoro.xray_files.subtraction import Subtraction
from fluoro.xray_files.xray_file import XrayFile, XrayFrame

__all__ = ["ShownFrames", "draw_xray_frame"]

LONGEST_EDGE_PX = 640
MARGIN_PX, CAPTION_PX, TEXT_PX = 26, 48, 16
TEXT_RGB, FAINT_RGB = (235, 235, 235), (150, 150, 150)
PERCENTS = (0.5, 99.5)
"""Between them the values are shown where the file has no window."""


class ShownFrames:
    """The frames of a file in grey levels, by time.

    A reader of the file stays open and goes forwards, since each new one is a process for the
    decoder. Masks to subtract come from another process, one for all of them.

    Args:
        file: The file.
        repeat: Whether they start again after the last one; else it is held.
    """

    def __init__(self, file: XrayFile, *, repeat: bool) -> None:
        self._file, self._repeat, self._subtraction = file, repeat, Subtraction(file)
        self._kept: tuple[int, NDArray[np.uint8]] | None = None
        self._frames: Generator[XrayFrame, None, None] | None = None

    def at(self, time_s: float) -> tuple[NDArray[np.uint8], int]:
        """Return grey levels of the frame nearest to a time [s], and its number, from 1.

        Raises:
            InputError: The frame cannot be read.
        """
        times_s = self._file.times_s
        if self._repeat and times_s[-1] > 0 and time_s > times_s[-1]:
            time_s %= times_s[-1]
        number = min(range(len(times_s)), key=lambda index: abs(times_s[index] - time_s)) + 1
        if self._kept is None or self._kept[0] != number:
            frame = self._read(number)
            self._kept = number, _grey(self._file, number, frame, self._subtraction)[0]
        return self._kept[1], number

    def close(self) -> None:
        """Close the file; a later `at` opens it again."""
        self._rewind()
        self._file.close()

    def _rewind(self) -> None:
        if self._frames:
            self._frames.close()
        self._frames = None

    def _read(self, number: int) -> XrayFrame:
        before = self._kept[0] if self._kept else 0
        if self._frames is None or number <= before:
            self._rewind()
            self._frames, before = self._file.read(number, self._file.count), number - 1
        return next(islice(self._frames, number - before - 1, None))


def draw_xray_frame(file: XrayFile, number: int, frame: XrayFrame) -> Image.Image:
    """Return a frame by the file's own window, subtracted where the file says that it is to be.

    Args:
        file: The file.
        number: Of the frame, from 1.
        frame: The frame.
    """
    grey, how = _grey(file, number, frame, Subtraction(file))
    scale = LONGEST_EDGE_PX / max(grey.shape)
    size = (round(grey.shape[1] * scale), round(grey.shape[0] * scale))
    image = Image.fromarray(grey).resize(size, Image.Resampling.BICUBIC)
    sheet = Image.new("RGB", (size[0] + 2 * MARGIN_PX, size[1] + 2 * MARGIN_PX + CAPTION_PX))
    sheet.paste(image.convert("RGB"), (MARGIN_PX, MARGIN_PX))
    canvas = ImageDraw.Draw(sheet)
    _draw_letters(canvas, frame, size)
    pose = frame.geometry.pose
    angles = angle_label(pose) if pose else "angles not in the file"
    caption = f"{angles}; frame {number} of {file.count}; {how}"
    place = (MARGIN_PX, sheet.height - CAPTION_PX / 2)
    draw_text(canvas, place, caption, size_px=TEXT_PX, fill=FAINT_RGB, anchor="lm")
    return sheet


def _grey(
    file: XrayFile, number: int, frame: XrayFrame, subtraction: Subtraction
) -> tuple[NDArray[np.uint8], str]:
    """Return grey levels of a frame, shape (height, width), and how they came about."""
    tags = file.header.frame_tags(number - 1)
    if tags.text("RecommendedViewingMode") == "SUB":
        difference = subtraction.of(number, frame)
        if difference is not None:
            return _scaled(-difference, *_range(difference * -1, frame)), "subtracted"
    values = frame.values * frame.meaning.sign
    inverse = tags.text("PhotometricInterpretation") == "MONOCHROME1"
    center, width = tags.hint("WindowCenter"), tags.hint("WindowWidth")
    if center is not None and width is not None and width > 1:
        low, high = center - 0.5 - (width - 1) / 2, center - 0.5 + (width - 1) / 2
        how = f"window {center:g} / {width:g}"
    else:
        low, high = _range(values, frame)
        how = "no window in the file: 0.5 to 99.5 %"
    grey = _scaled(values, low, high)
    return (255 - grey if inverse else grey), how


def _range(values: NDArray[np.float64], frame: XrayFrame) -> tuple[float, float]:
    low, high = np.percentile(values[frame.mask], PERCENTS) if frame.mask.any() else (0.0, 1.0)
    return float(low), float(high)


def _scaled(values: NDArray[np.float64], low: float, high: float) -> NDArray[np.uint8]:
    share = (values - low) / (high - low) if high > low else np.zeros(values.shape)
    return np.asarray(np.clip(share, 0, 1) * 255 + 0.5).astype(np.uint8)


def _draw_letters(canvas: ImageDraw.ImageDraw, frame: XrayFrame, size: tuple[int, int]) -> None:
    pose, gap = frame.geometry.pose, MARGIN_PX / 2
    if pose is None:
        return
    letters = orientation_letters(CarmGeometry().view(pose, (0.0, 0.0, 0.0)))
    middle_x, middle_y = MARGIN_PX + size[0] / 2, MARGIN_PX + size[1] / 2
    places = (
        (gap, middle_y),
        (2 * MARGIN_PX + size[0] - gap, middle_y),
        (middle_x, gap),
        (middle_x, 2 * MARGIN_PX + size[1] - gap),
    )
    for letter, place in zip(letters, places, strict=True):
        draw_text(canvas, place, letter, size_px=TEXT_PX, fill=TEXT_RGB, anchor="mm")
