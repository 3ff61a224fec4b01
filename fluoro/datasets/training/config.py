"""The YAML of a training set: a stream's sections with distributions in them, and `dataset`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, model_validator

from fluoro.config import FilePath, Section
from fluoro.config.loading import DATASET_KEY, origin, overridden_document
from fluoro.config.section import CommandLineText, paths_relative_to
from fluoro.config.validation_errors import KeyValueError, described_errors
from fluoro.config.yaml_text import read_mapping
from fluoro.datasets.training.distributions import DISTRIBUTIONS, Files
from fluoro.errors import InputError
from fluoro.names import TrainingFormat, TrainingPixels

__all__ = [
    "DatasetConfig",
    "DatasetFile",
    "is_dataset_file",
    "load_dataset_file",
]

Seconds = Annotated[float, Field(ge=0, le=1e6)]

SECTIONS = ("volume", "carm", "pose_source", "renderer", "image_chain", "annotations")
"""Of a stream's file, what shapes a frame."""


class DatasetConfig(Section):
    """How large a training set is, and how its frames are written; `time_s` may be drawn."""

    frames: Annotated[int, Field(ge=1, le=10**8)] = Field(description="How many.")
    seed: Annotated[int, Field(ge=0, lt=2**63)] = Field(0, description="Of all that is drawn.")
    frames_per_case: Annotated[int, Field(ge=1, le=10**6)] = Field(
        50,
        description="Consecutive frames that share what is drawn for `volume`, `annotations`, "
        "`renderer` and `image_chain.xray`, which take seconds to prepare.",
    )
    frames_per_shard: Annotated[int, Field(ge=1, le=10**6)] = Field(
        100, description="Frames of a file; a file is made by one worker and written whole."
    )
    format: TrainingFormat = Field(
        "webdataset", description="webdataset: tar files; hdf5: a group for each frame."
    )
    pixels: TrainingPixels = Field(
        "float16",
        description="Display values [0, 1] as floats, times 65535 as uint16 or png16, times 255 as "
        "png8.",
    )
    time_s: Seconds = Field(
        0.0, description="When the frame is taken [s], for motion, contrast and moving poses."
    )
    output_dir: FilePath | None = Field(
        None,
        description="Parent of the folder, relative to the YAML file; null: "
        "FLUORO_OUTPUT_DIR or ./output.",
    )

    @model_validator(mode="after")
    def _cases_fit_into_shards(self) -> DatasetConfig:
        case, shard = self.frames_per_case, self.frames_per_shard
        if max(case, shard) % min(case, shard):
            raise KeyValueError(
                "frames_per_shard",
                f"must be a multiple or a divisor of frames_per_case ({case}), got {shard}",
            )
        return self

    @property
    def shards(self) -> int:
        """Number of files."""
        return -(-self.frames // self.frames_per_shard)

    def frames_of(self, shard: int) -> range:
        """Return the numbers of a file's frames."""
        first = shard * self.frames_per_shard
        return range(first, min(first + self.frames_per_shard, self.frames))


@dataclass(frozen=True, kw_only=True)
class DatasetFile:
    """A training set's file, read.

    Attributes:
        config: The section `dataset`, with `time_s` left out where it is drawn.
        document: Everything, distributions in their places; patterns are lists of files.
        folder: To which paths are relative.
    """

    config: DatasetConfig
    document: dict[str, Any]
    folder: Path


def is_dataset_file(path: Path) -> bool:
    """Return whether a YAML file describes a training set.

    Raises:
        InputError: It cannot be read.
    """
    return DATASET_KEY in read_mapping(path)


def load_dataset_file(path: Path | str, overrides: Sequence[str] = ()) -> DatasetFile:
    """Read a training set's YAML file; frames are checked when they are drawn.

    Args:
        path: The YAML file; paths inside it are taken relative to its folder.
        overrides: `key.path=value` from the command line, the value in YAML; paths in them are
            taken relative to the working folder.

    Raises:
        InputError: An unreadable file, malformed YAML, a section that has no effect on a frame, a
            distribution that cannot be drawn from, a pattern without files.
    """
    path = Path(path)
    folder = path.resolve().parent
    document = {key: _placed(value) for key, value in overridden_document(path, overrides).items()}
    if DATASET_KEY not in document:
        raise InputError(f"{path}: needs a section dataset to describe a training set")
    _require_sections(path, document, overrides)
    config = _dataset_config(path, document[DATASET_KEY], overrides)
    document = _with_files(path, document, folder)
    _check(path, document, overrides)
    return DatasetFile(config=config, document=document, folder=folder)


def _require_sections(path: Path, document: dict[str, Any], overrides: Sequence[str]) -> None:
    for key in document:
        if key not in (DATASET_KEY, *SECTIONS):
            allowed = ", ".join((DATASET_KEY, *SECTIONS))
            where = origin(key, overrides, path)
            raise InputError(
                f"{where}: {key}: has no effect on a training set; its sections are {allowed}"
            )


def _dataset_config(path: Path, section: Any, overrides: Sequence[str]) -> DatasetConfig:
    given = section
    if isinstance(section, dict) and isinstance(section.get("time_s"), dict):
        given = {key: value for key, value in section.items() if key != "time_s"}
    try:
        return DatasetConfig.model_validate(given, context=paths_relative_to(path.resolve().parent))
    except ValidationError as error:
        found = [
            (".".join(filter(None, (DATASET_KEY, key))), text)
            for key, text in described_errors(error, DatasetConfig)
        ]
        raise InputError(_lines(found, overrides, path)) from None


def _lines(found: Sequence[tuple[str, str]], overrides: Sequence[str], path: Path) -> str:
    return "\n".join(f"{origin(key, overrides, path)}: {key}: {text}" for key, text in found)


def _placed(value: Any) -> Any:
    """The value with paths from the command line made absolute."""
    if isinstance(value, dict):
        return {key: _placed(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_placed(each) for each in value]
    if isinstance(value, CommandLineText):
        text = str(value)
        is_path = os.sep in text or (Path(text).suffix and Path(text).exists())
        return str(Path.cwd() / Path(text).expanduser()) if is_path else text
    return value


def _with_files(path: Path, value: Any, folder: Path) -> Any:
    """The value with patterns replaced by their files, sorted."""
    if isinstance(value, list):
        return [_with_files(path, each, folder) for each in value]
    if not isinstance(value, dict):
        return value
    found = {key: _with_files(path, each, folder) for key, each in value.items()}
    if isinstance(found.get("$files"), str):
        found["$files"] = _matching(path, found["$files"], folder)
    return found


def _matching(path: Path, pattern: str, folder: Path) -> list[str]:
    import glob

    matches = sorted(glob.glob(pattern, root_dir=folder, recursive=True))  # noqa: PTH207
    if not matches:
        raise InputError(f"{path}: $files: no file matches {pattern} in {folder}")
    return matches


def _check(path: Path, document: dict[str, Any], overrides: Sequence[str]) -> None:
    errors = list(_mistaken(document, ""))
    if errors:
        raise InputError(_lines(errors, overrides, path))


def _mistaken(value: Any, key: str) -> Iterator[tuple[str, str]]:
    """Yield the distributions that cannot be drawn from: the key, and what is wrong."""
    if isinstance(value, list):
        for number, each in enumerate(value):
            yield from _mistaken(each, f"{key}.{number}")
    if not isinstance(value, dict):
        return
    words = [name for name in value if str(name).startswith("$")]
    if len(words) > 1:
        yield key, f"must have one distribution, got {', '.join(words)}"
    elif words:
        yield from _mistaken_distribution(value[words[0]], words[0], key)
    for name, each in value.items():
        if name not in words:
            yield from _mistaken(each, f"{key}.{name}" if key else str(name))


def _mistaken_distribution(value: Any, word: str, key: str) -> Iterator[tuple[str, str]]:
    kind = DISTRIBUTIONS.get(word)
    if kind is None:
        yield key, f"unknown distribution {word}; there are {', '.join(DISTRIBUTIONS)}"
        return
    try:
        kind.model_validate(value)
    except ValidationError as error:
        for inner, text in described_errors(error, kind):
            yield ".".join(filter(None, (key, word, inner))), text
        return
    inside = value.get("of") if isinstance(value, dict) else value
    if kind is not Files:
        yield from _mistaken(inside, f"{key}.{word}")
