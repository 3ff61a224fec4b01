"""Labels in a view: kernels against the reference, one label at a time, on every device."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fluoro.config import CarmConfig
from fluoro.errors import InputError
from fluoro.geometry.carm import CarmPose
from fluoro.geometry.from_config import make_geometry
from fluoro.rendering.devices.cpu.device import CpuDevice
from fluoro.rendering.devices.selection import open_device
from fluoro.rendering.label_reference import label_sums_reference
from fluoro.rendering.label_renderer import LabelRenderer, bits_of
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.labels.label_volume import LabelVolume
from fluoro.volume.labels.structures import named
from fluoro.volume.volumes import MuVolume
from tests.support import require_vulkan

SIZE = {"detector_width_px": 40, "detector_height_px": 24, "pixel_spacing_mm": 6.0}
POSES = {
    "frontal": CarmPose(),
    "oblique": CarmPose(lao_deg=35.0, cra_deg=20.0),
    "lateral": CarmPose(lao_deg=90.0),
    "from the head": CarmPose(cra_deg=80.0),
}


def structures(count):
    return tuple(named({n: f"part {n}" for n in range(1, count + 1)}).values())


def blobs(count, seed=0):
    """Boxes of labels that lie over each other, on a tilted grid of uneven voxels."""
    rng = np.random.default_rng(seed)
    shape = (20, 26, 31)
    label = np.zeros(shape, np.uint8)
    for n in range(1, count + 1):
        low = [int(rng.integers(1, size - 6)) for size in shape]
        z, y, x = (slice(a, a + int(rng.integers(2, 6))) for a in low)
        label[z, y, x] = n
    grid = VolumeGrid(
        shape_zyx=shape, spacing_xyz_mm=(3.0, 3.5, 5.0), origin_xyz_mm=(-45.0, -40.0, -50.0),
        direction=((0.6, -0.8, 0.0), (0.8, 0.6, 0.0), (0.0, 0.0, 1.0)),
    )  # fmt: skip
    return LabelVolume(structures=structures(count), label_zyx=label, grid=grid)


def view_at(pose, labels):
    return make_geometry(CarmConfig(**SIZE)).view(pose, labels.grid.center_xyz_mm.tolist())


def noisy_volume(labels):
    mu = np.random.default_rng(5).uniform(0, 0.04, labels.label_zyx.shape).astype(np.float32)
    return MuVolume(mu_zyx=mu, grid=labels.grid)


@pytest.fixture(scope="module")
def cpu():
    device = CpuDevice(2)
    yield device
    device.close()


@pytest.mark.parametrize("pose", POSES.values(), ids=POSES)
@pytest.mark.parametrize("count", [3, 40])
def test_masks_and_lengths_equal_the_reference(cpu, pose, count):
    labels = blobs(count)
    view = view_at(pose, labels)
    renderer = LabelRenderer(labels, cpu)
    found, alone = renderer.lengths(view), renderer.masks(view)
    np.testing.assert_array_equal(found.masks, alone.masks)
    expected, near = label_sums_reference(labels.cropped(), view)
    np.testing.assert_allclose(found.lengths_mm[:, ~near], expected[1:, ~near], atol=2e-3)
    for label in range(1, count + 1):
        mask = bits_of(found.masks, label)
        np.testing.assert_array_equal(mask[~near], expected[label][~near] > 0)
    assert near.mean() < 0.3
    assert (expected[1:] > 0).any(axis=(1, 2)).mean() > 0.6


@pytest.mark.parametrize("pose", POSES.values(), ids=POSES)
def test_integrals_and_what_is_visible_equal_the_reference(cpu, pose):
    labels = blobs(12)
    view, volume = view_at(pose, labels), noisy_volume(labels)
    found = LabelRenderer(labels, cpu, volume).integrals(view, visible_share=0.1)
    expected, near = label_sums_reference(labels, view, volume.mu_zyx)
    np.testing.assert_allclose(found.integrals[:, ~near], expected[1:, ~near], atol=2e-5)
    total = expected.sum(axis=0)
    for label in range(1, 13):
        share = expected[label] / np.maximum(total, 1e-9)
        sure = ~near & (np.abs(share - 0.1) > 1e-4)
        np.testing.assert_array_equal(
            bits_of(found.visible, label)[sure], share[sure] >= 0.1, err_msg=str(label)
        )


def test_255_labels_have_a_mask_each(cpu):
    label = np.arange(1, 256, dtype=np.uint8).reshape(1, 15, 17)
    grid = VolumeGrid(
        shape_zyx=(1, 15, 17), spacing_xyz_mm=(4.0, 4.0, 4.0), origin_xyz_mm=(-32.0, -28.0, 0.0)
    )
    labels = LabelVolume(structures=structures(255), label_zyx=label, grid=grid)
    view = replace(view_at(CarmPose(cra_deg=89.0), labels), height_px=40)
    found = LabelRenderer(labels, cpu).lengths(view)
    assert found.masks.shape[0] == 8
    expected, near = label_sums_reference(labels, view)
    np.testing.assert_allclose(found.lengths_mm[:, ~near], expected[1:, ~near], atol=2e-3)
    seen = (expected[1:] > 0).any(axis=(1, 2))
    assert seen.sum() > 200


def test_a_ray_through_a_row_of_voxels_has_its_length(cpu):
    """A frontal ray through the middle crosses 30 mm of label 1, then 20 mm of label 2."""
    label = np.zeros((9, 5, 9), np.uint8)
    label[:, :3], label[:, 3:] = 1, 2
    grid = VolumeGrid(
        shape_zyx=label.shape, spacing_xyz_mm=(10.0,) * 3, origin_xyz_mm=(-40.0, -20.0, -40.0)
    )
    labels = LabelVolume(structures=structures(2), label_zyx=label, grid=grid)
    config = CarmConfig(**{**SIZE, "detector_width_px": 41, "detector_height_px": 25})
    view = make_geometry(config).view(CarmPose(), grid.center_xyz_mm.tolist())
    lengths = LabelRenderer(labels, cpu).lengths(view).lengths_mm[:, 12, 20]
    np.testing.assert_allclose(lengths, [30.0, 20.0], atol=1e-3)


def test_integrals_need_a_volume_on_the_same_grid(cpu):
    labels = blobs(2)
    with pytest.raises(InputError, match="integrals need the volume"):
        LabelRenderer(labels, cpu).integrals(view_at(CarmPose(), labels))
    other = MuVolume(mu_zyx=np.zeros((2, 2, 2), np.float32), grid=VolumeGrid(
        shape_zyx=(2, 2, 2), spacing_xyz_mm=(1.0, 1.0, 1.0)))  # fmt: skip
    with pytest.raises(InputError, match=r"must lie on the grid of the labels"):
        LabelRenderer(labels, cpu, other)


def test_llvmpipe_has_the_masks_and_sums_of_the_cpu(cpu):
    require_vulkan()
    other = open_device("llvmpipe")
    labels = blobs(40)
    view, volume = view_at(POSES["oblique"], labels), noisy_volume(labels)
    here, there = (LabelRenderer(labels, each, volume) for each in (cpu, other))
    ours, theirs = here.lengths(view), there.lengths(view)
    np.testing.assert_array_equal(other.to_host(theirs.masks), ours.masks)
    np.testing.assert_allclose(other.to_host(theirs.lengths_mm), ours.lengths_mm, atol=1e-3)
    ours, theirs = here.integrals(view, 0.1), there.integrals(view, 0.1)
    np.testing.assert_array_equal(other.to_host(theirs.visible), ours.visible)
    np.testing.assert_allclose(other.to_host(theirs.integrals), ours.integrals, atol=1e-5)
    other.close()
