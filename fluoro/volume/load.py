"""The volume that a configuration names, as attenuation: from the cache, or made and kept there."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fluoro.config import VolumeConfig
from fluoro.volume.attenuation import mu_from_hu, mu_water_per_mm
from fluoro.volume.cache import CacheKey, open_volume, store_volume
from fluoro.volume.fetch import fetched_path
from fluoro.volume.readers import (
    file_format,
    read_header,
    read_hu,
    source_files,
    unoriented,
)
from fluoro.volume.staging import content_sha256
from fluoro.volume.volumes import HuVolume, MuVolume

__all__ = ["Progress", "load_volume", "volume_path"]

log = logging.getLogger(__name__)

Progress = Callable[[str, float], None]
"""Told what is being done, and which fraction of it, 0 to 1."""

CACHE_SCHEME = "cache:"


@dataclass(frozen=True, kw_only=True)
class _Source:
    """Where CT numbers come from.

    Attributes:
        name: For records and messages.
        identity: What identifies the content.
        read: Gets them; says what is doubtful about them in the log.
        caution: What `read` would say.
    """

    name: str
    identity: dict[str, str | float]
    read: Callable[[], HuVolume]
    caution: str = ""


def load_volume(config: VolumeConfig, progress: Progress | None = None) -> MuVolume:
    """The configured volume as linear attenuation [1/mm], memory-mapped from the cache.

    A first load reads the CT or makes the phantom, which takes seconds; `progress` is told.

    Raises:
        InputError: The CT cannot be used, or has not been fetched.
        OutputError: The cache's folder is full or cannot be written.
    """
    tell: Progress = progress or (lambda _what, _fraction: None)
    source = _phantom(config.spacing_mm) if config.path is None else _file(config.path)
    key = CacheKey(
        source=source.identity,
        settings={
            "energy_kev": config.energy_kev,
            "mu_water_per_mm": mu_water_per_mm(config.energy_kev),
        },
    )
    cached = open_volume(key)
    if cached is not None:
        if source.caution:
            log.warning(source.caution)
        return replace(cached, source=source.name)
    label = Path(source.name).name
    tell(f"reading {label}", 0.0)
    hu = source.read()
    tell(f"reading {label}", 1.0)
    return store_volume(
        key,
        grid=hu.grid,
        source=source.name,
        planes=_mu_planes(hu.hu_zyx, config.energy_kev),
        progress=lambda fraction: tell(f"attenuation of {label}", fraction),
    )


def volume_path(path: Path) -> Path:
    """The file that `volume.path` names: itself, or what `cache:chest-ct` stands for.

    Raises:
        InputError: An unknown name after `cache:`, or one that has not been fetched.
    """
    text = str(path)
    if not text.startswith(CACHE_SCHEME):
        return path
    return fetched_path(text.removeprefix(CACHE_SCHEME))


def _file(path: Path) -> _Source:
    file = volume_path(path)
    hashes = {
        f"sha256_{number}": content_sha256(part) for number, part in enumerate(source_files(file))
    }
    return _Source(
        name=str(path),
        identity={"kind": file_format(file).name, **hashes},
        read=lambda: read_hu(file),
        caution="" if read_header(file).oriented else unoriented(file),
    )


def _phantom(spacing_mm: float) -> _Source:
    return _Source(
        name=f"thorax phantom, {spacing_mm:g} mm",
        identity={"kind": "thorax", "spacing_mm": spacing_mm, "code_sha256": _phantom_code()},
        read=lambda: _phantom_hu(spacing_mm),
    )


def _phantom_hu(spacing_mm: float) -> HuVolume:
    # Imported here, because a cached phantom needs none of its code.
    from fluoro.volume.phantom import make_thorax

    return make_thorax(spacing_mm)


def _phantom_code() -> str:
    """SHA-256 of the phantom's own source files: another phantom is another cache entry."""
    hasher = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("phantom*.py")):
        hasher.update(path.name.encode() + path.read_bytes())
    return hasher.hexdigest()


def _mu_planes(
    hu_zyx: NDArray[np.int16] | NDArray[np.float32], energy_kev: float
) -> Iterator[NDArray[np.float32]]:
    """Attenuation plane by plane, in one plane's memory."""
    plane = np.empty((1, *hu_zyx.shape[1:]), np.float32)
    for z in range(len(hu_zyx)):
        yield mu_from_hu(hu_zyx[z : z + 1], energy_kev, out=plane)[0]
