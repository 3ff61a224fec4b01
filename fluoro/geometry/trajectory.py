"""Poses over time: each pose source of the configuration as a pure function of the run's time."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.config import (
    BagPoses,
    OrbitPoses,
    PoseConfig,
    PoseSourceConfig,
    RandomWalkPoses,
    ReceivedPoses,
    SweepPoses,
    WaypointPoses,
)
from fluoro.errors import InputError
from fluoro.geometry.carm import CarmPose
from fluoro.geometry.se3 import interpolate

__all__ = ["Trajectory", "make_trajectory", "read_waypoints", "waypoint_trajectory"]

Trajectory = Callable[[float], CarmPose]
"""Seconds since the run's start to the pose."""

ORIGIN = (0.0, 0.0, 0.0)
WAVES = 48
"""Sinusoids that a random walk is made of: enough for a normal distribution to the eye."""


def make_trajectory(source: PoseSourceConfig, seed: int = 0) -> Trajectory:
    """The poses of a source.

    Args:
        source: Its configuration; for the console the pose that it starts from, for DDS and
            bags the zero pose, which stands in until they are there.
        seed: Of the random walk.

    Raises:
        InputError: A file of way-points that cannot be used.
    """
    match source:
        case SweepPoses():
            return lambda time_s: _sweep(source, time_s)
        case OrbitPoses():
            return lambda time_s: _orbit(source, time_s)
        case WaypointPoses():
            return _waypoints(source)
        case RandomWalkPoses():
            return _random_walk(source, seed)
        case ReceivedPoses() | BagPoses():
            return lambda _time_s: CarmPose()
        case _:
            pose = _pose(source)
            return lambda _time_s: pose


def _pose(config: PoseConfig) -> CarmPose:
    return CarmPose(
        lao_deg=config.lao_deg,
        cra_deg=config.cra_deg,
        roll_deg=config.roll_deg,
        translation_mm=config.translation_mm,
    )


def _sweep(source: SweepPoses, time_s: float) -> CarmPose:
    half = (time_s / source.period_s) % 1.0 * 2
    lao = _there_and_back(source.lao_range_deg, min(half, 1.0))
    cra = _there_and_back(source.cra_range_deg, max(half - 1.0, 0.0))
    return CarmPose(
        lao_deg=lao, cra_deg=cra, roll_deg=source.roll_deg, translation_mm=source.translation_mm
    )


def _there_and_back(ends_deg: tuple[float, float], share: float) -> float:
    """Once through both ends and back to the angle nearest to 0, at rest at the start and end."""
    low, high = min(ends_deg), max(ends_deg)
    middle, reach = (low + high) / 2, (high - low) / 2
    if reach == 0:
        return middle
    nearest = (min(max(0.0, low), high) - middle) / reach
    start = math.asin(min(max(nearest, -1.0), 1.0))  # rounding may lead out of [-1, 1]
    eased = share - math.sin(2 * math.pi * share) / (2 * math.pi)
    return middle + reach * math.sin(start + 2 * math.pi * eased)


def _orbit(source: OrbitPoses, time_s: float) -> CarmPose:
    return CarmPose(
        lao_deg=source.start_deg + source.degrees_per_second * time_s,
        cra_deg=source.cra_deg,
        roll_deg=source.roll_deg,
        translation_mm=source.translation_mm,
    )


def _random_walk(source: RandomWalkPoses, seed: int) -> Trajectory:
    """A stationary Gaussian process, correlation exp(-(t / correlation_s)^2 / 2), as waves.

    Being a sum of sinusoids with drawn frequencies and phases, it is a function of time alone:
    any frame of it can be had without those before.
    """
    rng = np.random.default_rng(seed)
    frequency = rng.normal(0.0, 1.0 / source.correlation_s, (6, WAVES))
    phase = rng.uniform(0.0, 2 * math.pi, (6, WAVES))
    sigma = np.array([source.angle_sigma_deg] * 3 + [source.translation_sigma_mm] * 3)
    center = source.center

    def pose(time_s: float) -> CarmPose:
        waves = np.cos(frequency * time_s + phase).sum(axis=1) * math.sqrt(2 / WAVES)
        lao, cra, roll, *shift = (float(value) for value in sigma * waves)
        x, y, z = np.add(center.translation_mm, shift).tolist()
        return CarmPose(
            lao_deg=center.lao_deg + lao,
            cra_deg=center.cra_deg + cra,
            roll_deg=center.roll_deg + roll,
            translation_mm=(x, y, z),
        )

    return pose


def _waypoints(source: WaypointPoses) -> Trajectory:
    return waypoint_trajectory(*read_waypoints(source.path), repeat=source.repeat)


def waypoint_trajectory(
    times_s: NDArray[np.float64], poses: Sequence[CarmPose], *, repeat: bool
) -> Trajectory:
    """Poses interpolated in SE(3) between times [s], which rise strictly.

    Args:
        times_s: Shape (n,).
        poses: As many.
        repeat: Start again after the last one; else hold it.
    """
    motions = [pose.world_from_carm(ORIGIN) for pose in poses]
    span_s = times_s[-1] - times_s[0]

    def pose(time_s: float) -> CarmPose:
        if repeat and time_s > times_s[-1] and span_s > 0:
            time_s = times_s[0] + (time_s - times_s[0]) % span_s
        return _between(times_s, motions, time_s)

    return pose


def _between(
    times_s: NDArray[np.float64], motions: Sequence[NDArray[np.float64]], time_s: float
) -> CarmPose:
    """The pose at a time; before the first way-point and after the last these are held."""
    after = int(np.searchsorted(times_s, time_s, side="right"))
    if after == 0 or after == len(times_s):
        return CarmPose.from_world_from_carm(motions[min(after, len(motions) - 1)], ORIGIN)
    start, end = times_s[after - 1], times_s[after]
    fraction = (time_s - start) / (end - start)
    motion = interpolate(motions[after - 1], motions[after], float(fraction))
    return CarmPose.from_world_from_carm(motion, ORIGIN)


REQUIRED_COLUMNS = ("time_s", "lao_deg", "cra_deg")
OPTIONAL_COLUMNS = ("roll_deg", "x_mm", "y_mm", "z_mm")


def read_waypoints(path: Path) -> tuple[NDArray[np.float64], list[CarmPose]]:
    """Times [s], strictly rising, and poses of a CSV or JSON file.

    Raises:
        InputError: Missing or unreadable file, missing or unknown columns, values that are not
            finite numbers, or times that do not rise; the message names file and row.
    """
    rows = _read_rows(path)
    if not rows:
        raise InputError(f"{path}: must hold at least one way-point, got none")
    table = [_row(path, number, row) for number, row in enumerate(rows, start=1)]
    times_s = np.array([row["time_s"] for row in table])
    if np.any(np.diff(times_s) <= 0):
        row = int(np.argmax(np.diff(times_s) <= 0)) + 2
        raise InputError(
            f"{path}: row {row}: time_s must be greater than in the row before "
            f"({times_s[row - 2]:g}), got {times_s[row - 1]:g}"
        )
    return times_s, [_waypoint(row) for row in table]


def _read_rows(path: Path) -> list[Mapping[str, Any]]:
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
    return CarmPose(
        lao_deg=row["lao_deg"],
        cra_deg=row["cra_deg"],
        roll_deg=row.get("roll_deg", 0.0),
        translation_mm=(row.get("x_mm", 0.0), row.get("y_mm", 0.0), row.get("z_mm", 0.0)),
    )
