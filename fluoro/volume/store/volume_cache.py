"""Attenuation volumes kept on disk, memory-mapped when read: a second start is quick.

`<cache>/volumes/<key>/` is a folder as volume_folder.py writes it. The key is a hash of the
source's content and of the settings, so that a changed file or setting finds another entry. A
damaged entry is reported and made again.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import OutputError
from fluoro.paths import cache_dir
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.store.atomic_folder import staged_folder
from fluoro.volume.store.volume_folder import (
    FACTS_NAME,
    DamagedError,
    digest,
    read_volume_folder,
    write_volume_folder,
)
from fluoro.volume.value_statistics import ValueStatistics
from fluoro.volume.volumes import MuVolume

__all__ = ["CacheKey", "open_volume", "store_volume"]

log = logging.getLogger(__name__)

FORMAT_VERSION = 2
"""Of the folder's layout and of the map from CT numbers; a change invalidates all entries."""


@dataclass(frozen=True, kw_only=True)
class CacheKey:
    """What a cached volume was made from, completely.

    Attributes:
        source: What identifies the source's content.
        settings: All settings that shape the volume, as JSON holds them.
    """

    source: Mapping[str, str | float]
    settings: Mapping[str, Any]

    def facts(self) -> dict[str, Any]:
        """Return the key as JSON holds it."""
        return {
            "format": FORMAT_VERSION,
            "source": dict(self.source),
            "settings": dict(self.settings),
        }

    def folder(self) -> Path:
        """Return where its volume lies, if it has been made."""
        return cache_dir() / "volumes" / digest(self.facts())[:32]


def open_volume(key: CacheKey) -> MuVolume | None:
    """The volume of this key, memory-mapped; None if there is none or it is damaged (logged)."""
    folder = key.folder()
    if not folder.exists():
        return None
    try:
        return _open(folder, key)
    except DamagedError as error:
        log.warning("%s: the cached volume is damaged and is made again: %s", folder, error)
        return None


def store_volume(
    key: CacheKey,
    *,
    grid: VolumeGrid,
    source: str,
    planes: Iterable[NDArray[np.float32]],
    statistics: Callable[[], ValueStatistics | None] = lambda: None,
    progress: Callable[[float], None] = lambda _: None,
) -> MuVolume:
    """Write a volume plane by plane, and map it.

    If another process has stored the same in the meantime, that one is taken.

    Args:
        key: Hash of its sources and settings.
        grid: Where its voxels lie.
        source: What to call its source in records and messages.
        planes: Linear attenuation [1/mm], one (y, x) plane for each z.
        statistics: Asked after the last plane.
        progress: Told the fraction written, 0 to 1.

    Raises:
        OutputError: The cache's folder is full, cannot be written or does not keep what is.
        InputError: Planes of another number or shape than the grid's.
    """
    folder = key.folder()
    with staged_folder(folder, lambda: _is_usable(folder, key)) as stage:
        write_volume_folder(
            stage,
            key=key.facts(),
            grid=grid,
            source=source,
            planes=planes,
            statistics=statistics,
            progress=progress,
        )
    try:
        return _open(folder, key, just_written=True)
    except DamagedError as error:
        raise OutputError(f"{folder}: the cache does not keep what is written: {error}") from None


def _is_usable(folder: Path, key: CacheKey) -> bool:
    try:
        _open(folder, key)
    except DamagedError:
        return False
    return True


def _open(folder: Path, key: CacheKey, *, just_written: bool = False) -> MuVolume:
    volume, found = read_volume_folder(folder, just_written=just_written)
    if found != json.loads(json.dumps(key.facts())):
        raise DamagedError(f"{FACTS_NAME} belongs to another source or setting")
    return volume
