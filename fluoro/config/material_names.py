"""Names of the materials there are, for those who only check a name."""

from __future__ import annotations

import csv
from functools import cache
from importlib.resources import files

__all__ = ["material_names"]


@cache
def material_names() -> tuple[str, ...]:
    """Return names in fluoro/physics/data/materials.csv, in its order."""
    text = (files("fluoro") / "physics" / "data" / "materials.csv").read_text("utf-8")
    rows = csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))
    return tuple(row["name"] for row in rows)
