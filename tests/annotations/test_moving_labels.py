"""Masks, boxes and landmarks of a structure of which a fragment has moved."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from fluoro.annotations.base import AnnotationSetup
from fluoro.annotations.boxes import BoxConfig
from fluoro.annotations.landmarks import LandmarkConfig
from fluoro.annotations.masks import MaskConfig
from fluoro.annotations.truth import TruthMaker
from fluoro.errors import InputError
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.geometry.se3 import translation
from fluoro.rendering.devices.cpu.device import CpuDevice
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.labels.label_volume import LabelVolume
from fluoro.volume.labels.structures import Structure
from fluoro.volume.rigid_solids import CutOut, SampledSolid
from fluoro.volume.volumes import MuVolume

GRID = VolumeGrid(
    shape_zyx=(30, 16, 24), spacing_xyz_mm=(2.0,) * 3, origin_xyz_mm=(-23.0, -15.0, -29.0)
)
CARM = CarmGeometry(detector_width_px=50, detector_height_px=60, pixel_spacing_mm=1.6)
VIEW = CARM.view(CarmPose(lao_deg=20, cra_deg=10), (0.0, 0.0, 0.0))
SHIFT_VOXELS = np.array([6, 1, 4])
"""Along x, y, z, by which the upper half of the bone moves in the first second."""
UPPER = (slice(14, 20), slice(5, 11), slice(6, 12))


def labels_with(*boxes):
    label_zyx = np.zeros(GRID.shape_zyx, np.uint8)
    label_zyx[2:6, 2:6, 2:6] = 1
    for box in boxes:
        label_zyx[box] = 2
    structures = (Structure(number=4, name="other"), Structure(number=7, name="bone"))
    return LabelVolume(structures=structures, label_zyx=label_zyx, grid=GRID)


LOWER = (slice(8, 14), *UPPER[1:])
BONE = labels_with(UPPER, LOWER)


def fragment():
    rest = translation(np.array([3.0, -2.0, 5.0]))
    motion = translation(2.0 * SHIFT_VOXELS)
    track = SimpleNamespace(at=lambda time_s: motion @ rest if time_s else rest)
    solid = SampledSolid("upper", None, None, None, track)
    solid.cut_out = CutOut(box=UPPER, inside_zyx=np.ones((6, 6, 6), bool), rest=rest)
    return solid


def truth(labels, time_s, posed=(), view=VIEW, **masks):
    device = CpuDevice(1)
    volume = MuVolume(mu_zyx=np.zeros(GRID.shape_zyx, np.float32), grid=GRID)
    setup = AnnotationSetup(config=None, volume=volume, labels=labels, device=device, posed=posed)
    sections = {"masks": MaskConfig(**masks), "boxes": BoxConfig()}
    maker = TruthMaker({name: each.make(setup) for name, each in sections.items()}, device)
    found = maker.begin(view, time_s)
    maker.finish()
    return found


def moved_upper(x, y, z):
    return tuple(
        slice(side.start + by, side.stop + by) for side, by in zip(UPPER, (z, y, x), strict=True)
    )


def test_a_box_that_the_image_cuts_goes_with_the_fragment():
    view = CARM.view(CarmPose(lao_deg=20, cra_deg=10, translation_mm=(33.0, 0.0, 0.0)), (0, 0, 0))
    found = truth(BONE, 1.0, (fragment(),), view).boxes.boxes_px
    moved = labels_with(LOWER, moved_upper(*SHIFT_VOXELS.tolist()))
    wanted = truth(moved, 0.0, (), view).boxes.boxes_px
    assert 0.0 in wanted[1] or 50.0 in wanted[1]
    np.testing.assert_allclose(found[1], wanted[1], atol=0.02)


@pytest.mark.parametrize("time_s", [0.0, 1.0])
def test_masks_lengths_and_boxes_go_with_the_fragment(time_s):
    found = truth(BONE, time_s, (fragment(),), thickness=True)
    x, y, z = (SHIFT_VOXELS * int(time_s)).tolist()
    wanted = truth(labels_with(LOWER, moved_upper(x, y, z)), 0.0, thickness=True)
    # of a box's own rays the outermost have other samples than those of the whole volume
    for label in (1, 2):
        off = found.masks.mask(label) != wanted.masks.mask(label)
        assert off.sum() < 0.15 * found.masks.areas_px[label - 1]
        assert found.masks.areas_px[label - 1] > 30
    lengths, expected = found.masks.lengths_mm, wanted.masks.lengths_mm
    assert np.abs(lengths - expected).sum() < 0.04 * expected.sum()
    np.testing.assert_allclose(found.boxes.boxes_px, wanted.boxes.boxes_px, atol=1e-6)


@pytest.mark.parametrize("time_s", [0.0, 1.0])
def test_landmarks_in_a_fragment_and_on_it_move_with_it(tmp_path, time_s):
    voxels = {"within": (9, 8, 17), "on": (12, 8, 17), "beside": (14, 8, 17), "rest": (9, 8, 10)}
    spots = {name: GRID.world_from_index @ [*xyz, 1.0] for name, xyz in voxels.items()}
    rows = [f"{name},{x},{y},{z}" for name, (x, y, z, _) in spots.items()]
    path = tmp_path / "points.csv"
    path.write_text("\n".join(["name,x,y,z", *rows]))
    volume = MuVolume(mu_zyx=np.zeros(GRID.shape_zyx, np.float32), grid=GRID)
    setup = AnnotationSetup(
        config=None, volume=volume, labels=None, device=None, posed=(fragment(),)
    )
    found = LandmarkConfig(path=path).make(setup).begin_at(VIEW, time_s)
    moved = {"within", "on"} if time_s else set()
    for name, pixel in zip(found.names, found.pixels_uv, strict=True):
        shift_mm = 2.0 * SHIFT_VOXELS * (name in moved)
        np.testing.assert_allclose(pixel, VIEW.project(spots[name][:3] + shift_mm), atol=1e-6)
        assert name not in moved or np.hypot(*(pixel - VIEW.project(spots[name][:3]))) > 3


def test_visible_masks_of_a_fragment_are_refused():
    with pytest.raises(InputError, match="visible_share must be null with fragments"):
        truth(BONE, 0.0, (fragment(),), visible_share=0.1)
