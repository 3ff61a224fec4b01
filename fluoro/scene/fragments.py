"""Fragments: which voxels they are, their outline, and what they leave behind."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import InputError
from fluoro.scene.fragment import Cut, FragmentInclusion
from fluoro.scene.outlines import centred, outline
from fluoro.scene.pose_track import PoseTrack
from fluoro.scene.setup import SceneSetup
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.labels.label_volume import LabelVolume
from fluoro.volume.resample import cropped_grid
from fluoro.volume.rigid_solids import SampledSolid
from fluoro.volume.volumes import MuVolume

__all__ = ["fragment_solid"]

KEY = "volume.materials.inclusions"

DENSER_HU = 100.0
"""What is denser than the filling by this much is bone in part."""

AROUND = 0.45
"""Share of the voxels around a fragment: its outline, at 0.5, runs next to their centres, so that
it has the interpolant's slope from bone to what is around."""


def fragment_solid(section: FragmentInclusion, setup: SceneSetup) -> SampledSolid:
    """Return a fragment; the patient's `rest` has the filling where it was.

    Raises:
        InputError: No labels, a structure that is unknown, or none on this side of the cuts.
    """
    patient = setup.patient
    labels = patient.labels()
    if labels is None:
        raise InputError(f"{KEY}: fragment {section.title} needs volume.labels")
    wanted = labels.labels_of(section.structures, f"{KEY}.structures")
    before = patient.volume
    filling = before.water_mu_per_mm * (1 + section.gap_hu / 1000)
    dense = filling + DENSER_HU / 1000 * before.water_mu_per_mm
    inside, around, box = _inside(labels, wanted, before, dense, section.rim_mm)
    grid = cropped_grid(before.grid, box)
    side = _on_this_side(section.cuts, grid)
    share = np.minimum(inside, side).astype(np.float32)
    if not share.max() > 0.5:
        raise InputError(f"{KEY}: fragment {section.title} has no voxel on this side of its cuts")
    part = replace(before, mu_zyx=np.ascontiguousarray(before.mu_zyx[box]), grid=grid)
    patient.rest = _filled(patient.rest, box, part.mu_zyx, share, filling)
    surrounded = np.minimum(np.maximum(inside, AROUND * around), side).astype(np.float32)
    return _solid(section, setup, part, surrounded)


def _solid(
    section: FragmentInclusion, setup: SceneSetup, part: MuVolume, share: NDArray[np.float32]
) -> SampledSolid:
    """The fragment about its middle, moved from where the CT has it."""
    surface, middle = centred(outline(share, 0.5, part.grid))
    there, back = np.eye(4), np.eye(4)
    there[:3, 3], back[:3, 3] = middle, -middle
    held = setup.tracks[section.parent] if section.parent else None
    rest = PoseTrack(section.title, [0.0], [there], held)
    return SampledSolid(
        section.title,
        surface,
        replace(part, grid=part.grid.moved(back)),
        setup.patient.tissues,
        section.track(setup.tracks, rest),
        displaces=section.displaces,
        priority=section.priority,
    )


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


def _on_this_side(cuts: tuple[Cut, ...], grid: VolumeGrid) -> NDArray[np.float64]:
    """Share of each voxel that is on this side of all planes, shape (z, y, x)."""
    z, y, x = np.meshgrid(*(np.arange(n) for n in grid.shape_zyx), indexing="ij", sparse=True)
    share = np.ones(grid.shape_zyx)
    for cut in cuts:
        normal = np.array(cut.normal) / np.linalg.norm(cut.normal)
        world = grid.world_from_index
        a, b, c = normal @ world[:3, :3]
        distance = a * x + b * y + c * z + normal @ (world[:3, 3] - cut.point_mm)
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
