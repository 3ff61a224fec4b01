"""What each frame of a training set is: a configuration without distributions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from fluoro.config import Config
from fluoro.config.loading import DATASET_KEY
from fluoro.config.section import paths_relative_to
from fluoro.config.validation_errors import described_errors
from fluoro.datasets.training.chance import Chance, drawn_seed
from fluoro.datasets.training.config import DatasetConfig, DatasetFile, Seconds
from fluoro.datasets.training.distributions import DISTRIBUTIONS
from fluoro.errors import InputError
from fluoro.poses.base import PoseSourceSection

__all__ = ["FrameSpec", "Sampler", "checked_config"]

OF_A_CASE = ("volume", "annotations", "renderer", "image_chain.xray")
"""Keys whose values take seconds to prepare."""


@dataclass(frozen=True, kw_only=True)
class FrameSpec:
    """All that decides what a frame shows.

    Attributes:
        index: Number of the frame in the data set, from 0.
        case: Number of its case.
        document: A stream's file of one frame, as JSON can hold it.
        time_s: When the frame is taken [s].
    """

    index: int
    case: int
    document: dict[str, Any]
    time_s: float

    @property
    def key(self) -> str:
        """Name of the frame in its file."""
        return f"{self.index:08d}"


class Sampler:
    """Draws frames.

    Args:
        file: The training set's file.
    """

    def __init__(self, file: DatasetFile) -> None:
        self.config: DatasetConfig = file.config
        self._document = file.document

    def spec(self, index: int) -> FrameSpec:
        """Return a frame's specification; it depends on file and index alone.

        Args:
            index: Number of the frame, from 0.

        Raises:
            InputError: `time_s` is not a number of at least 0.
        """
        seed, case = self.config.seed, index // self.config.frames_per_case
        drawing = _Drawing(seed, index, case)
        made = {key: drawing.value(value, key) for key, value in self._document.items()}
        time_s = _seconds(made.pop(DATASET_KEY).get("time_s", 0.0))
        made["run"] = {"seed": drawn_seed(seed, index), "frames": 1}
        return FrameSpec(index=index, case=case, document=made, time_s=time_s)


def _seconds(value: object) -> float:
    try:
        return float(TypeAdapter(Seconds).validate_python(value))
    except ValidationError:
        raise InputError(f"dataset.time_s: must be 0 to 1000000 s, got {value}") from None


class _Drawing:
    """Values of one frame."""

    def __init__(self, seed: int, index: int, case: int) -> None:
        self._seed, self._index, self._case = seed, index, case

    def value(self, value: Any, key: str) -> Any:
        """Return a value of the file without its distributions."""
        of_case = any(f"{key}.".startswith(f"{each}.") for each in OF_A_CASE)
        number = self._case if of_case else self._index
        return self._at(value, key, Chance(self._seed, number, key))

    def _at(self, value: Any, key: str, chance: Chance) -> Any:
        if isinstance(value, list):
            return self._list(value, key, chance)
        if not isinstance(value, dict):
            return value
        word = next((name for name in value if str(name).startswith("$")), None)
        found = {
            name: self._inside(each, f"{key}.{name}", chance.at(name))
            for name, each in value.items()
            if name != word
        }
        return found if word is None else self._drawn(word, value[word], key, chance, found)

    def _list(self, values: list[Any], key: str, chance: Chance) -> list[Any]:
        """The values; those of a $repeat stand in its place."""
        found: list[Any] = []
        for number, each in enumerate(values):
            made = self._at(each, f"{key}.{number}", chance.at(number))
            several = isinstance(each, dict) and each.keys() == {"$repeat"}
            found.extend(made if several else [made])
        return found

    def _inside(self, value: Any, key: str, chance: Chance) -> Any:
        """A value in a section: a costly key's begins with its own number."""
        return self.value(value, key) if key in OF_A_CASE else self._at(value, key, chance)

    def _drawn(
        self, word: str, given: Any, key: str, chance: Chance, beside: Mapping[str, Any]
    ) -> Any:
        distribution = DISTRIBUTIONS[word].model_validate(given)
        found = distribution.drawn(
            chance.at(word), lambda value, below: self._at(value, key, below)
        )
        if not beside:
            return found
        if not isinstance(found, dict):
            raise InputError(f"{key}: {word} draws {found!r}, which cannot have keys beside it")
        twice = sorted(found.keys() & beside.keys())
        if twice:
            raise InputError(f"{key}: {twice[0]} is drawn by {word} and stands beside it")
        return {**found, **beside}


def checked_config(spec: FrameSpec, folder: Path) -> Config:
    """Return a frame's configuration.

    Args:
        spec: The frame.
        folder: To which paths are relative.

    Raises:
        InputError: Values that do not fit, in one line for each; poses that no function of time
            gives.
    """
    try:
        config = Config.model_validate(spec.document, context=paths_relative_to(folder))
    except ValidationError as error:
        lines = [f"frame {spec.index}: {k}: {text}" for k, text in described_errors(error, Config)]
        raise InputError("\n".join(lines)) from None
    source = config.pose_source
    if type(source).make is not PoseSourceSection.make or source.by_hand:
        kind = source.word()
        raise InputError(f"pose_source.kind: {kind} has no pose for a single frame; use static")
    return config
