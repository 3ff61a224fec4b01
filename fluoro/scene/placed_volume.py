"""A CT of an object: its outline, and what is inside."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from fluoro.config import VolumeConfig
from fluoro.errors import InputError
from fluoro.geometry.se3 import translation
from fluoro.geometry.triangles import Surface
from fluoro.scene.outlines import centred, grid_box, outline
from fluoro.volume.load import load_volume
from fluoro.volume.volumes import MuVolume

__all__ = ["placed_volume"]

MAP_KEYS = ("hu_to_mu", "hu_clip_min", "hu_clip_max", "bone_multiplier")
"""Of the patient's volume, from CT number to attenuation: the object's are the same."""


def placed_volume(
    path: Path, above_hu: float | None, patient: VolumeConfig, *, about_middle: bool
) -> tuple[Surface, MuVolume]:
    """Return the outline and the attenuation of a CT.

    Args:
        path: The CT.
        above_hu: Only what is denser is there; None: the whole box.
        patient: From CT number to attenuation it is as here.
        about_middle: Whether the outline's middle is the origin; else the file's.

    Raises:
        InputError: A file that cannot be read, or one that is nowhere as dense as wanted.
    """
    same = {key: getattr(patient, key) for key in MAP_KEYS}
    volume = load_volume(VolumeConfig(path=path, **same))
    surface = _outline(path, above_hu, volume)
    if not about_middle:
        return surface, volume
    surface, middle = centred(surface)
    return surface, replace(volume, grid=volume.grid.moved(translation(-middle)))


def _outline(path: Path, above_hu: float | None, volume: MuVolume) -> Surface:
    if above_hu is None:
        return grid_box(volume.grid)
    level = volume.water_mu_per_mm * (1 + above_hu / 1000)
    try:
        return outline(np.asarray(volume.mu_zyx), level, volume.grid)
    except InputError:
        raise InputError(f"{path}: must be above {above_hu:g} HU somewhere") from None
