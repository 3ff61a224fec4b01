"""Folders with attenuation that is ready to render: ours, and those that fluorosim writes.

Both hold `mu_volume.npy`. Ours says the rest in `volume.json` with checksums, and what fluorosim
reads of it in `metadata.json` besides; fluorosim's own have `metadata.json` alone.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import InputError, OutputError
from fluoro.volume.attenuation_slices import MuPlanes
from fluoro.volume.formats.array import mapped_array
from fluoro.volume.grid import IDENTITY_DIRECTION, Vector3, VolumeGrid
from fluoro.volume.slice_reader import VolumePlanes
from fluoro.volume.store.atomic_folder import staged_folder
from fluoro.volume.store.volume_folder import (
    FACTS_NAME,
    VOXELS_NAME,
    DamagedError,
    Progress,
    read_volume_folder,
    write_volume_folder,
)
from fluoro.volume.value_statistics import StatisticsCounter, ValueStatistics
from fluoro.volume.volumes import MuVolume

__all__ = [
    "METADATA_NAME",
    "is_preprocessed",
    "is_ready",
    "open_preprocessed",
    "preprocessed_files",
    "preprocessed_planes",
    "require_new_folder",
    "write_preprocessed",
]

log = logging.getLogger(__name__)

METADATA_NAME = "metadata.json"
OUR_FILES = {VOXELS_NAME, FACTS_NAME, METADATA_NAME}


def is_preprocessed(path: Path) -> bool:
    """Return whether a path is a folder with attenuation in it."""
    return (path / VOXELS_NAME).is_file()


def preprocessed_files(folder: Path) -> list[Path]:
    """Its files that count."""
    return [folder / name for name in sorted(OUR_FILES) if (folder / name).is_file()]


def open_preprocessed(folder: Path | str) -> MuVolume:
    """Return the volume of a folder, memory-mapped: nothing is copied.

    Raises:
        InputError: It is damaged or has changed since it was made, its voxels are no attenuation,
            or they are stored in another way than they are rendered (see `preprocessed_planes`).
    """
    folder = Path(folder)
    if (folder / FACTS_NAME).is_file():
        return _open_ours(folder)
    mu_zyx, grid, facts = _open_fluorosims(folder)
    if mu_zyx.dtype != np.float32 or not mu_zyx.flags.c_contiguous:
        raise InputError(f"{folder / VOXELS_NAME}: must be C-ordered float32, got {mu_zyx.dtype}")
    tally = StatisticsCounter()
    for plane in _checked(folder, mu_zyx):
        tally.count_mu(plane)
    statistics = tally.statistics(_claimed(facts).water(), _range(facts, "hu_range"))
    return MuVolume(mu_zyx=mu_zyx, grid=grid, source=str(folder), statistics=statistics)


def preprocessed_planes(folder: Path) -> tuple[VolumePlanes, ValueStatistics | None]:
    """Attenuation of a folder plane by plane, whatever its type and order, and what it says of it.

    Raises:
        InputError: As `open_preprocessed`.
    """
    if (folder / FACTS_NAME).is_file():
        volume = _open_ours(folder)
        mu_zyx, grid, statistics = volume.mu_zyx, volume.grid, volume.statistics
    else:
        mu_zyx, grid, facts = _open_fluorosims(folder)
        statistics = _claimed(facts)

    def read(start: int, stop: int) -> Iterator[NDArray[Any]]:
        return _checked(folder, mu_zyx[start:stop])

    return VolumePlanes(grid=grid, source=str(folder), read=read), statistics


def is_ready(folder: Path) -> bool:
    """Return whether the voxels can be rendered as they are stored; ours always can."""
    if (folder / FACTS_NAME).is_file():
        return True
    voxels = _map(folder)
    return voxels.dtype == np.float32 and voxels.flags.c_contiguous


def require_new_folder(folder: Path, *, overwrite: bool) -> None:
    """Check that a folder may be written.

    Raises:
        OutputError: Something lies there; with `overwrite`: something else than a preprocessed
            volume.
    """
    try:
        found = sorted(path.name for path in folder.iterdir())
    except FileNotFoundError:
        return
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written: {error.strerror or error}") from None
    others = [name for name in found if name not in OUR_FILES]
    if others:
        raise OutputError(
            f"{folder}: holds other files ({others[0]}); give a folder of its own with --output"
        )
    if found and not overwrite:
        raise OutputError(f"{folder}: exists; give another with --output, or --overwrite")


def write_preprocessed(
    folder: Path,
    planes: MuPlanes,
    *,
    key: Mapping[str, Any],
    overwrite: bool = False,
    progress: Progress = lambda _: None,
) -> MuVolume:
    """Write attenuation as a folder that fluoro and fluorosim read, whole or not at all.

    Args:
        folder: Where; its parents are made.
        planes: What to write.
        key: What it is made from and with, for the record.
        overwrite: Whether an earlier preprocessed volume may be replaced.
        progress: Told the fraction written, 0 to 1.

    Raises:
        OutputError: Something lies there, or it cannot be written; nothing of it is left.
        InputError: The source cannot be read.
    """

    def is_usable() -> bool:
        require_new_folder(folder, overwrite=overwrite)
        return False

    require_new_folder(folder, overwrite=overwrite)
    advice = "choose a folder with --output"
    with staged_folder(folder, is_usable, what="the volume", advice=advice) as stage:
        write_volume_folder(
            stage,
            key=key,
            grid=planes.grid,
            source=planes.source,
            planes=planes,
            statistics=planes.statistics,
            progress=progress,
        )
        text = json.dumps(_metadata(planes, key), indent=2)
        (stage / METADATA_NAME).write_text(text, encoding="utf-8")
    return _open_ours(folder, just_written=True)


def _metadata(planes: MuPlanes, key: Mapping[str, Any]) -> dict[str, Any]:
    """As fluorosim's VolumeMetadata."""
    statistics = planes.statistics()
    return {
        "shape_zyx": planes.grid.shape_zyx,
        "spacing_zyx_mm": planes.grid.spacing_xyz_mm[::-1],
        "origin_xyz_mm": planes.grid.origin_xyz_mm,
        "hu_range": statistics.hu_range,
        "mu_range": statistics.mu_range,
        "source": planes.source,
        "calibration": dict(key),
    }


