"""The volume that a configuration names, as attenuation: from the cache, or made and kept there."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fluoro import plugins
from fluoro.config import BodyConfig, HuToMuConfig, LinearMap, ReadOptions, VolumeConfig
from fluoro.errors import InputError, require_type
from fluoro.volume.attenuation_slices import MuPlanes
from fluoro.volume.hu_to_mu import HuToMu, LinearCurve, PhysicalCurve
from fluoro.volume.open_ct import open_ct
from fluoro.volume.slice_reader import VolumePlanes, planes_of
from fluoro.volume.store.atomic_folder import content_sha256
from fluoro.volume.store.fetch import volume_path
from fluoro.volume.store.preprocessed_folder import (
    is_preprocessed,
    is_ready,
    open_preprocessed,
    preprocessed_files,
    preprocessed_planes,
    require_new_folder,
    write_preprocessed,
)
from fluoro.volume.store.volume_cache import CacheKey, open_volume, store_volume
from fluoro.volume.value_statistics import ValueStatistics
from fluoro.volume.volumes import HuVolume, MuVolume

__all__ = [
    "Progress",
    "body_choices",
    "hu_to_mu",
    "load_volume",
    "phantom_code",
    "phantom_spacing_mm",
    "preprocess_volume",
]

log = logging.getLogger(__name__)

Progress = Callable[[str, float], None]
"""Told what is being done, and which fraction of it, 0 to 1."""

PHANTOMS = {
    "body": "fluoro.volume.phantom.body.body:make_body",
    "thorax": "fluoro.volume.phantom.thorax:make_thorax",
}
"""What makes fluoro's own phantoms; imported when one is made, because a cached one needs none."""
PHANTOM_SPACING_MM, WHOLE_BODY_SPACING_MM = 1.4, 2.0
PHANTOM_FILES = ("phantom/**/*.py", "data/body_*.csv")
"""What fluoro's own phantoms are made from."""
CT_KEYS = (
    *("hu_to_mu", "hu_clip_min", "hu_clip_max", "bone_multiplier"),
    *ReadOptions.model_fields,
)
"""Of a volume's configuration; without effect on attenuation that is ready."""


@dataclass(frozen=True, kw_only=True)
class _Source:
    """Where a volume comes from.

    Attributes:
        name: For records and messages.
        identity: What identifies the content.
        open: Gets CT numbers, or attenuation and what is known of it.
        is_mu: Whether it is attenuation.
        verb: What `open` does.
    """

    name: str
    identity: dict[str, str | float]
    open: Callable[[], tuple[VolumePlanes, ValueStatistics | None]]
    is_mu: bool = False
    verb: str = "reading"

    @property
    def label(self) -> str:
        """Short name, for a progress bar."""
        return Path(self.name).name

    @property
    def opening(self) -> str:
        """What `open` does, for a progress bar."""
        return f"{self.verb} {self.label}"


def load_volume(config: VolumeConfig, progress: Progress | None = None) -> MuVolume:
    """Return the configured volume as linear attenuation [1/mm], memory-mapped.

    A first load reads the CT or makes the phantom, which takes seconds; `progress` reports it. The
    result is kept in the cache; a preprocessed folder is mapped where it lies, unless it is to be
    cropped or resampled. Where labels change it, it is a copy in memory.

    Raises:
        InputError: `config` is no VolumeConfig, or the CT cannot be used or has not been fetched.
        OutputError: The cache's folder is full or cannot be written.
    """
    require_type("config", config, VolumeConfig, "fluoro.config.volume_config")
    tell: Progress = progress or (lambda _what, _fraction: None)
    volume = _loaded(config, tell)
    if config.labels is None:
        return volume
    from fluoro.volume.labels.load import shaped_by_labels

    return shaped_by_labels(volume, config)


def phantom_spacing_mm(config: VolumeConfig) -> float:
    """Edge of the voxels that a phantom is made with [mm]."""
    whole = config.body is not None and config.body.region == "whole"
    return min(config.spacing_mm or [WHOLE_BODY_SPACING_MM if whole else PHANTOM_SPACING_MM])


