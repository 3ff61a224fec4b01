"""C-arms by name: lengths and detectors as fluorosim lists them, unverified."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import cache
from importlib import resources
from types import MappingProxyType

from fluoro.errors import InputError

__all__ = ["PRESET_SOURCE", "carm_preset", "carm_presets"]

PRESET_SOURCE = "as listed by fluorosim, unverified"
COUNTS = ("detector_width_px", "detector_height_px")
Preset = Mapping[str, float]


@cache
def carm_presets() -> Mapping[str, Preset]:
    """Return keys of the configuration's carm section by the C-arm's name."""
    text = resources.files("fluoro").joinpath("data/carm_presets.csv").read_text("utf-8")
    rows = csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))
    return MappingProxyType({row.pop("name"): _numbers(row) for row in rows})


def _numbers(row: Mapping[str, str]) -> Preset:
    return MappingProxyType(
        {key: int(text) if key in COUNTS else float(text) for key, text in row.items()}
    )


def carm_preset(name: str) -> Preset:
    """Return the keys of one C-arm; upper and lower case are alike.

    Raises:
        InputError: There is none of this name; the message lists those there are.
    """
    known = {preset.casefold(): keys for preset, keys in carm_presets().items()}
    if name.casefold() not in known:
        raise InputError(f"must be one of {', '.join(carm_presets())}, got {name!r}")
    return known[name.casefold()]
