"""Attenuation volumes kept on disk, memory-mapped when read: a second start is quick.

`<cache>/volumes/<key>/` holds `mu_volume.npy` (float32, z y x) and `volume.json` (grid, source,
settings, checksums). The key is a hash of the source's content and of the settings, so that a
changed file or setting finds another entry. A damaged entry is said and made again.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import InputError, OutputError
from fluoro.paths import cache_dir
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.staging import staged_folder
from fluoro.volume.volumes import MuVolume

__all__ = ["CacheKey", "open_volume", "store_volume"]

log = logging.getLogger(__name__)

FORMAT_VERSION = 1
"""Of the folder's layout and of the map from CT numbers; a change makes all entries anew."""
VOXELS_NAME, FACTS_NAME = "mu_volume.npy", "volume.json"
SAMPLES, SAMPLE_BYTES = 64, 1 << 16
"""Pieces of the voxels' file, spread evenly from its first to its last byte, checked on reading."""


@dataclass(frozen=True, kw_only=True)
class CacheKey:
    """What a cached volume was made from, completely.

    Attributes:
        source: What identifies the source's content.
        settings: All settings that shape the volume.
    """

    source: Mapping[str, str | float]
    settings: Mapping[str, str | float]

    def facts(self) -> dict[str, Any]:
        """The key as JSON holds it."""
        return {
            "format": FORMAT_VERSION,
            "source": dict(self.source),
            "settings": dict(self.settings),
        }

    def folder(self) -> Path:
        """Where its volume lies, if it has been made."""
        return cache_dir() / "volumes" / _digest(self.facts())[:32]


class _DamagedError(Exception):
    """An entry that does not hold what it should; the message says what."""


def open_volume(key: CacheKey) -> MuVolume | None:
    """The volume of this key, memory-mapped; None if there is none or it is damaged (logged)."""
    folder = key.folder()
    if not folder.exists():
        return None
    try:
        return _open(folder, key)
    except _DamagedError as error:
        log.warning("%s: the cached volume is damaged and is made again: %s", folder, error)
        return None


def store_volume(
    key: CacheKey,
    *,
    grid: VolumeGrid,
    source: str,
    planes: Iterable[NDArray[np.float32]],
    progress: Callable[[float], None] = lambda _: None,
) -> MuVolume:
    """Write a volume plane by plane, and map it.

    If another process has stored the same in the meantime, that one is taken.

    Args:
        key: What it is made from.
        grid: Where its voxels lie.
        source: What to call its source in records and messages.
        planes: Linear attenuation [1/mm], one (y, x) plane for each z.
        progress: Told the fraction written, 0 to 1.

    Raises:
        OutputError: The cache's folder is full, cannot be written or does not keep what is.
        InputError: Planes of another number or shape than the grid's.
    """
    folder = key.folder()
    with staged_folder(folder, lambda: _is_usable(folder, key)) as stage:
        voxels = stage / VOXELS_NAME
        with voxels.open("wb") as file:
            sha256 = _write_npy(file, grid, planes, progress)
        facts = {
            "key": key.facts(),
            "source": source,
            "grid": asdict(grid),
            "bytes": voxels.stat().st_size,
            "sha256": sha256,
            "samples_sha256": _samples_sha256(voxels),
        }
        document = {"checksum": _digest(facts), "volume": facts}
        (stage / FACTS_NAME).write_text(json.dumps(document, indent=1), encoding="utf-8")
    try:
        return _open(folder, key)
    except _DamagedError as error:
        raise OutputError(f"{folder}: the cache does not keep what is written: {error}") from None


def _is_usable(folder: Path, key: CacheKey) -> bool:
    try:
        _open(folder, key)
    except _DamagedError:
        return False
    return True


def _open(folder: Path, key: CacheKey) -> MuVolume:
    try:
        return _map_voxels(folder, _read_facts(folder, key))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _DamagedError(str(error)) from error


def _write_npy(
    file: BinaryIO,
    grid: VolumeGrid,
    planes: Iterable[NDArray[np.float32]],
    progress: Callable[[float], None],
) -> str:
    """Stream the planes (a full disk is an error here, not a bus error as in a mapped file)."""
    hasher, count = hashlib.sha256(), 0
    np.lib.format.write_array_header_1_0(
        file, {"descr": "<f4", "fortran_order": False, "shape": grid.shape_zyx}
    )
    for count, plane in enumerate(planes, 1):
        if plane.shape != grid.shape_zyx[1:] or count > grid.shape_zyx[0]:
            raise InputError(f"plane {count} must fit {grid.shape_zyx}, got {plane.shape}")
        raw = np.ascontiguousarray(plane, "<f4").data
        file.write(raw)
        hasher.update(raw)
        progress(count / grid.shape_zyx[0])
    if count != grid.shape_zyx[0]:
        raise InputError(f"planes must be {grid.shape_zyx[0]}, got {count}")
    return hasher.hexdigest()


def _read_facts(folder: Path, key: CacheKey) -> dict[str, Any]:
    document = json.loads((folder / FACTS_NAME).read_text(encoding="utf-8"))
    facts: dict[str, Any] = document["volume"]
    if document["checksum"] != _digest(facts):
        raise _DamagedError(f"{FACTS_NAME} does not match its checksum")
    if facts["key"] != json.loads(json.dumps(key.facts())):
        raise _DamagedError(f"{FACTS_NAME} belongs to another source or setting")
    voxels = folder / VOXELS_NAME
    if voxels.stat().st_size != facts["bytes"]:
        raise _DamagedError(
            f"{VOXELS_NAME} must have {facts['bytes']} bytes, got {voxels.stat().st_size}"
        )
    if _samples_sha256(voxels) != facts["samples_sha256"]:
        raise _DamagedError(f"{VOXELS_NAME} does not match its checksum")
    return facts


def _map_voxels(folder: Path, facts: Mapping[str, Any]) -> MuVolume:
    grid = facts["grid"]
    x, y, z = (tuple(row) for row in grid["direction"])
    return MuVolume(
        mu_zyx=np.load(folder / VOXELS_NAME, mmap_mode="r", allow_pickle=False),
        grid=VolumeGrid(
            shape_zyx=tuple(grid["shape_zyx"]),
            spacing_xyz_mm=tuple(grid["spacing_xyz_mm"]),
            origin_xyz_mm=tuple(grid["origin_xyz_mm"]),
            direction=(x, y, z),
        ),
        source=facts["source"],
    )


def _samples_sha256(path: Path) -> str:
    """SHA-256 of pieces spread over a file; of the whole file if it is no longer than they are."""
    hasher = hashlib.sha256()
    last = max(0, path.stat().st_size - SAMPLE_BYTES)
    with path.open("rb") as file:
        for start in np.linspace(0, last, SAMPLES).astype(int).tolist():
            file.seek(start)
            hasher.update(file.read(SAMPLE_BYTES))
    return hasher.hexdigest()


def _digest(facts: Mapping[str, Any]) -> str:
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
