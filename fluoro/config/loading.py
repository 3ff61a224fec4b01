"""From a YAML file and the command line to a checked configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from fluoro.config.application import Config
from fluoro.config.carm_presets import carm_presets
from fluoro.config.section import Section, given_on_command_line, paths_relative_to
from fluoro.config.validation_errors import described_errors
from fluoro.config.volume import VolumeConfig
from fluoro.config.yaml_text import parse_yaml, read_mapping
from fluoro.errors import InputError

__all__ = [
    "DATASET_KEY",
    "PRESET_KEY",
    "PRESET_KEYS",
    "REGISTRATION_KEY",
    "Whole",
    "load_config",
    "load_sections",
    "origin",
    "overridden_document",
    "volume_config",
]


def load_config(path: Path | str, overrides: Sequence[str] = ()) -> Config:
    """Read, override and validate a YAML file.

    Args:
        path: The YAML file; paths inside it are taken relative to its folder.
        overrides: `key.path=value` strings from the command line, the value in YAML; paths in
            them are taken relative to the working folder.

    Raises:
        InputError: Unreadable file, malformed YAML or override, or values that do not fit; the
            message has one line per error; each names the file and the key.
    """
    return load_sections(Config, Path(path), overrides)


Whole = TypeVar("Whole", bound=Section)


def load_sections(model: type[Whole], path: Path, overrides: Sequence[str] = ()) -> Whole:
    """Read, override and validate a YAML file of any kind.

    Args:
        model: Of the whole file.
        path: The YAML file; paths inside it are taken relative to its folder.
        overrides: `key.path=value` strings from the command line, the value in YAML; paths in
            them are taken relative to the working folder.

    Raises:
        InputError: As `load_config`.
    """
    document = read_mapping(path)
    if model is Config and REGISTRATION_KEY in document:
        raise InputError(f"{path}: describes a registration: app.py register {path}")
    if model is Config and DATASET_KEY in document:
        raise InputError(f"{path}: describes a training set: app.py dataset {path}")
    for override in _preset_first(overrides):
        _apply_override(document, override)
    try:
        return model.model_validate(document, context=paths_relative_to(path.resolve().parent))
    except ValidationError as error:
        lines = [
            f"{origin(key, overrides, path)}: {f'{key}: ' if key else ''}{text}"
            for key, text in described_errors(error, model)
        ]
        raise InputError("\n".join(lines)) from None


REGISTRATION_KEY = "target"
"""A file with this section describes a registration (fluoro.registration.config)."""

DATASET_KEY = "dataset"
"""A file with this section describes a training set (fluoro.datasets.training.config)."""


def overridden_document(path: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """Return what a YAML file holds after `--set`, not validated.

    Args:
        path: The YAML file.
        overrides: `key.path=value` strings from the command line, the value in YAML; its
            texts are `CommandLineText`.

    Raises:
        InputError: An unreadable file, malformed YAML or override.
    """
    document = read_mapping(path)
    for override in _preset_first(overrides):
        _apply_override(document, override)
    return document


def volume_config(given: Mapping[str, Any], overrides: Sequence[str] = ()) -> VolumeConfig:
    """Return a volume that is described on the command line alone.

    Args:
        given: Keys of the section `volume`.
        overrides: `volume.key=value` strings; paths in them are relative to the working folder.

    Raises:
        InputError: As `load_config`, or `given` is no mapping.
    """
    if not isinstance(given, Mapping):
        raise InputError(f"volume must be a mapping of its keys, got {type(given).__name__}")
    document = {"volume": dict(given), "pose_source": {"kind": "static"}}
    for override in overrides:
        key = _apply_override(document, override)
        if not key.startswith("volume."):
            raise InputError(f"--set {key}: must be a key of volume, such as volume.spacing_mm")
    try:
        return Config.model_validate(document).volume
    except ValidationError as error:
        lines = [f"command line: {key}: {text}" for key, text in described_errors(error, Config)]
        raise InputError("\n".join(lines)) from None


PRESET_KEY = "carm.preset"
PRESET_KEYS = tuple(next(iter(carm_presets().values())))
"""A preset from the command line counts more than the lengths that the file gives."""


def _preset_first(overrides: Sequence[str]) -> list[str]:
    """The overrides with the preset before what is given beside it."""
    return sorted(overrides, key=lambda override: override.partition("=")[0] != PRESET_KEY)


def _apply_override(document: dict[str, Any], override: str) -> str:
    """Set a key of the document and return its path."""
    key, equals, text = override.partition("=")
    parts = key.split(".")
    if not equals or not all(parts):
        raise InputError(f"--set must be key.path=value, got {override!r}")
    section = document
    for part in parts[:-1]:
        if section.get(part) is None:
            section[part] = {}
        section = section[part]
        if not isinstance(section, dict):
            raise InputError(f"--set {key}: {part} is not a section")
    section[parts[-1]] = given_on_command_line(_value(text, f"--set {key}"))
    if key == PRESET_KEY and section["preset"] is not None:
        for filled_in in PRESET_KEYS:
            section.pop(filled_in, None)
    return key


def _value(text: str, where: str) -> Any:
    """Return the value of a setting; a # in plain text begins no comment."""
    value = parse_yaml(text, where)
    plain = text.strip()
    return plain if isinstance(value, str) and plain.startswith(f"{value} ") else value


def origin(key: str, overrides: Sequence[str], path: Path) -> str:
    """Return where a key was given: "command line", or the file's path.

    Args:
        key: Path of the key; empty: the file as a whole.
        overrides: `key.path=value` strings from the command line.
        path: The YAML file.

    Raises:
        InputError: The file can no longer be read.
    """
    overridden = [override.partition("=")[0] for override in overrides]
    given_there = any(f"{key}.".startswith(f"{other}.") for other in overridden)
    above = any(other.startswith(f"{key}.") for other in overridden)
    made_there = above and key not in _paths_in(read_mapping(path))
    return "command line" if key and (given_there or made_there) else str(path)


def _paths_in(section: Mapping[str, Any], before: str = "") -> Iterator[str]:
    """Yield the path of every key of a document."""
    for key, value in section.items():
        yield f"{before}{key}"
        if isinstance(value, Mapping):
            yield from _paths_in(value, f"{before}{key}.")
