"""Presets: a whole configuration as a file, schema version 1 (JSON Schema draft 2020-12)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from fluoro.config.yaml_text import read_mapping
from fluoro.errors import InputError
from fluoro.files.atomic_write import replacing, writing
from fluoro.fluorosim.config import FrameFormat
from fluoro.xray_simulator.display import Appearance, Scaling

__all__ = ["checked_preset", "get_preset_schema", "read_preset", "write_preset"]

SUFFIXES = (".json", ".yaml", ".yml")


def _whole(value: object) -> object:
    """A whole number written with a point is an integer, as in JSON Schema."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _number(value: object) -> object:
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


Whole = Annotated[int, BeforeValidator(_whole)]
Number = Annotated[float, BeforeValidator(_number)]
Above = Annotated[float, BeforeValidator(_number), Field(gt=0)]
Least = Annotated[float, BeforeValidator(_number), Field(ge=0)]
Window = Annotated[list[Number], Field(min_length=2, max_length=2)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class _Beam(_Part):
    i0: Above = 1.0
    step_mm: Above = 0.5


class _Geometry(_Part):
    source_to_detector_mm: Above = 1020.0
    source_to_isocenter_mm: Above = 510.0


class _Detector(_Part):
    width_px: Annotated[Whole, Field(ge=1)] = 512
    height_px: Annotated[Whole, Field(ge=1)] = 512
    pixel_spacing_mm: Above = 0.5


class _Realism(_Part):
    enabled: bool = False
    gain: Least = 1.0
    bias: Number = 0.0
    poisson_photons: Least = 0.0
    gaussian_sigma: Least = 0.0
    blur_sigma_px: Least = 0.0
    seed: Annotated[Whole, Field(ge=0)] | None = 0


class _Display(_Part):
    polarity: Appearance = "fluoro"
    scaling: Scaling = "log"
    log_window: Window = [0.0, 6.0]
    window: Window = [0.0, 1.0]
    gamma: Above = 1.0


class _PostProcessing(_Part):
    realism: _Realism
    display: _Display


class _Output(_Part):
    save_to_disk: bool = False
    output_dir: str | None = None
    format: FrameFormat = "png"
    keep_in_gpu: bool = False
    keep_intensity: bool = False


class _Metrics(_Part):
    enabled: bool = False
    track_fps: bool = True
    track_gpu_usage: bool = True
    track_jitter: bool = True


class _Ends(_Part):
    hu_min: Number = -1000.0
    hu_max: Number = 3000.0
    mu_min: Least = 0.0
    mu_max: Least = 0.02


class _WindowLevel(_Part):
    window_center: Number
    window_width: Above
    mu_min: Least = 0.0
    mu_max: Least = 0.02


class _Points(_Part):
    control_points: Annotated[list[Window], Field(min_length=2)]


class _Preprocessing(_Part):
    clip_hu: bool = True
    hu_clip_min: Number = -1024.0
    hu_clip_max: Number = 3071.0
    hu_to_mu: _Points | _WindowLevel | _Ends = _Ends()


class _Preset(_Part):
    """A configuration of X-ray or fluoroscopy."""

    schema_version: Annotated[Literal[1], BeforeValidator(_whole)]
    modality: Literal["xray"]
    beam: _Beam
    geometry: _Geometry
    detector: _Detector
    post_processing: _PostProcessing
    backend: Literal["slang"] = "slang"
    output: _Output = _Output()
    metrics: _Metrics = _Metrics()
    preprocessing: _Preprocessing = _Preprocessing()


def get_preset_schema() -> dict[str, Any]:
    """Return the JSON Schema of a preset."""
    dialect = "https://json-schema.org/draft/2020-12/schema"
    return {"$schema": dialect, **_Preset.model_json_schema()}


def read_preset(path: Path) -> dict[str, Any]:
    """Return a preset's file as plain data, its defaults filled in.

    Raises:
        InputError: No such file, another suffix, or a key or value that a preset has not.
    """
    _require_suffix(path)
    document = _json(path) if path.suffix.lower() == ".json" else read_mapping(path)
    try:
        return checked_preset(document)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def checked_preset(document: Any) -> dict[str, Any]:
    """Return a preset's plain data, checked, its defaults filled in.

    Raises:
        InputError: A key or value that a preset has not; the message names the key.
    """
    try:
        return _Preset.model_validate(document).model_dump()
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        got = repr(first["input"])[:60]
        raise InputError(f"{where}: {first['msg']}, got {got}") from None


def _require_suffix(path: Path) -> None:
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{path}: must end in {', '.join(SUFFIXES)}")


def _json(path: Path) -> Any:
    def once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise InputError(f"the key {key!r} stands there twice")
            found[key] = value
        return found

    try:
        return json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=once)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except ValueError as error:
        raise InputError(f"{path}: is no JSON: {error}") from None


def write_preset(document: dict[str, Any], path: Path) -> Path:
    """Write a preset, whole or not at all; return the absolute path.

    Raises:
        InputError: Another suffix.
        OutputError: The file cannot be written.
    """
    _require_suffix(path)
    text = _text(path, document)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        file.write(text)
    return path.absolute()


def _text(path: Path, document: dict[str, Any]) -> str:
    if path.suffix.lower() == ".json":
        return json.dumps(document, indent=2) + "\n"
    import yaml

    return str(yaml.safe_dump(document, sort_keys=False))
