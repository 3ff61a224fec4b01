"""The plan of a training set for its workers, and what a worker reports."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fluoro.config.loading import DATASET_KEY
from fluoro.config.section import paths_relative_to
from fluoro.datasets.training.config import DatasetConfig, DatasetFile
from fluoro.datasets.training.shards import SUFFIXES

__all__ = ["Plan", "ShardReport"]

PARTS = "parts"
"""Folder of the reports, one for each finished file."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a worker needs to make a file of the set.

    Attributes:
        file: The training set's file.
        out: Folder of the set.
        threads: CPU threads that render; 0: one per core. Without effect on a GPU.
    """

    file: DatasetFile
    out: Path
    threads: int = 1

    def text(self) -> str:
        """Return the plan as text, for another process."""
        return json.dumps(
            {
                "document": self.file.document,
                "folder": str(self.file.folder),
                "out": str(self.out),
                "threads": self.threads,
            }
        )

    @classmethod
    def from_text(cls, text: str) -> Plan:
        """Return the plan of a text."""
        found = json.loads(text)
        file = file_of(found["document"], Path(found["folder"]))
        return cls(file=file, out=Path(found["out"]), threads=found["threads"])

    def shard_path(self, number: int) -> Path:
        """Return the path of a file of the set."""
        return self.out / f"shard-{number:06d}{SUFFIXES[self.file.config.format]}"

    def report_path(self, number: int) -> Path:
        """Return the path of a finished file's report."""
        return self.out / PARTS / f"shard-{number:06d}.json"


def file_of(document: Mapping[str, Any], folder: Path) -> DatasetFile:
    """Return the file that a checked document is of."""
    section = dict(document[DATASET_KEY])
    if isinstance(section.get("time_s"), dict):
        del section["time_s"]
    config = DatasetConfig.model_validate(section, context=paths_relative_to(folder))
    return DatasetFile(config=config, document=dict(document), folder=folder)


@dataclass(frozen=True, kw_only=True)
class ShardReport:
    """What is known of a finished file.

    Attributes:
        shard: Its number.
        sha256: Of its bytes.
        bytes: Their number.
        rows: Of the index, one for each frame.
        left_out: Number of frames that could not be made, by the reason.
    """

    shard: int
    sha256: str
    bytes: int
    rows: list[dict[str, Any]] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)

    def text(self) -> str:
        """Return the report as text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> ShardReport:
        """Return the report of a text.

        Raises:
            ValueError: The text is not a report.
        """
        try:
            return cls(**json.loads(text))
        except TypeError as error:
            raise ValueError(str(error)) from None
