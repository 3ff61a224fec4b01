"""Files of named points: 3D Slicer's markups (.mrk.json, .fcsv) and CSV."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

from fluoro.errors import InputError
from fluoro.names import AxesName

__all__ = ["read_landmarks"]

Point = tuple[float, float, float]
SLICERS_NUMBERS = {"0": "RAS", "1": "LPS"}
"""Older files have a number for the coordinate system."""


def read_landmarks(path: Path | str, coordinates: AxesName | None = None) -> dict[str, Point]:
    """Return named points in patient LPS [mm].

    Args:
        path: .mrk.json, .fcsv, or .csv with the columns name, x, y and z.
        coordinates: What the file's numbers are; None: what the file says, of CSV LPS.

    Raises:
        InputError: A file that cannot be read or is no such file, a point that is not finite, a
            name that comes twice, no point at all.
    """
    path = Path(path)
    text, suffix = _text(path), path.name.lower()
    if suffix.endswith(".json"):
        said, points = _markups(path, text)
    elif suffix.endswith(".fcsv"):
        said, points = _fcsv(path, text)
    elif suffix.endswith(".csv"):
        said, points = "LPS", _csv(path, text)
    else:
        raise InputError(f"{path}: landmarks must be a .mrk.json, .fcsv or .csv file")
    if not points:
        raise InputError(f"{path}: has no landmarks")
    sign = -1.0 if (coordinates or said) == "RAS" else 1.0
    return _named(path, points, sign)


def _named(path: Path, points: list[tuple[str, Any]], sign: float) -> dict[str, Point]:
    found: dict[str, Point] = {}
    for name, position in points:
        try:
            x, y, z = (float(value) for value in position)
        except (TypeError, ValueError):
            raise InputError(f"{path}: {name!r} must have 3 numbers, got {position!r}") from None
        if not all(map(math.isfinite, (x, y, z))):
            raise InputError(f"{path}: {name!r} must have finite numbers, got {position!r}")
        if not name or name in found:
            raise InputError(f"{path}: names must differ and not be empty, got {name!r} twice")
        found[name] = (sign * x, sign * y, z)
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it must be UTF-8 text"
        raise InputError(f"{path}: cannot be read: {reason}") from None


def _system(path: Path, value: object) -> AxesName:
    word = SLICERS_NUMBERS.get(str(value), str(value))
    if word == "LPS":
        return "LPS"
    if word == "RAS":
        return "RAS"
    raise InputError(f"{path}: the coordinate system must be LPS or RAS, got {value!r}")


def _markups(path: Path, text: str) -> tuple[AxesName, list[tuple[str, Any]]]:
    try:
        (markup, *_) = json.loads(text)["markups"]
        points = [
            (str(each.get("label", "")), each["position"]) for each in markup["controlPoints"]
        ]
        system = markup["coordinateSystem"]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(f"{path}: is no file of 3D Slicer's markups") from None
    return _system(path, system), points


def _fcsv(path: Path, text: str) -> tuple[AxesName, list[tuple[str, Any]]]:
    head: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith("#") and "=" in line:
            name, _, value = line.lstrip("# ").partition("=")
            head[name.strip()] = value.strip()
    if "CoordinateSystem" not in head or "columns" not in head:
        raise InputError(f"{path}: is no file of 3D Slicer's fiducials (no CoordinateSystem)")
    columns = [name.strip() for name in head["columns"].split(",")]
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    rows = csv.DictReader(lines, fieldnames=columns)
    points = [(row["label"] or "", (row["x"], row["y"], row["z"])) for row in rows]
    return _system(path, head["CoordinateSystem"]), points


def _csv(path: Path, text: str) -> list[tuple[str, Any]]:
    rows = csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))
    heads = [head.strip() for head in rows.fieldnames or []]
    rows.fieldnames = heads
    missing = {"name", "x", "y", "z"} - set(heads)
    if missing:
        raise InputError(f"{path}: must have the columns name, x, y, z, got {', '.join(heads)}")
    return [((row["name"] or "").strip(), (row["x"], row["y"], row["z"])) for row in rows]
