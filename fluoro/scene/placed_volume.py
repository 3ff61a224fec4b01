"""A CT of an object: its outline, and what is inside."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fluoro.config import VolumeConfig
from fluoro.errors import InputError
from fluoro.geometry.triangles import Surface
from fluoro.physics.materials import material
from fluoro.scene.outlines import centred, grid_box, outline
from fluoro.scene.setup import SceneSetup
from fluoro.scene.volume import VolumeInclusion
from fluoro.volume.load import load_volume
from fluoro.volume.rigid_solids import MeshSolid, OutlinedSolid, SampledSolid
from fluoro.volume.volumes import MuVolume

__all__ = ["placed_volume"]

MAP_KEYS = ("hu_to_mu", "hu_clip_min", "hu_clip_max", "bone_multiplier")
"""Of the patient's volume, from CT number to attenuation: the object's are the same."""


def placed_volume(section: VolumeInclusion, setup: SceneSetup) -> OutlinedSolid:
    """Return the CT of a section.

    Raises:
        InputError: A file that cannot be read, or one that is nowhere as dense as wanted.
    """
    same = {key: getattr(setup.patient.config, key) for key in MAP_KEYS}
    volume = load_volume(VolumeConfig(path=section.path, **same))
    surface = _outline(section, volume)
    if section.origin == "middle":
        surface, middle = centred(surface)
        back = np.eye(4)
        back[:3, 3] = -middle
        volume = replace(volume, grid=volume.grid.moved(back))
    track = section.track(setup.tracks)
    solid: OutlinedSolid
    if section.material:
        solid = MeshSolid(section.title, surface, material(section.material), track)
    else:
        solid = SampledSolid(section.title, surface, volume, setup.patient.tissues, track)
    solid.displaces, solid.priority = section.displaces, section.priority
    return solid


def _outline(section: VolumeInclusion, volume: MuVolume) -> Surface:
    if section.above_hu is None:
        return grid_box(volume.grid)
    level = volume.water_mu_per_mm * (1 + section.above_hu / 1000)
    try:
        return outline(np.asarray(volume.mu_zyx), level, volume.grid)
    except InputError:
        where = f"{section.path}: must be above {section.above_hu:g} HU somewhere"
        raise InputError(where) from None
