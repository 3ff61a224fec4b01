"""Labels of one segmentation: one march for all, each label's share as if it were alone."""

from __future__ import annotations

import numpy as np
import pytest

from fluoro.config import LabelInclusion
from fluoro.errors import InputError
from fluoro.geometry.view_derivatives import moved, rigid_motions
from fluoro.physics.materials import material
from fluoro.physics.tissues import tissue_map
from fluoro.rendering.devices.cpu.device import CpuDevice
from fluoro.rendering.material_reference import label_joseph_reference, label_march_reference
from fluoro.rendering.material_renderer import MaterialRenderer
from fluoro.rendering.reference import march_steps
from fluoro.scene.assemble import displaced
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.material_volume import Inclusion, LabelledInclusion, MaterialVolume
from fluoro.volume.volumes import MuVolume
from tests import volumes
from tests.volume_files import meta_bytes

NAMES = ["titanium", "steel", "soft_tissue", "cortical_bone", "fat", "lung", "pmma", "iodine"]
PROJECTORS = ["march", "joseph"]
AIR, STEP_MM, GATE = 5, 0.45, 1e-3
"""Planes of the tissues, the march's step, the derivatives' gate."""
STEPS = np.array([1e-9] * 3 + [1e-7] * 3)
"""Of the central differences, radians and millimetres; as in test_derivatives.py."""


@pytest.fixture(scope="module")
def device():
    return CpuDevice()


def labelled(count, *, block=4):
    """Blocks of labels and of nothing, within the tests' field of view."""
    rng = np.random.default_rng(count)
    coarse = rng.integers(0, count + 1, (5, 6, 7))
    labels = np.kron(coarse, np.ones((block,) * 3)).astype(np.uint8)
    x, y, z = (volumes.GRID.center_xyz_mm - 0.5 * np.array(labels.shape[::-1])).tolist()
    grid = VolumeGrid(
        shape_zyx=labels.shape, spacing_xyz_mm=(1.1, 0.9, 1.3), origin_xyz_mm=(x, y, z)
    )
    materials = tuple(material(name) for name in NAMES[:count])
    return LabelledInclusion(materials=materials, label_zyx=labels, grid=grid)


def body(*inclusions):
    air = MuVolume(
        mu_zyx=np.zeros((2, 2, 2), np.float32),
        grid=VolumeGrid(shape_zyx=(2, 2, 2), spacing_xyz_mm=(1.0, 1.0, 1.0)),
    )
    return MaterialVolume(volume=air, tissues=tissue_map("tissues"), inclusions=inclusions)


def reference_image(inclusion, view, projector, steps=None):
    if projector == "joseph":
        return label_joseph_reference(inclusion, view)
    return label_march_reference(inclusion, view, STEP_MM, steps)


@pytest.mark.parametrize("projector", PROJECTORS)
@pytest.mark.parametrize(
    ("count", "pose"), [(2, "frontal"), (3, "LAO 37 CRA 21"), (8, "RAO 140 CAU 50"), (1, "lateral")]
)
def test_one_march_gives_each_label_as_its_reference_alone(device, projector, count, pose):
    inclusion, view = labelled(count), volumes.view(volumes.POSES[pose])
    step = {"step_mm": STEP_MM} if projector == "march" else {}
    renderer = MaterialRenderer(body(inclusion), device, projector=projector, **step)
    found = renderer.render([view, view])[1]
    expected = reference_image(inclusion, view, projector)
    assert found.shape == (AIR + count, 30, 38)
    assert expected.max(axis=(1, 2)).min() > 1
    assert np.abs(found[AIR:] - expected).max() < 2e-5 * expected.max()


@pytest.mark.parametrize("projector", PROJECTORS)
@pytest.mark.parametrize("count", [2, 4, 7])
def test_weighted_jacobian_is_the_derivative_of_the_discrete_sum(device, projector, count):
    inclusion, view = labelled(count), volumes.view(volumes.POSES["LAO 37 CRA 21"])
    weights = np.random.default_rng(5).random((AIR + count, 30, 38)).astype(np.float32)
    center, step = volumes.GRID.center_xyz_mm, {"step_mm": STEP_MM} if projector == "march" else {}
    renderer = MaterialRenderer(body(inclusion), device, projector=projector, **step)
    total, found = renderer.render_jacobian(view, center, weights)
    weighted = (weights * renderer.render(view)).sum(axis=0)
    assert np.abs(total - weighted).max() < 3e-5 * weighted.max()
    at_rest = MuVolume(mu_zyx=inclusion.filled_zyx(), grid=inclusion.grid)
    motions, steps = rigid_motions(view, center), march_steps(at_rest, view, STEP_MM)
    for k, amount in enumerate(STEPS):
        plus, minus = (
            reference_image(
                inclusion, moved(view, motions, sign * amount * np.eye(6)[k]), projector, steps
            )
            for sign in (1, -1)
        )
        expected = (weights[AIR:] * (plus - minus)).sum(axis=0) / (2 * amount)
        assert np.linalg.norm(found[k] - expected) < GATE * np.linalg.norm(expected), k


