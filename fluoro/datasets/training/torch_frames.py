"""Training sets in PyTorch: by number, or file after file, shuffled and split by rank."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from fluoro.datasets.training.reader import TrainingFrame, TrainingSet, listed
from fluoro.errors import InputError

__all__ = ["TrainingFrames", "TrainingStream"]

Item = dict[str, Any]

log = logging.getLogger(__name__)


class TrainingFrames(Dataset):  # type: ignore[misc, unused-ignore]
    """Frames by number, for a DataLoader with any sampler.

    An item has `image`, float32 (1, height, width); `masks`, bool (K, height, width); `boxes`,
    float32 (K, 4), left, top, right and bottom in pixels, NaN where a structure is not in the
    image; `pixel_from_camera` and `camera_from_world`, float64; `landmarks`, float32 (N, 2), NaN
    where one is not in the image; `key`.

    Args:
        folder: Of the set.
        structures: Names of the K structures; None: those of the first frame.

    Raises:
        InputError: There is no finished set in the folder, or `structures` is no list.
    """

    def __init__(self, folder: Path | str, structures: Sequence[str] | None = None) -> None:
        self.frames = TrainingSet(Path(folder))
        self.structures = _structures(self.frames, structures)

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, number: int) -> Item:
        """Return an item."""
        return item_of(self.frames[number], self.structures)


class TrainingStream(IterableDataset):  # type: ignore[misc, unused-ignore]
    """Frames file after file, as fast as a disk reads; items as those of `TrainingFrames`.

    Each file is read by one worker of one rank. A rank's files depend on seed and epoch alone.
    Ranks have different numbers of frames where files cannot be divided evenly among them.

    Args:
        folder: Of the set.
        structures: Names of the K structures; None: those of the first frame.
        buffer: Frames from which the next one is drawn; 1: the order of the files.
        seed: Of the order of files and frames.
        rank: Of this process among those that train.
        ranks: Number of these processes.

    Raises:
        InputError: There is no finished set in the folder, `structures` is no list, or a rank is
            outside of 0 to ranks - 1.
    """

    def __init__(
        self,
        folder: Path | str,
        structures: Sequence[str] | None = None,
        *,
        buffer: int = 256,
        seed: int = 0,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        if not 0 <= rank < ranks:
            raise InputError(f"rank must be 0 to {ranks - 1}, got {rank}")
        if buffer < 1:
            raise InputError(f"buffer must be at least 1, got {buffer}")
        self.frames = TrainingSet(Path(folder))
        self.structures = _structures(self.frames, structures)
        self._buffer, self._seed, self._rank, self._ranks = buffer, seed, rank, ranks
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order: another one in every epoch."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[Item]:
        worker = get_worker_info()
        part, parts = (worker.id, worker.num_workers) if worker else (0, 1)
        draw = np.random.default_rng([self._seed, self._epoch])
        shards = self.frames.shards
        order = draw.permutation(len(shards))[self._rank :: self._ranks][part::parts]
        mine = [shards[place] for place in order]
        read = (frame for shard in mine for frame in self.frames.frames_of(shard))
        for frame in _shuffled(read, self._buffer, draw):
            yield item_of(frame, self.structures)


def _structures(frames: TrainingSet, given: Sequence[str] | None) -> tuple[str, ...]:
    known = frames[0].structures if len(frames) else []
    wanted = tuple(known if given is None else listed(given))
    if known and (missing := [name for name in wanted if name not in known]):
        log.warning(
            "%s: its first frame has no structure %s (its masks are empty there); it has %s",
            *(frames.folder, ", ".join(missing), ", ".join(known)),
        )
    return wanted


def _shuffled(
    frames: Iterator[TrainingFrame], size: int, draw: np.random.Generator
) -> Iterator[TrainingFrame]:
    """Frames in a drawn order, of which `size` wait."""
    waiting: list[TrainingFrame] = []
    for frame in frames:
        waiting.append(frame)
        if len(waiting) >= size:
            yield _drawn(waiting, draw)
    while waiting:
        yield _drawn(waiting, draw)


def _drawn(waiting: list[TrainingFrame], draw: np.random.Generator) -> TrainingFrame:
    place = int(draw.integers(len(waiting)))
    waiting[place], waiting[-1] = waiting[-1], waiting[place]
    return waiting.pop()


def item_of(frame: TrainingFrame, structures: Sequence[str]) -> Item:
    """Return a frame as tensors; see `TrainingFrames`."""
    points = [point or (np.nan, np.nan) for point in frame.landmarks.values()]
    return {
        "image": torch.from_numpy(frame.image)[None],
        "masks": torch.from_numpy(frame.masks(structures)),
        "boxes": torch.from_numpy(frame.boxes_px(structures)),
        "landmarks": torch.from_numpy(np.array(points, np.float32).reshape(-1, 2)),
        "pixel_from_camera": torch.from_numpy(frame.pixel_from_camera),
        "camera_from_world": torch.from_numpy(frame.camera_from_world),
        "key": frame.key,
    }
