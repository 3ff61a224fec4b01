"""Reads a training set: the index, and frames by their number."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.annotations.landmarks import LANDMARKS_CATEGORY
from fluoro.datasets.training.frame_files import (
    FACTS_NAME,
    LENGTHS_NAME,
    Content,
    array_of,
    decoded_image,
    decoded_mask,
)
from fluoro.datasets.training.set_folder import INDEX_NAME
from fluoro.datasets.training.shards import frames_in, read_frame
from fluoro.errors import InputError, to_install

__all__ = ["TrainingFrame", "TrainingSet", "listed"]


def listed(structures: Sequence[str]) -> Sequence[str]:
    """Return the names of structures.

    Raises:
        InputError: Text instead of a list, whose letters would count as names.
    """
    if isinstance(structures, str):
        raise InputError(f"structures must be a list of names, got {structures!r}")
    return structures


class TrainingFrame:
    """One frame of a training set.

    Args:
        key: Its name.
        files: Its contents by name.
    """

    def __init__(self, key: str, files: Mapping[str, Content]) -> None:
        self.key, self._files = key, files

    @cached_property
    def image(self) -> NDArray[np.float32]:
        """Display values [0, 1], shape (height, width)."""
        return decoded_image(self._files)

    @cached_property
    def facts(self) -> dict[str, Any]:
        """Pose, camera matrices, and annotations in COCO's words."""
        found: dict[str, Any] = json.loads(bytes(self._files[FACTS_NAME]))
        return found

    @property
    def pixel_from_camera(self) -> NDArray[np.float64]:
        """Return the intrinsic matrix K, pixels from the image's corner, shape (3, 3)."""
        return np.array(self.facts["pixel_from_camera"])

    @property
    def camera_from_world(self) -> NDArray[np.float64]:
        """Return the extrinsic matrix, world LPS [mm]."""
        return np.array(self.facts["camera_from_world"])

    @property
    def structures(self) -> list[str]:
        """Names of the structures that masks and boxes are of."""
        found = self.facts["categories"]
        return [each["name"] for each in found if each["id"] != LANDMARKS_CATEGORY]

    @property
    def lengths_mm(self) -> NDArray[np.float32] | None:
        """Path length in each structure [mm], shape (K, height, width); None: not made."""
        content = self._files.get(LENGTHS_NAME)
        return None if content is None else array_of(content).astype(np.float32)

    def masks(self, structures: Sequence[str]) -> NDArray[np.bool_]:
        """Return where a ray passes through each structure, shape (K, height, width).

        Args:
            structures: Names of K structures; a mask is empty where one is not in the image or
                not among `structures` of this frame.

        Raises:
            InputError: Text instead of a list.
        """
        found = np.zeros((len(structures), *self.image.shape), bool)
        for number, each in self._of(structures):
            if "segmentation" in each:
                found[number] = decoded_mask(each["segmentation"])
        return found

    def boxes_px(self, structures: Sequence[str]) -> NDArray[np.float32]:
        """Return left, top, right and bottom of each structure, shape (K, 4); NaN: none.

        Args:
            structures: Names of K structures.

        Raises:
            InputError: Text instead of a list.
        """
        found = np.full((len(structures), 4), np.nan, np.float32)
        for number, each in self._of(structures):
            if "bbox" in each:
                left, top, width, height = each["bbox"]
                found[number] = left, top, left + width, top + height
        return found

    @property
    def landmarks(self) -> dict[str, tuple[float, float] | None]:
        """Column and row of each landmark, pixels from the image's corner; None: not in it."""
        of = {each["id"]: each for each in self.facts["categories"]}
        names = of.get(LANDMARKS_CATEGORY, {}).get("keypoints", [])
        for each in self.facts["annotations"]:
            if each["category_id"] == LANDMARKS_CATEGORY:
                points = np.reshape(each["keypoints"], (-1, 3)).tolist()
                return {
                    n: (u, v) if s else None for n, (u, v, s) in zip(names, points, strict=True)
                }
        return dict.fromkeys(names)

    def _of(self, structures: Sequence[str]) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield the annotations of structures, with their place in the list."""
        name_of = {each["id"]: each["name"] for each in self.facts["categories"]}
        place_of = {name: number for number, name in enumerate(listed(structures))}
        for each in self.facts["annotations"]:
            name = name_of[each["category_id"]]
            if name in place_of:
                yield place_of[name], each


@dataclass(frozen=True)
class _Row:
    key: str
    shard: str
    place: tuple[int, int] | None


class TrainingSet:
    """The frames of a finished training set, by their place in the index.

    Args:
        folder: Of the set.

    Raises:
        InputError: There is no finished set, or pyarrow is not installed.
    """

    def __init__(self, folder: Path | str) -> None:
        folder = Path(folder)
        self.folder = folder
        self._rows = _index(folder / INDEX_NAME)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, number: int) -> TrainingFrame:
        """Return a frame.

        Raises:
            IndexError: There is none of that number.
            InputError: Its file cannot be read.
        """
        try:
            row = self._rows[number]
        except IndexError:
            last = len(self) - 1
            raise IndexError(f"{self.folder}: frame must be 0 to {last}, got {number}") from None
        return TrainingFrame(row.key, read_frame(self.folder / row.shard, row.key, row.place))

    @property
    def shards(self) -> list[Path]:
        """Return the paths of the set's files that hold frames, in order."""
        return [self.folder / name for name in dict.fromkeys(row.shard for row in self._rows)]

    def frames_of(self, shard: Path) -> Iterator[TrainingFrame]:
        """Yield the frames of a file.

        Raises:
            InputError: It cannot be read.
        """
        return (TrainingFrame(key, files) for key, files in frames_in(shard))


def _index(path: Path) -> list[_Row]:
    try:
        from pyarrow import ArrowInvalid, parquet
    except ModuleNotFoundError:
        way = to_install("pyarrow")
        raise InputError(f"a training set needs the package pyarrow: {way}") from None
    columns = ["key", "shard", "first_byte", "bytes"]
    try:
        rows = parquet.read_table(path, columns=columns).to_pylist()
    except FileNotFoundError:
        raise InputError(f"{path.parent}: has no finished training set ({path.name})") from None
    except (ArrowInvalid, OSError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    return [_Row(r["key"], r["shard"], _place(r["first_byte"], r["bytes"])) for r in rows]


def _place(first: int | None, count: int | None) -> tuple[int, int] | None:
    return None if first is None or count is None else (first, count)
