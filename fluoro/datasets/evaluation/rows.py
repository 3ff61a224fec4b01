"""Results so far, one JSON object a line: a run that was ended goes on where it stood."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from fluoro.errors import InputError
from fluoro.files.atomic_write import replacing, writing

__all__ = ["Row", "Rows"]

Row = dict[str, Any]
KEY = ("task", "subject", "view", "start")
"""What tells a row from others."""


class Rows:
    """The rows of one run and what it was started with.

    Args:
        folder: Where rows.jsonl and settings.json lie; made if need be.
        settings: What decides the rows.

    Attributes:
        all: The rows, in the order in which they came.

    Raises:
        InputError: The folder has rows of other settings, or damaged ones.
        OutputError: It cannot be written.
    """

    def __init__(self, folder: Path, settings: Row) -> None:
        self._path = folder / "rows.jsonl"
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        _require_same(folder / "settings.json", settings)
        self.all = _read(self._path)
        self._there = {_key(row) for row in self.all}

    def has(self, **key: Any) -> bool:
        """Return whether the row of a task, subject, view and start is there."""
        return _key(key) in self._there

    def add(self, row: Row) -> None:
        """Keep a row, on disk when this returns.

        Raises:
            OutputError: It cannot be written; the file has whole rows only.
        """
        data = (json.dumps(row, allow_nan=False) + "\n").encode()
        with writing(self._path), self._path.open("ab") as file:
            before = file.tell()
            try:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                os.truncate(self._path, before)
                raise
        self.all.append(row)
        self._there.add(_key(row))


def _require_same(path: Path, settings: Row) -> None:
    if not path.is_file():
        with replacing(path) as file:
            file.write(json.dumps(settings, indent=2) + "\n")
        return
    try:
        earlier = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read: {error}; give another --output") from None
    if earlier.get("files") != settings.get("files"):
        raise InputError(
            f"{path.parent}: the data set has changed since the first rows: its SHA-256 was "
            f"{_sha256(earlier)}, now it is {_sha256(settings)}: give another --output"
        )
    for name in sorted({*earlier, *settings}):
        if earlier.get(name) != settings.get(name):
            raise InputError(
                f"{path.parent}: was started with {name} {earlier.get(name)}, now it is "
                f"{settings.get(name)}: give another --output"
            )


def _sha256(settings: Row) -> str:
    return str((settings.get("files") or {}).get("sha256"))


def _read(path: Path) -> list[Row]:
    """Whole rows; one that was cut off when the program ended is taken away."""
    if not path.is_file():
        return []
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        with writing(path):
            os.truncate(path, len(whole))
    try:
        return [json.loads(line) for line in whole.splitlines()]
    except ValueError as error:
        raise InputError(f"{path}: is damaged: {error}; give another --output") from None


def _key(row: Row) -> tuple[Any, ...]:
    return tuple(row.get(name) for name in KEY)
