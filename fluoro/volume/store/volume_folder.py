"""A folder with an attenuation volume: `mu_volume.npy` (float32, z y x) and `volume.json`.

`volume.json` holds the grid, the source, ranges, what the volume was made from and with, and
checksums, so that a folder that is not what was written is noticed.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import InputError, OutputError
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.host_memory import in_gib
from fluoro.volume.store.atomic_folder import content_sha256
from fluoro.volume.value_statistics import ValueStatistics
from fluoro.volume.volumes import MuVolume

__all__ = [
    "FACTS_NAME",
    "VOXELS_NAME",
    "DamagedError",
    "digest",
    "read_volume_folder",
    "write_volume_folder",
]

VOXELS_NAME, FACTS_NAME = "mu_volume.npy", "volume.json"
SAMPLES, SAMPLE_BYTES = 64, 1 << 16
"""Pieces of the voxels' file, spread evenly from its first to its last byte, checked on reading."""
Progress = Callable[[float], None]


class DamagedError(Exception):
    """A folder that does not hold what it should; the message says what."""


def write_volume_folder(
    folder: Path,
    *,
    key: Mapping[str, Any],
    grid: VolumeGrid,
    source: str,
    planes: Iterable[NDArray[np.float32]],
    statistics: Callable[[], ValueStatistics | None] = lambda: None,
    progress: Progress = lambda _: None,
) -> None:
    """Fill an empty folder, plane by plane.

    Args:
        folder: It exists.
        key: What the volume is made from and with, as JSON holds it.
        grid: Where its voxels lie.
        source: What to call its source in records and messages.
        planes: Linear attenuation [1/mm], one (y, x) plane for each z.
        statistics: Asked after the last plane.
        progress: Told the fraction written, 0 to 1.

    Raises:
        OSError: The folder cannot be written.
        OutputError: The disk has no room for it, found out before anything is written.
        InputError: Planes of another number or shape than the grid's.
    """
    _require_room(folder, grid)
    voxels = folder / VOXELS_NAME
    with voxels.open("wb") as file:
        sha256 = _write_npy(file, grid, planes, progress)
    known = statistics()
    facts = {
        "key": key,
        "source": source,
        "grid": asdict(grid),
        "figures": None if known is None else known.facts(),
        "bytes": voxels.stat().st_size,
        "sha256": sha256,
        "samples_sha256": _samples_sha256(voxels),
    }
    document = {"checksum": digest(facts), "volume": facts}
    (folder / FACTS_NAME).write_text(json.dumps(document, indent=1), encoding="utf-8")


def read_volume_folder(
    folder: Path, *, just_written: bool = False
) -> tuple[MuVolume, dict[str, Any]]:
    """Return the volume, memory-mapped, and the key it was written with.

    All voxels are read through once after each change of their file (its hash is remembered with
    its time stamps); at other times samples of them are.

    Args:
        folder: Where it lies.
        just_written: Samples are enough.

    Raises:
        DamagedError: It is not what was written, or not there.
    """
    try:
        facts = _read_facts(folder)
        volume = _map_voxels(folder, facts)
        if not just_written:
            _require_all_voxels(folder, facts)
        return volume, facts["key"]
    except (
        InputError,
        OSError,
        ValueError,
        LookupError,
        TypeError,
        ArithmeticError,
        RecursionError,
    ) as error:
        raise DamagedError(str(error)) from error


def digest(facts: Mapping[str, Any]) -> str:
    """Return the SHA-256 of what JSON holds, however it is ordered."""
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _require_room(folder: Path, grid: VolumeGrid) -> None:
    needed, free = 4 * math.prod(grid.shape_zyx), shutil.disk_usage(folder).free
    if needed > free:
        raise OutputError(
            f"{folder.parent}: has no room for the volume: needs {in_gib(needed)}, "
            f"{in_gib(free)} are free"
        )


def _write_npy(
    file: BinaryIO, grid: VolumeGrid, planes: Iterable[NDArray[np.float32]], progress: Progress
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


def _read_facts(folder: Path) -> dict[str, Any]:
    document = json.loads((folder / FACTS_NAME).read_text(encoding="utf-8"))
    facts: dict[str, Any] = document["volume"]
    if document["checksum"] != digest(facts):
        raise DamagedError(f"{FACTS_NAME} does not match its checksum")
    voxels = folder / VOXELS_NAME
    if voxels.stat().st_size != facts["bytes"]:
        raise DamagedError(
            f"{VOXELS_NAME} must have {facts['bytes']} bytes, got {voxels.stat().st_size}"
        )
    if _samples_sha256(voxels) != facts["samples_sha256"]:
        raise DamagedError(f"{VOXELS_NAME} does not match its checksum")
    return facts


def _map_voxels(folder: Path, facts: Mapping[str, Any]) -> MuVolume:
    grid, statistics = facts["grid"], facts["figures"]
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
        statistics=None if statistics is None else ValueStatistics.from_facts(statistics),
    )


def _require_all_voxels(folder: Path, facts: Mapping[str, Any]) -> None:
    start = facts["bytes"] - 4 * math.prod(facts["grid"]["shape_zyx"])
    if content_sha256(folder / VOXELS_NAME, start=start) != facts["sha256"]:
        raise DamagedError(f"{VOXELS_NAME} does not match its checksum")


def _samples_sha256(path: Path) -> str:
    """SHA-256 of pieces spread over a file; of the whole file if it is no longer than they are."""
    hasher = hashlib.sha256()
    last = max(0, path.stat().st_size - SAMPLE_BYTES)
    with path.open("rb") as file:
        for start in np.linspace(0, last, SAMPLES).astype(int).tolist():
            file.seek(start)
            hasher.update(file.read(SAMPLE_BYTES))
    return hasher.hexdigest()