def _loaded(config: VolumeConfig, tell: Progress) -> MuVolume:
    if config.path and is_preprocessed(config.path) and _is_used_as_it_is(config):
        _require_no_ct_keys(config)
        return open_preprocessed(config.path)
    source = _source(config, tell)
    key = CacheKey(source=source.identity, settings=_settings(config, source))
    cached = open_volume(key)
    if cached is None:
        planes = _mu_planes(config, source, tell)
        cached = store_volume(
            key,
            grid=planes.grid,
            source=source.name,
            planes=planes,
            statistics=planes.statistics,
            progress=lambda fraction: tell(f"attenuation of {source.label}", fraction),
        )
    _say_what_is_doubtful(source.name, cached, config)
    return replace(cached, source=source.name)


def preprocess_volume(
    config: VolumeConfig,
    folder: Path | str,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> MuVolume:
    """Write the configured volume as a folder that `volume.path` may name, and map it.

    Args:
        config: Which volume, and how it is made.
        folder: Where; it must not exist, or be empty.
        overwrite: Replace a preprocessed volume that lies there.
        progress: Told what is being done, and which fraction of it.

    Raises:
        InputError: The CT cannot be used.
        OutputError: Something lies there already, or it cannot be written.
    """
    folder = Path(folder)
    tell: Progress = progress or (lambda _what, _fraction: None)
    require_new_folder(folder, overwrite=overwrite)
    source = _source(config, tell)
    volume = write_preprocessed(
        folder,
        _mu_planes(config, source, tell),
        key=CacheKey(source=source.identity, settings=_settings(config, source)).facts(),
        overwrite=overwrite,
        progress=lambda fraction: tell(f"attenuation of {source.label}", fraction),
    )
    _say_what_is_doubtful(source.name, volume, config)
    return volume


def hu_to_mu(config: VolumeConfig) -> HuToMu:
    """Return the configured way from CT numbers to attenuation."""
    return HuToMu(
        curve=_curve(config.hu_to_mu),
        bone_multiplier=config.bone_multiplier,
        hu_clip_min=config.hu_clip_min,
        hu_clip_max=config.hu_clip_max,
    )


def _curve(config: HuToMuConfig) -> PhysicalCurve | LinearCurve:
    if isinstance(config, LinearMap):
        return LinearCurve(**config.model_dump(exclude={"kind"}))
    return PhysicalCurve(energy_kev=config.energy_kev)


def _source(config: VolumeConfig, tell: Progress) -> _Source:
    if config.path is None:
        return _phantom(config, tell)
    if is_preprocessed(config.path):
        _require_no_ct_keys(config)
        return _preprocessed(config.path, tell)
    return _file(config.path, config, tell)


def _settings(config: VolumeConfig, source: _Source) -> dict[str, Any]:
    """All that shapes the volume, as JSON holds it."""
    crop = config.crop_mm
    return {
        "hu_to_mu": None if source.is_mu else hu_to_mu(config).facts(),
        "spacing_mm": config.spacing_mm,
        "crop_mm": None if crop is None else {"min": crop.min, "max": crop.max},
    }


def _mu_planes(config: VolumeConfig, source: _Source, tell: Progress) -> MuPlanes:
    tell(source.opening, 0.0)
    planes, known = source.open()
    tell(source.opening, 1.0)
    crop = config.crop_mm
    return MuPlanes(
        replace(planes, source=source.name),
        to_mu=None if source.is_mu else hu_to_mu(config),
        crop_mm=None if crop is None else (crop.min, crop.max),
        spacing_xyz_mm=config.spacing_mm,
        known=known,
    )


def _say_what_is_doubtful(name: str, volume: MuVolume, config: VolumeConfig) -> None:
    """Warnings of lost contrast, of numbers that are hardly HU, and of a masked background.

    Padding below the range is air in any case, and a part cut out may have none.
    """
    statistics = volume.statistics
    for doubt in statistics.doubts() if statistics and config.crop_mm is None else []:
        log.warning("%s: %s", name, doubt)
    if statistics and statistics.remark():
        level = logging.WARNING if statistics.above else logging.INFO
        log.log(level, "%s: %s", name, statistics.remark())


def _is_used_as_it_is(config: VolumeConfig) -> bool:
    unchanged = config.spacing_mm is None and config.crop_mm is None
    return config.path is not None and unchanged and is_ready(config.path)


def _require_no_ct_keys(config: VolumeConfig) -> None:
    for key in CT_KEYS:
        if getattr(config, key) != VolumeConfig.model_fields[key].default:
            raise InputError(
                f"volume.{key}: has no effect on {config.path}, which holds attenuation already"
            )


def _file(path: Path, options: ReadOptions, tell: Progress) -> _Source:
    ct = open_ct(volume_path(path), options)
    hashes = {f"sha256_{number}": _checked(part, tell) for number, part in enumerate(ct.files)}
    return _Source(
        name=str(path),
        identity={"kind": ct.kind, **_made_choices(options), **hashes},
        open=lambda: (ct.planes, None),
    )


def _made_choices(options: ReadOptions) -> dict[str, str]:
    """What a cache key must hold of the options."""
    return {key: json.dumps(value, sort_keys=True) for key, value in options.given().items()}


def _checked(path: Path, tell: Progress) -> str:
    return content_sha256(path, lambda fraction: tell(f"checking {path.name}", fraction))


def _preprocessed(folder: Path, tell: Progress) -> _Source:
    hashes = {path.name: _checked(path, tell) for path in preprocessed_files(folder)}
    return _Source(
        name=str(folder),
        identity={"kind": "attenuation", **hashes},
        open=lambda: preprocessed_planes(folder),
        is_mu=True,
    )


def _phantom(config: VolumeConfig, tell: Progress) -> _Source:
    phantom, spacing_mm = config.phantom or "thorax", phantom_spacing_mm(config)
    choices = body_choices(config)
    what = f" ({', '.join(choices.values())})" if choices else ""
    name = f"{phantom} phantom{what}, {spacing_mm:g} mm"

    def painted(share: float) -> None:
        tell(f"making {name}", share)

    code = phantom_code(phantom)
    return _Source(
        name=name,
        identity={"kind": phantom, "spacing_mm": spacing_mm, "code_sha256": code, **choices},
        open=lambda: (planes_of(_phantom_hu(config, spacing_mm, painted)), None),
        verb="making",
    )


def body_choices(config: VolumeConfig) -> dict[str, str]:
    """Return what identifies a body beside its code; empty for other phantoms."""
    if config.phantom != "body":
        return {}
    chosen = (config.body or BodyConfig()).model_dump()
    return {key: f"{value}" for key, value in chosen.items() if value is not None}


def _phantom_hu(
    config: VolumeConfig, spacing_mm: float, painted: Callable[[float], None]
) -> HuVolume:
    phantom = config.phantom or "thorax"
    maker = plugins.imported(_phantoms()[phantom], f"volume.phantom: {phantom}")
    made: HuVolume
    if phantom == "body":
        from fluoro.volume.phantom.patient import build_of, region_of

        made = maker(spacing_mm, painted, region=region_of(config), build=build_of(config))
    else:
        made = maker(spacing_mm, painted)
    return made


def _phantoms() -> dict[str, Any]:
    return plugins.extend("phantoms", PHANTOMS, plugins.given("phantoms"))


def phantom_code(phantom: str = "thorax") -> str:
    """Return the SHA-256 of a phantom's source files: another phantom is another cache entry.

    They are the Python files beside the module that makes it; of fluoro's own, its tables too.

    Raises:
        InputError: A plugin's phantom that is not named as `module:function`.
    """
    maker = _phantoms()[phantom]
    place = importlib.util.find_spec(maker.partition(":")[0]) if isinstance(maker, str) else None
    if place is None or place.origin is None:
        raise plugins.error("phantoms", phantom, f"must be module:function, got {maker!r}")
    hasher = hashlib.sha256()
    for path in _phantom_files(phantom, Path(place.origin)):
        hasher.update(path.name.encode() + path.read_bytes())
    return hasher.hexdigest()


def _phantom_files(phantom: str, module: Path) -> list[Path]:
    if phantom not in PHANTOMS:
        return sorted(module.parent.glob("*.py"))
    room = Path(__file__).parent
    return sorted(path for pattern in PHANTOM_FILES for path in room.glob(pattern))
