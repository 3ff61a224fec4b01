"""A frame as the files of a training set, and back.

A frame has `image.npy` or `image.png`, `json` (pose, camera matrices, masks, boxes and landmarks in
COCO's words), `config.json` (the file of a stream that makes this frame alone) and, where path
lengths are configured, `lengths.npy`.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.annotations.coco import decoded_counts
from fluoro.datasets.training.frame_maker import MadeFrame
from fluoro.datasets.training.sampling import FrameSpec
from fluoro.names import TrainingPixels

__all__ = [
    "CONFIG_NAME",
    "FACTS_NAME",
    "LENGTHS_NAME",
    "Content",
    "FrameFiles",
    "array_of",
    "decoded_image",
    "decoded_mask",
    "frame_files",
    "npy_bytes",
    "spec_of",
]

Content = bytes | NDArray[Any]
FrameFiles = dict[str, Content]
"""Contents by name: an array, or the bytes of a file."""

CONFIG_NAME, FACTS_NAME, LENGTHS_NAME = "config.json", "json", "lengths.npy"
HIGHEST = {"uint16": 65535, "png16": 65535, "png8": 255}
"""Level of the display value 1, by the kind of pixels."""


def frame_files(spec: FrameSpec, frame: MadeFrame, pixels: TrainingPixels) -> FrameFiles:
    """Return a frame's files.

    Args:
        spec: What was drawn.
        frame: What came of it.
        pixels: How the image is written.
    """
    files: FrameFiles = {
        CONFIG_NAME: _json(spec.document),
        FACTS_NAME: _json(_facts(spec, frame)),
        **_image(frame.image, pixels),
    }
    masks = frame.truth.masks if frame.truth else None
    if masks is not None and masks.lengths_mm is not None:
        files[LENGTHS_NAME] = masks.lengths_mm.astype(np.float16)
    return files


def _facts(spec: FrameSpec, frame: MadeFrame) -> dict[str, Any]:
    pose = frame.pose
    return {
        "index": spec.index,
        "case": spec.case,
        "time_s": spec.time_s,
        "width_px": frame.view.width_px,
        "height_px": frame.view.height_px,
        "pose": {
            "lao_deg": pose.lao_deg,
            "cra_deg": pose.cra_deg,
            "roll_deg": pose.roll_deg,
            "translation_mm": list(pose.translation_mm),
        },
        **frame.camera(),
        "dose_ngy": frame.dose_ngy,
        "annotations": frame.truth.annotations() if frame.truth else [],
        "categories": frame.categories,
    }


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _image(image: NDArray[np.float32], pixels: TrainingPixels) -> FrameFiles:
    if pixels not in HIGHEST:
        return {"image.npy": image.astype(pixels)}
    high = HIGHEST[pixels]
    levels = np.clip(np.rint(image * np.float32(high)), 0, high)
    levels = levels.astype(np.uint8 if high == 255 else np.uint16)
    return {"image.npy": levels} if pixels == "uint16" else {"image.png": _png(levels)}


def _png(levels: NDArray[Any]) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(levels).save(file, format="PNG", compress_level=1)
    return file.getvalue()


def npy_bytes(content: Content) -> bytes:
    """Return a content as the bytes of a file; an array as .npy."""
    if isinstance(content, bytes):
        return content
    file = io.BytesIO()
    np.lib.format.write_array(file, np.ascontiguousarray(content), allow_pickle=False)
    return file.getvalue()


def array_of(content: Content) -> NDArray[Any]:
    """Return a content as an array, from the bytes of a .npy."""
    if not isinstance(content, bytes):
        return content
    file = io.BytesIO(content)
    return np.asarray(np.lib.format.read_array(file, allow_pickle=False))


def decoded_image(files: Mapping[str, Content]) -> NDArray[np.float32]:
    """Return the display values [0, 1] of a frame's files, shape (height, width).

    Raises:
        KeyError: There is no image.
    """
    if "image.png" in files:
        from PIL import Image

        content = files["image.png"]
        with Image.open(io.BytesIO(bytes(content))) as image:
            levels = np.asarray(image)
    else:
        levels = array_of(files["image.npy"])
    if levels.dtype.kind == "f":
        return levels.astype(np.float32)
    high = 255 if levels.dtype == np.uint8 else 65535
    return levels.astype(np.float32) / np.float32(high)


def decoded_mask(rle: Mapping[str, Any]) -> NDArray[np.bool_]:
    """Return the mask of COCO's run lengths, shape (height, width)."""
    height, width = rle["size"]
    counts = decoded_counts(rle["counts"])
    values = np.arange(len(counts)) % 2 == 1
    return np.repeat(values, counts).reshape((height, width), order="F")


def spec_of(files: Mapping[str, Content]) -> FrameSpec:
    """Return what a frame was made from, from its files.

    Raises:
        ValueError: The files are not those of a frame.
        KeyError: A file of the frame is missing.
    """
    facts, document = (json.loads(bytes(files[name])) for name in (FACTS_NAME, CONFIG_NAME))
    return FrameSpec(
        index=facts["index"], case=facts["case"], document=document, time_s=facts["time_s"]
    )
