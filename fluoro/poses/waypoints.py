"""Poses from a file of way-points."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from fluoro.config.section import FilePath
from fluoro.errors import InputError
from fluoro.poses.base import PoseSourceSection

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fluoro.geometry.carm import CarmPose
    from fluoro.geometry.trajectory import Trajectory

__all__ = ["WaypointPoses", "read_waypoints"]


class WaypointPoses(PoseSourceSection):
    """Poses from a file, interpolated in SE(3) between their times: each turn the shorter way.

    CSV with a header line, or JSON with a list of objects; columns `time_s`, `lao_deg`,
    `cra_deg`, and optionally `roll_deg`, `x_mm`, `y_mm`, `z_mm`.
    """

    kind: Literal["waypoints"]
    path: FilePath = Field(description="CSV or JSON file, relative to the YAML file.")
    repeat: bool = Field(False, description="Start again after the last one; else hold it.")

    def check(self) -> None:
        """Read the file, so that an error in it is known before the volume is loaded."""
        read_waypoints(self.path)

    def trajectory(self, seed: int = 0) -> Trajectory:
        """Return pose by time [s]."""
        del seed
        from fluoro.geometry.trajectory import waypoint_trajectory

        return waypoint_trajectory(*read_waypoints(self.path), repeat=self.repeat)


REQUIRED_COLUMNS = ("time_s", "lao_deg", "cra_deg")
OPTIONAL_COLUMNS = ("roll_deg", "x_mm", "y_mm", "z_mm")


def read_waypoints(path: Path | str) -> tuple[NDArray[np.float64], list[CarmPose]]:
    """Return times [s], strictly rising, and poses of a CSV or JSON file.

    Raises:
        InputError: Missing or unreadable file, missing or unknown columns, values that are not
            finite numbers, or times that do not rise; the message names file and row.
    """
    path = Path(path)
    rows = _read_rows(path)
    if not rows:
        raise InputError(f"{path}: must hold at least one way-point, got none")
    table = [_row(path, number, row) for number, row in enumerate(rows, start=1)]
    import numpy as np

    times_s = np.array([row["time_s"] for row in table])
    if np.any(np.diff(times_s) <= 0):
        row = int(np.argmax(np.diff(times_s) <= 0)) + 2
        raise InputError(
            f"{path}: row {row}: time_s must be greater than in the row before "
            f"({times_s[row - 2]:g}), got {times_s[row - 1]:g}"
        )
    return times_s, [_waypoint(row) for row in table]


def _read_rows(path: Path) -> list[Mapping[str, Any]]:
    import json

    parsers: dict[str, Callable[[str], Any]] = {".csv": _csv_rows, ".json": json.loads}
    parse = parsers.get(path.suffix.lower())
    if parse is None:
        raise InputError(f"{path}: way-points must be in a .csv or .json file")
    try:
        rows = parse(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: must be UTF-8 text") from None
    except (ValueError, RecursionError, csv.Error) as error:
        raise InputError(f"{path}: not a valid file of way-points: {error}") from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InputError(f"{path}: must be a list of objects with {', '.join(REQUIRED_COLUMNS)}")
    return rows


def _csv_rows(text: str) -> list[Mapping[str, Any]]:
    """Rows of a CSV file by the names of its header line; each as long as that."""
    lines = csv.reader(text.splitlines(), skipinitialspace=True, strict=True)
    names = [name.strip() for name in next(lines, [])]
    rows = [row for row in lines if row]
    if len(set(names)) < len(names):
        raise ValueError("a column is named twice")
    for number, row in enumerate(rows, start=1):
        if len(row) != len(names):
            raise ValueError(f"row {number} has {len(row)} values, the header {len(names)}")
    return [dict(zip(names, row, strict=True)) for row in rows]


def _row(path: Path, number: int, row: Mapping[str, Any]) -> dict[str, float]:
    unknown = sorted(set(row) - {*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS})
    missing = sorted(set(REQUIRED_COLUMNS) - set(row))
    if unknown:
        known = ", ".join((*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS))
        raise InputError(f"{path}: row {number}: unknown column {unknown[0]!r}; known: {known}")
    if missing:
        raise InputError(f"{path}: row {number}: column {missing[0]} is missing")
    return {name: _number(path, number, name, value) for name, value in row.items()}


def _number(path: Path, row: int, name: str, value: object) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{path}: row {row}: {name} must be a finite number, got {value!r}")
    return number


def _waypoint(row: Mapping[str, float]) -> CarmPose:
    from fluoro.geometry.carm import CarmPose

    return CarmPose(
        lao_deg=row["lao_deg"],
        cra_deg=row["cra_deg"],
        roll_deg=row.get("roll_deg", 0.0),
        translation_mm=(row.get("x_mm", 0.0), row.get("y_mm", 0.0), row.get("z_mm", 0.0)),
    )
