"""Flex: how far source and detector of a real C-arm stand off their ideal place, by angle."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import InputError

__all__ = ["FLEX_COLUMNS", "FlexTable", "read_flex"]

ANGLE = "lao_deg"
FLEX_COLUMNS = (
    "source_u_mm",
    "source_v_mm",
    "source_d_mm",
    "detector_u_mm",
    "detector_v_mm",
    "detector_d_mm",
    "tilt_u_deg",
    "tilt_v_deg",
    "turn_deg",
)
"""Shifts along the columns u, the rows v and the beam d, and turns of the detector about u, about
v and in its plane (columns towards rows, as roll): in the C-arm's frame at the angle."""
TURN_DEG = 360.0


@dataclass(frozen=True, kw_only=True, eq=False)
class FlexTable:
    """Small motions of source and detector at some primary angles; between them, linear.

    A turn is a circle: beyond the last angle the way goes on to the first one.

    Attributes:
        lao_deg: Primary angles [degrees], shape (N,), rising, over at most one turn; where they
            make a whole turn, the last row equals the first.
        motions: `FLEX_COLUMNS` of each angle [mm, degrees], shape (N, 9).

    Raises:
        InputError: Shapes or values that do not fit; angles that do not rise or exceed a turn.
    """

    lao_deg: NDArray[np.float64]
    motions: NDArray[np.float64]

    def __post_init__(self) -> None:
        angles, motions = self.lao_deg, self.motions
        if angles.ndim != 1 or motions.shape != (len(angles), len(FLEX_COLUMNS)) or not len(angles):
            raise InputError(
                f"flex must have {len(FLEX_COLUMNS)} motions for each of 1 or more angles, got "
                f"shapes {angles.shape} and {motions.shape}"
            )
        if not (np.isfinite(angles).all() and np.isfinite(motions).all()):
            raise InputError("flex must hold finite numbers only")
        if (np.diff(angles) <= 0).any() or angles[-1] - angles[0] > TURN_DEG:
            raise InputError(f"{ANGLE} must rise over at most one turn, got {angles.tolist()}")
        if angles[-1] - angles[0] == TURN_DEG and not np.array_equal(motions[0], motions[-1]):
            raise InputError(
                f"{ANGLE} {angles[0]:g} and {angles[-1]:g} are one angle and must have one motion"
            )

    def at(self, lao_deg: float) -> NDArray[np.float64]:
        """Return the nine motions at a primary angle, in the order of `FLEX_COLUMNS`."""
        columns = [np.interp(lao_deg, self.lao_deg, m, period=TURN_DEG) for m in self.motions.T]
        return np.asarray(columns)


def read_flex(path: Path | str) -> FlexTable:
    """Return the table of a CSV file: `lao_deg` and any of `FLEX_COLUMNS`; those left out are 0.

    Raises:
        InputError: Missing or unreadable file, unknown or missing columns, values that are not
            finite numbers; the message names file and line.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
        rows = [row for row in csv.reader(lines, skipinitialspace=True, strict=True) if row]
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: must be a CSV file in UTF-8: {error}") from None
    if len(rows) < 2:
        raise InputError(f"{path}: must have a header line and one or more angles")
    names = [name.strip() for name in rows[0]]
    _require_columns(path, names)
    table = np.array([_numbers(path, names, number, row) for number, row in enumerate(rows[1:], 2)])
    motions = np.zeros((len(table), len(FLEX_COLUMNS)))
    for index, name in enumerate(names):
        if name != ANGLE:
            motions[:, FLEX_COLUMNS.index(name)] = table[:, index]
    try:
        return FlexTable(lao_deg=table[:, names.index(ANGLE)], motions=motions)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _require_columns(path: Path, names: list[str]) -> None:
    unknown = [name for name in names if name not in (ANGLE, *FLEX_COLUMNS)]
    if unknown:
        known = ", ".join((ANGLE, *FLEX_COLUMNS))
        raise InputError(f"{path}: unknown column {unknown[0]!r}; known: {known}")
    if len(set(names)) < len(names):
        raise InputError(f"{path}: a column is named twice")
    if ANGLE not in names:
        raise InputError(f"{path}: column {ANGLE} is missing")


def _numbers(path: Path, names: list[str], line: int, row: list[str]) -> list[float]:
    if len(row) != len(names):
        raise InputError(f"{path}: row {line} has {len(row)} values, the header {len(names)}")
    return [_number(path, line, name, text) for name, text in zip(names, row, strict=True)]


def _number(path: Path, line: int, name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{path}: row {line}: {name} must be a finite number, got {text!r}")
    return number
