"""Structures of the patient as materials that a user gives them (`volume.labels.materials`)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fluoro.config import LabelsConfig
from fluoro.physics.materials import material
from fluoro.volume.labels.label_volume import LabelVolume
from fluoro.volume.material_volume import TissueInclusion
from fluoro.volume.resample import cropped_grid
from fluoro.volume.volumes import MuVolume

__all__ = ["structure_solids"]


def structure_solids(
    config: LabelsConfig, labels: LabelVolume, volume: MuVolume, ct_energy_kev: float
) -> list[TissueInclusion]:
    """Return one solid a material: a voxel is as dense as its CT number at the CT's energy asks.

    Args:
        config: Which structures are made of what; of two entries for one structure the last counts.
        labels: On the volume's grid.
        volume: Attenuation of the patient.
        ct_energy_kev: Effective energy of the CT scanner [keV].

    Raises:
        InputError: A structure that is unknown.
    """
    names = [""] * (len(labels.structures) + 1)
    for entry, name in config.materials.items():
        for label in labels.labels_of([entry], "volume.labels.materials"):
            names[label] = name
    found = []
    for name in dict.fromkeys(filter(None, names)):
        inside = labels.inside([label for label, each in enumerate(names) if each == name])
        if inside.any():
            found.append(_solid(name, inside, volume, ct_energy_kev))
    return found


def _solid(
    name: str, inside: NDArray[np.bool_], volume: MuVolume, ct_energy_kev: float
) -> TissueInclusion:
    from scipy.ndimage import find_objects

    z, y, x = (
        slice(max(each.start - 1, 0), min(each.stop + 1, count))
        for each, count in zip(find_objects(inside.astype(np.uint8))[0], inside.shape, strict=True)
    )
    here, made_of = inside[z, y, x], material(name)
    water = float(material("water").mu_per_mm(ct_energy_kev))
    scale = water / volume.water_mu_per_mm / float(made_of.mu_per_mm(ct_energy_kev))
    density = np.where(here, volume.mu_zyx[z, y, x], 0) * np.float32(scale)
    densest = max(float(density.max()), 1e-6)
    return TissueInclusion(
        material=replace(made_of, density_g_per_cm3=made_of.density_g_per_cm3 * densest),
        share_zyx=np.clip(density / np.float32(densest), 0, 1).astype(np.float32),
        grid=cropped_grid(volume.grid, (z, y, x)),
        inside_zyx=here,
    )