def test_together_they_are_what_they_are_apart(device):
    """Also moved, and with another inclusion before and after."""
    together, view = labelled(3), volumes.view(volumes.POSES["LAO 37 CRA 21"])
    apart = [
        Inclusion(
            material=made_of,
            share_zyx=(together.label_zyx == n).astype(np.float32),
            grid=together.grid,
        )
        for n, made_of in enumerate(together.materials, 1)
    ]
    one, many = body(apart[2], together, apart[0]), body(apart[2], *apart, apart[0])
    assert [each.name for each in one.materials] == [each.name for each in many.materials]
    first, second = (MaterialRenderer(each, device) for each in (one, many))
    np.testing.assert_allclose(first.render(view), second.render(view), atol=3e-5)
    nodes = VolumeGrid(shape_zyx=(2, 2, 2), spacing_xyz_mm=(200.0,) * 3)
    shift = np.broadcast_to(np.float32([3.0, -2.0, 5.0]), (2, 2, 2, 3)).copy()
    shifted = first.render_moved(view, shift, nodes)
    np.testing.assert_allclose(shifted, second.render_moved(view, shift, nodes), atol=3e-5)
    assert np.abs(shifted - first.render(view)).max() > 1


def test_devices_agree(device, other):
    volume, view = body(labelled(3)), volumes.view(volumes.POSES["LAO 37 CRA 21"])
    here, there = MaterialRenderer(volume, device), MaterialRenderer(volume, other)
    expected = here.render(view)
    assert np.abs(other.to_host(there.render(view)) - expected).max() < 2e-5 * expected.max()
    weights, center = np.ones_like(expected), volumes.GRID.center_xyz_mm
    slopes, same = (each.render_jacobian(view, center, weights)[1] for each in (here, there))
    assert np.linalg.norm(other.to_host(same) - slopes) < 1e-4 * np.linalg.norm(slopes)


# -- from files --------------------------------------------------------------------------------


def made(folder, voxels, materials):
    path = folder / "labels.mha"
    size = " ".join(str(count) for count in voxels.shape[::-1])
    path.write_bytes(meta_bytes(voxels.astype("<i2"), DimSize=size))
    return LabelInclusion(kind="labels", path=path, materials=materials).solids()


def test_labels_whose_boxes_overlap_take_one_march(tmp_path):
    voxels = np.zeros((12, 12, 12))
    voxels[2:10, 2:10, 2:8] = np.random.default_rng(1).choice([0, 40, 41, 9], (8, 8, 6))
    (all_in_one,) = made(tmp_path, voxels, {40: "cortical_bone", 41: "titanium", 9: "pmma"})
    assert [each.name for each in all_in_one.materials] == ["cortical_bone", "titanium", "pmma"]
    assert all_in_one.grid.shape_zyx == (10, 10, 8)
    for n, label in enumerate((40, 41, 9), 1):
        np.testing.assert_array_equal(all_in_one.label_zyx == n, (voxels == label)[1:11, 1:11, 1:9])


def test_small_labels_far_apart_keep_boxes_of_their_own(tmp_path):
    voxels = np.zeros((40, 40, 40))
    voxels[:3, :3, :3], voxels[37:, 37:, 37:], voxels[1:3, 1:3, :3] = 1, 2, 3
    near, far = made(tmp_path, voxels, {1: "steel", 2: "titanium", 3: "iodine"})
    assert [each.name for each in near.materials] == ["steel", "iodine"]
    assert far.material.name == "titanium"


def test_labels_of_one_material_that_lie_close_are_one_plane(tmp_path):
    voxels = np.zeros((30, 8, 8))
    voxels[1:3, 1:4, 1:4], voxels[3:5, 1:4, 1:4], voxels[28, 6, 6] = 3, 4, 5
    close, away = made(tmp_path, voxels, {3: "steel", 4: "steel", 5: "steel"})
    assert close.share_zyx.sum() == 36
    assert away.share_zyx.sum() == 1


def test_more_than_eight_materials_take_more_than_one_march(tmp_path):
    names = [*NAMES, "aluminium", "copper"]
    voxels = np.random.default_rng(0).integers(0, 11, (10, 10, 10))
    found = made(tmp_path, voxels, dict(enumerate(names, 1)))
    assert sorted(each.name for one in found for each in one.materials) == sorted(names)
    assert max(len(one.materials) for one in found) == 8
    assert len(found) == 2


def test_tissue_makes_room_for_all_labels():
    volume, labels = volumes.constant(), labelled(3)
    as_one = Inclusion(material=material("steel"), share_zyx=labels.filled_zyx(), grid=labels.grid)
    left = displaced(volume, [labels]).mu_zyx
    np.testing.assert_array_equal(left, displaced(volume, [as_one]).mu_zyx)
    assert (volume.mu_zyx - left).sum() > 0


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"label_zyx": np.zeros((2, 2, 2), np.int32)}, "label_zyx must be uint8 of shape"),
        ({"label_zyx": np.zeros((2, 2, 3), np.uint8)}, "label_zyx must be uint8 of shape"),
        ({"label_zyx": np.full((2, 2, 2), 2, np.uint8)}, r"label_zyx must lie in \[0, 1\]"),
        ({"materials": (material("steel"),) * 9}, "materials must be 1 to 8, got 9"),
    ],
)
def test_errors_are_one_line(changes, line):
    grid = VolumeGrid(shape_zyx=(2, 2, 2), spacing_xyz_mm=(1.0, 1.0, 1.0))
    given = {"materials": (material("steel"),), "label_zyx": np.zeros((2, 2, 2), np.uint8)}
    with pytest.raises(InputError, match=line):
        LabelledInclusion(**{**given, "grid": grid, **changes})
