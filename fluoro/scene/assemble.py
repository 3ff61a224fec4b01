"""The scene of a run: the patient as materials, and what was put into it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from fluoro.config import MaterialsConfig, VolumeConfig
from fluoro.errors import of_key
from fluoro.physics.tissues import tissue_map
from fluoro.scene.base import SceneSection, parents_first
from fluoro.scene.setup import ScenePatient, SceneSetup
from fluoro.scene.structures import structure_solids
from fluoro.scene.wire_solid import require_few_pieces
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.labels.load import load_labels
from fluoro.volume.material_volume import MaterialVolume, Solid
from fluoro.volume.posed_solid import PosedSolid
from fluoro.volume.volumes import MuVolume

__all__ = ["displaced", "material_volume", "posed_solids", "scene_solids"]


KEY = "volume.materials.inclusions"
"""Where the sections of the objects are in the configuration."""

Made = TypeVar("Made", Solid, PosedSolid)


def material_volume(config: VolumeConfig, volume: MuVolume) -> MaterialVolume:
    """Return the configured volume as materials, and what is put into it.

    Args:
        config: The section; without `materials` its defaults.
        volume: As `fluoro.volume.load.load_volume` gives it.

    Raises:
        InputError: A file of an object that cannot be used.
    """
    wanted = config.materials or MaterialsConfig()
    made = scene_solids(wanted.inclusions)
    patient = ScenePatient(
        config=config,
        tissues=tissue_map(wanted.kind, wanted.ct_energy_kev),
        labels=partial(load_labels, config, volume.grid),
        volume=volume,
        rest=volume,
    )
    posed = posed_solids(wanted.inclusions, patient)
    tissues = _structures(config, patient.rest, wanted.ct_energy_kev)
    solid = [each for section, each in made if section.displaces]
    return MaterialVolume(
        volume=displaced(patient.rest, [*tissues, *solid]),
        tissues=patient.tissues,
        inclusions=(*(_without(each, solid) for each in tissues), *(each for _, each in made)),
        posed=tuple(posed),
    )


def _structures(config: VolumeConfig, volume: MuVolume, ct_energy_kev: float) -> list[Solid]:
    labels = load_labels(config, volume.grid) if config.labels and config.labels.materials else None
    if config.labels is None or labels is None:
        return []
    return [*structure_solids(config.labels, labels, volume, ct_energy_kev)]


def scene_solids(sections: Iterable[SceneSection]) -> list[tuple[SceneSection, Solid]]:
    """Return the solids of a scene with their sections, without what others displace of them.

    Raises:
        InputError: A file of an object that cannot be used.
    """
    made = [
        (section, solid)
        for number, section in enumerate(sections)
        for solid in _named(number, section.solids)
    ]
    return [(section, _left_of(section, solid, made)) for section, solid in made]


def posed_solids(
    sections: Iterable[SceneSection], patient: ScenePatient | None = None
) -> list[PosedSolid]:
    """Return the solids of a scene that have a pose per frame, in the order of the sections.

    Args:
        sections: Of the objects.
        patient: What they are put into; a fragment changes its `rest`. None: objects that need
            no patient.

    Raises:
        InputError: A file of an object that cannot be used, or wires of too many pieces.
    """
    setup, sections = SceneSetup(known_patient=patient), list(sections)
    numbers = {id(each): number for number, each in enumerate(sections)}
    found = {
        id(each): _named(numbers[id(each)], partial(each.posed, setup))
        for each in parents_first(sections)
    }
    solids = [solid for each in sections for solid in found[id(each)]]
    require_few_pieces(solids)
    return solids


def _named(number: int, make: Callable[[], Sequence[Made]]) -> Sequence[Made]:
    """What a section makes; an error names the section by its number."""
    with of_key(f"{KEY}.{number}"):
        return make()


def displaced(volume: MuVolume, solids: Sequence[Solid]) -> MuVolume:
    """Return the volume without what solids take the place of; a copy in memory.

    Each voxel keeps the share that no solid fills, sampled at its centre.
    """
    if not solids:
        return volume
    mu = np.array(volume.mu_zyx)
    for each in solids:
        _take_out(mu, volume.grid, each)
    return replace(volume, mu_zyx=mu)


def _left_of(
    section: SceneSection, solid: Solid, made: Sequence[tuple[SceneSection, Solid]]
) -> Solid:
    """What those of higher priority leave of a solid."""
    above = [other for each, other in made if each.displaces and each.priority > section.priority]
    return _without(solid, above)


def _without(solid: Solid, others: Sequence[Solid]) -> Solid:
    """A solid without what others displace of it."""
    if not others:
        return solid
    left = np.ones(solid.grid.shape_zyx, np.float32)
    for other in others:
        _take_out(left, solid.grid, other)
    return solid.without(1 - left)


def _take_out(mu: NDArray[np.float32], grid: VolumeGrid, each: Solid) -> None:
    """Scale the voxels within the box of a solid by what it leaves of them."""
    from scipy.ndimage import map_coordinates

    corners = np.array(np.meshgrid(*([-0.5, n - 0.5] for n in each.grid.shape_xyz))).reshape(3, -1)
    placed = each.grid.world_from_index @ np.vstack([corners, np.ones(8)])
    index = (grid.index_from_world @ placed)[:3]
    low = np.clip(np.floor(index.min(axis=1)).astype(int), 0, grid.shape_xyz)
    high = np.clip(np.ceil(index.max(axis=1)).astype(int) + 1, 0, grid.shape_xyz)
    if np.any(high <= low):
        return
    box = tuple(slice(a, b) for a, b in zip(low[::-1], high[::-1], strict=True))
    z, y, x = np.meshgrid(*(np.arange(s.start, s.stop) for s in box), indexing="ij")
    here = np.stack([x.ravel(), y.ravel(), z.ravel(), np.ones(x.size)])
    there = (each.grid.index_from_world @ grid.world_from_index @ here)[2::-1]
    share = map_coordinates(each.filled_zyx(), there, order=1, mode="constant", cval=0.0)
    mu[box] *= 1 - share.reshape(x.shape).astype(np.float32)
