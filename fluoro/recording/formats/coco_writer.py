"""The truth of frames as one COCO file, and masks as images or arrays beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fluoro.annotations.masks import FrameMasks
from fluoro.annotations.truth import FrameTruth, TruthMaker
from fluoro.config import AnnotationsConfig
from fluoro.files.atomic_write import WholeAppends, replacing, whole_file, writing
from fluoro.files.image_files import save_image
from fluoro.imaging.frame import FluoroFrame

__all__ = ["COCO_NAME", "CocoWriter", "finish_coco"]

COCO_NAME, LINES_NAME = "annotations.json", "annotations-recording.jsonl"
"""Of the file, and of its frames, a line each, while they are recorded."""

FOLDER = "masks"
"""Where masks are written beside it."""


class CocoWriter:
    """Writes `annotations.json`, and `masks/` where the configuration asks for it.

    While frames come they go into a file of lines, which a crash leaves whole; `close` makes COCO's
    file of it.

    Args:
        folder: The run's folder, which exists.
        config: What is annotated.
        truth: Knows the categories.
        images: Name of a frame's image by its number; empty: it has no file of its own.

    Raises:
        OutputError: A file cannot be made.
    """

    def __init__(
        self, folder: Path, config: AnnotationsConfig, truth: TruthMaker, images: str = ""
    ) -> None:
        self._folder, self._images = folder, images
        self._files = config.masks.files if config.masks else None
        self._lines = WholeAppends(folder / LINES_NAME)
        self._append({"categories": truth.categories()})
        if self._files:
            with writing(folder / FOLDER):
                (folder / FOLDER).mkdir()

    def write(self, frame: FluoroFrame) -> None:
        """Write the annotations of one frame.

        Raises:
            OutputError: It cannot be written.
        """
        if frame.truth is None:
            return
        self._append({"image": self._image(frame), "annotations": frame.truth.annotations()})
        if self._files and frame.truth.masks:
            self._write_masks(frame.number, frame.truth.masks)

    def close(self) -> None:
        """Make `annotations.json` of the lines.

        Raises:
            OutputError: It cannot be written; the lines stay.
        """
        self._lines.close()
        finish_coco(self._folder)

    def _image(self, frame: FluoroFrame) -> dict[str, Any]:
        truth: FrameTruth | None = frame.truth
        assert truth is not None
        return {
            "id": frame.number,
            "width": truth.view.width_px,
            "height": truth.view.height_px,
            "file_name": self._images.format(frame.number) if self._images else "",
            **truth.camera(),
        }

    def _append(self, entry: dict[str, Any]) -> None:
        self._lines.append(json.dumps(entry).encode() + b"\n")

    def _write_masks(self, number: int, masks: FrameMasks) -> None:
        if self._files == "png":
            for label, each in enumerate(masks.structures, start=1):
                path = self._folder / FOLDER / f"frame_{number:04d}_{each.number:03d}.png"
                grey = masks.mask(label).astype(np.uint8) * 255
                save_image(path, Image.fromarray(grey, mode="L"), compress_level=1)
            return
        path = self._folder / FOLDER / f"frame_{number:04d}.npz"
        count = len(masks.structures)
        arrays: dict[str, Any] = {
            "numbers": np.array([each.number for each in masks.structures]),
            "masks": np.stack([masks.mask(label) for label in range(1, count + 1)]),
        }
        if masks.visible_bits is not None:
            visible = [masks.visible(label) for label in range(1, count + 1)]
            arrays["visible"] = np.array(visible, bool)
        if masks.lengths_mm is not None:
            arrays["lengths_mm"] = masks.lengths_mm
        with whole_file(path) as unfinished, unfinished.open("wb") as file:
            np.savez_compressed(file, **arrays)


def finish_coco(folder: Path) -> bool:
    """Make `annotations.json` of the lines that a recording has left; False: there are none.

    Raises:
        OutputError: It cannot be written; the lines stay.
    """
    lines = folder / LINES_NAME
    if not lines.is_file():
        return False
    with writing(lines):
        entries = [*_entries(lines)]
    images = [entry["image"] for entry in entries if "image" in entry]
    annotations = [
        {"id": 0, "image_id": entry["image"]["id"], **each}
        for entry in entries
        if "image" in entry
        for each in entry["annotations"]
    ]
    for number, each in enumerate(annotations, start=1):
        each["id"] = number
    document = {
        "info": {"description": "fluoro: the truth of simulated fluoroscopy"},
        "images": images,
        "annotations": annotations,
        "categories": entries[0]["categories"] if entries else [],
    }
    with replacing(folder / COCO_NAME) as file:
        file.write(json.dumps(document))
    with writing(lines):
        lines.unlink()
    return True


def _entries(lines: Path) -> Iterator[dict[str, Any]]:
    """Every whole line; what a crash has cut short is left out."""
    for line in lines.read_text(encoding="utf-8").splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            return
