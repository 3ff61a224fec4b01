"""Images one after another: GIF, WebP or MP4."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from fluoro.errors import InputError
from fluoro.files.atomic_write import whole_file
from fluoro.plot.figures import as_images
from fluoro.plot.text_overlay import draw_text
from fluoro.recording.formats.mp4_writer import Film

__all__ = ["animate"]

SUFFIXES = (".gif", ".webp", ".mp4")
SHORTEST_EDGE_PX = 256
"""Smaller images are enlarged, each pixel a square, so that a caption can be read."""
INK, CAPTION_PX = (255, 255, 255), 14


def animate(
    path: Path | str,
    images: Any,
    *,
    fps: float = 15.0,
    window: tuple[float, float] | None = None,
    captions: Sequence[str] | None = None,
) -> Path:
    """Write an animation; an earlier file is replaced. GIF and WebP repeat for ever.

    Args:
        path: File that ends in .gif, .webp or .mp4.
        images: Grey, shape (N, height, width) or (N, 1, height, width), of any library; or RGB,
            (N, height, width, 3), uint8.
        fps: Images per second, above 0 to 1000; a GIF holds at most 50.
        window: Values shown black and white; None: the 0.5th and 99.5th percentile of all images
            together, so that brightness does not jump. Without effect on RGB.
        captions: A text on each image.

    Returns:
        The file.

    Raises:
        InputError: Another suffix or shape, no image, or a number out of range.
        OutputError: The file cannot be written.
    """
    target = Path(path)
    if target.suffix.lower() not in SUFFIXES:
        raise InputError(f"{target}: must end in {', '.join(SUFFIXES)}")
    if not 0 < fps <= 1000:
        raise InputError(f"fps must lie in (0, 1000], got {fps}")
    frames = [_enlarged(each) for each in _eight_bit(images, window)]
    if captions is not None:
        if len(captions) != len(frames):
            raise InputError(f"captions must be {len(frames)}, got {len(captions)}")
        frames = [_captioned(each, text) for each, text in zip(frames, captions, strict=True)]
    with whole_file(target) as unfinished:
        _write(unfinished, frames, fps, target.suffix.lower())
    return target


def _eight_bit(images: Any, window: tuple[float, float] | None) -> NDArray[np.uint8]:
    """Grey (N, H, W) or RGB (N, H, W, 3)."""
    values = as_images(images)
    if values.shape[1] != 1 and values.shape[-1] == 3 and values.dtype == np.uint8:
        return values
    if values.shape[1] != 1:
        raise InputError(f"images must be (N, H, W), or (N, H, W, 3) uint8, got {values.shape}")
    grey = values[:, 0].astype(float)
    low, high = window or np.percentile(grey, (0.5, 99.5)).tolist()
    if window is not None and not low < high:
        raise InputError(f"window must rise, got {window}")
    share = (grey - low) / (high - low) if high > low else np.zeros_like(grey)
    return np.asarray(np.clip(share, 0, 1) * 255 + 0.5).astype(np.uint8)


def _enlarged(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    zoom = -(-SHORTEST_EDGE_PX // min(frame.shape[:2]))
    return frame.repeat(zoom, axis=0).repeat(zoom, axis=1)


def _captioned(frame: NDArray[np.uint8], text: str) -> NDArray[np.uint8]:
    image = Image.fromarray(frame).convert("RGB")
    canvas = ImageDraw.Draw(image)
    draw_text(canvas, (6, 6), text, size_px=CAPTION_PX, fill=INK, outline_px=2)
    return np.asarray(image)


def _write(path: Path, frames: Sequence[NDArray[np.uint8]], fps: float, suffix: str) -> None:
    if suffix == ".mp4":
        with closing(Film(path, fps, preset="medium")) as film:
            for frame in frames:
                film.write(frame)
        return
    first, *rest = (Image.fromarray(frame) for frame in frames)
    options = {"lossless": True} if suffix == ".webp" else {"optimize": False}
    first.save(
        path,
        format=suffix[1:].upper(),
        save_all=True,
        append_images=rest,
        duration=max(20, round(1000 / fps)),
        loop=0,
        **options,
    )
