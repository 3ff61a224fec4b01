"""Fragments: which voxels they are, their outline, and what they leave behind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fluoro.errors import InputError, KeyInputError
from fluoro.geometry.se3 import translation
from fluoro.geometry.triangles import Surface
from fluoro.scene.outlines import centred, outline
from fluoro.scene.setup import ScenePatient
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.labels.label_volume import LabelVolume
from fluoro.volume.resample import cropped_grid
from fluoro.volume.rigid_solids import CutOut
from fluoro.volume.volumes import MuVolume

__all__ = ["Cut", "Piece", "cut_out"]

Cut = tuple[ArrayLike, ArrayLike]
"""A point of a plane, and its normal."""

DENSER_HU = 100.0
"""What is denser than the filling by this much is bone in part."""

AROUND = 0.45
"""Share of the voxels around a fragment: its outline, at 0.5, runs next to their centres, so that
it has the interpolant's slope from bone to what is around."""


class Piece(NamedTuple):
    """A part of the patient.

    Attributes:
        surface: Its outline, about its middle.
        volume: Attenuation in the box around it, about its middle.
        middle_xyz_mm: Where the middle is in the patient, shape (3,).
        cut_out: Its voxels of the structures.
    """

    surface: Surface
    volume: MuVolume
    middle_xyz_mm: NDArray[np.float64]
    cut_out: CutOut


def cut_out(
    patient: ScenePatient,
    structures: Sequence[int | str],
    cuts: Sequence[Cut],
    *,
    rim_mm: float,
    gap_hu: float,
) -> Piece:
    """Return a fragment; the patient's `rest` has the filling where it was.

    Args:
        patient: Whose structures.
        structures: Numbers, names, patterns and groups.
        cuts: A point of each plane and its normal to the fragment's side, patient LPS [mm].
        rim_mm: What is dense within this distance moves too.
        gap_hu: CT number of the filling.

    Raises:
        InputError: No labels, a structure that is unknown, or none on this side of the cuts.
    """
    labels = patient.labels()
    if labels is None:
        raise InputError("a fragment needs volume.labels")
    wanted = labels.labels_of(structures, "structures")
    before = patient.volume
    filling = before.water_mu_per_mm * (1 + gap_hu / 1000)
    dense = filling + DENSER_HU / 1000 * before.water_mu_per_mm
    inside, around, box = _inside(labels, wanted, before, dense, rim_mm)
    grid = cropped_grid(before.grid, box)
    side = _on_this_side(cuts, grid)
    share = np.minimum(inside, side).astype(np.float32)
    if not share.max() > 0.5:
        raise KeyInputError("cuts", "must leave voxels of the structures on their side")
    part = replace(before, mu_zyx=np.ascontiguousarray(before.mu_zyx[box]), grid=grid)
    patient.rest = _filled(patient.rest, box, part.mu_zyx, share, filling)
    surrounded = np.minimum(np.maximum(inside, AROUND * around), side).astype(np.float32)
    surface, middle = centred(outline(surrounded, 0.5, grid))
    own = np.isin(labels.label_zyx[box], wanted) & (side >= 0.5)
    taken = CutOut(box=box, inside_zyx=own, rest=translation(middle))
    return Piece(surface, replace(part, grid=grid.moved(translation(-middle))), middle, taken)


def _inside(
    labels: LabelVolume, wanted: list[int], volume: MuVolume, dense: float, rim_mm: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], tuple[slice, slice, slice]]:
    """Which voxels of a box are the fragment's, which are around it, and the box.

    The fragment's are those of the structures, and of their rim what is dense and no other's.
    """
    from scipy.ndimage import binary_dilation, distance_transform_edt

    spacing = volume.grid.spacing_xyz_mm[::-1]
    room = [int(np.ceil(rim_mm / edge)) + 2 for edge in spacing]
    z, y, x = (
        slice(max(side.start - more, 0), min(side.stop + more, count))
        for side, more, count in zip(
            labels.subset(wanted).box(), room, labels.label_zyx.shape, strict=True
        )
    )
    here, bone = labels.label_zyx[z, y, x], volume.mu_zyx[z, y, x] > dense
    own = np.isin(here, wanted)
    others = (here > 0) & ~own & bone
    rim = (distance_transform_edt(~own, sampling=spacing) <= rim_mm) & bone & ~others
    inside = own | rim
    around = binary_dilation(inside, np.ones((3, 3, 3), bool)) & ~inside & ~others
    return inside, around, (z, y, x)


def _on_this_side(cuts: Sequence[Cut], grid: VolumeGrid) -> NDArray[np.float64]:
    """Share of each voxel that is on this side of all planes, shape (z, y, x)."""
    z, y, x = np.meshgrid(*(np.arange(n) for n in grid.shape_zyx), indexing="ij", sparse=True)
    share = np.ones(grid.shape_zyx)
    for point, toward in cuts:
        normal = np.array(toward) / np.linalg.norm(toward)
        world = grid.world_from_index
        a, b, c = normal @ world[:3, :3]
        distance = a * x + b * y + c * z + normal @ (world[:3, 3] - np.array(point, float))
        thickness = np.abs((a, b, c)).max()
        share = np.minimum(share, np.clip(distance / thickness + 0.5, 0, 1))
    return share


def _filled(
    rest: MuVolume,
    box: tuple[slice, slice, slice],
    part: NDArray[np.float32],
    share: NDArray[np.float32],
    filling: float,
) -> MuVolume:
    """The volume with the filling where a fragment was, a copy in memory."""
    mu = np.array(rest.mu_zyx)
    gone = share * (part - np.float32(filling))
    mu[box] = np.maximum(mu[box] - gone, np.minimum(mu[box], np.float32(filling)))
    return replace(rest, mu_zyx=mu)