def _open_ours(folder: Path, *, just_written: bool = False) -> MuVolume:
    try:
        return read_volume_folder(folder, just_written=just_written)[0]
    except DamagedError as error:
        raise InputError(
            f"{folder}: is damaged or has changed since it was made: {error}"
        ) from None


def _open_fluorosims(folder: Path) -> tuple[NDArray[Any], VolumeGrid, dict[str, Any]]:
    facts, mu_zyx = _read_metadata(folder), _map(folder)
    try:
        z, y, x = (float(value) for value in facts["spacing_zyx_mm"])
        shape_zyx = tuple(int(count) for count in facts["shape_zyx"])
        origin = [float(value) for value in facts.get("origin_xyz_mm") or (0, 0, 0)]
        grid = VolumeGrid(
            shape_zyx=(shape_zyx[0], shape_zyx[1], shape_zyx[2]),
            spacing_xyz_mm=(x, y, z),
            origin_xyz_mm=(origin[0], origin[1], origin[2]),
            direction=_direction(facts),
        )
    except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else error
        raise InputError(f"{folder / METADATA_NAME}: {reason}") from None
    if mu_zyx.shape != shape_zyx:
        raise InputError(
            f"{folder / VOXELS_NAME}: must have shape {shape_zyx}, as {METADATA_NAME} says, "
            f"got {mu_zyx.shape}"
        )
    if facts.get("direction") is None:
        log.warning(
            "%s: its %s does not say how the patient lies; its axes are taken as L, P, S",
            folder,
            METADATA_NAME,
        )
    return mu_zyx, grid, facts


def _direction(facts: Mapping[str, Any]) -> tuple[Vector3, Vector3, Vector3]:
    """Rows of the 9 numbers that our few-line API adds; fluorosim's own has none."""
    if facts.get("direction") is None:
        return IDENTITY_DIRECTION
    a, b, c, d, e, f, g, h, i = (float(value) for value in facts["direction"])
    return (a, b, c), (d, e, f), (g, h, i)


def _read_metadata(folder: Path) -> dict[str, Any]:
    path = folder / METADATA_NAME
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"{folder}: holds {VOXELS_NAME}, but neither {FACTS_NAME} nor {METADATA_NAME}"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    if not isinstance(facts, dict):
        raise InputError(f"{path}: must hold a JSON object, got {type(facts).__name__}")
    return facts


def _map(folder: Path) -> NDArray[Any]:
    path = folder / VOXELS_NAME
    try:
        voxels = mapped_array(path)
    except Exception as error:  # noqa: BLE001  (a damaged header of NumPy's raises all kinds)
        text = " ".join(str(error).split())
        raise InputError(f"{path}: is no NumPy array that can be read: {text}") from None
    if voxels.dtype.kind != "f" or voxels.ndim != 3:
        raise InputError(
            f"{path}: must be 3 axes of floating-point numbers, got {voxels.dtype} {voxels.shape}"
        )
    return np.asarray(voxels)


def _checked(folder: Path, mu_zyx: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """The planes, as long as they are attenuation."""
    for plane in mu_zyx:
        low, high = float(plane.min()), float(plane.max())
        if not 0 <= low <= high < math.inf:
            raise InputError(
                f"{folder / VOXELS_NAME}: attenuation must be finite and at least 0 /mm, "
                f"got {low:g} to {high:g}"
            )
        yield plane


def _claimed(facts: Mapping[str, Any]) -> ValueStatistics:
    """What the metadata says of the numbers."""
    hu_range, mu_range = _range(facts, "hu_range"), _range(facts, "mu_range")
    if mu_range is None:
        return ValueStatistics(hu_range=None, mu_range=(0.0, 0.0))
    return ValueStatistics(hu_range=hu_range, mu_range=mu_range)


def _range(facts: Mapping[str, Any], key: str) -> tuple[float, float] | None:
    try:
        low, high = (float(value) for value in facts[key])
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return (low, high) if -math.inf < low <= high < math.inf else None
