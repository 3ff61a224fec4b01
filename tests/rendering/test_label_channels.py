"""A channel a structure: they add up, and are differentiable in pose and voxels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fluoro.errors import InputError
from fluoro.registration.rigid_motion import motion_about, moved_view
from fluoro.rendering.devices.cpu.device import CpuDevice
from fluoro.rendering.label_channels import LabelChannels
from fluoro.rendering.renderer import DrrRenderer
from fluoro.volume.labels.load import softened
from tests.rendering.test_label_renderer import POSES, blobs, noisy_volume, view_at


@pytest.fixture(scope="module")
def cpu():
    device = CpuDevice(2)
    yield device
    device.close()


@pytest.fixture(scope="module")
def channels(cpu):
    labels = blobs(5)
    return LabelChannels(noisy_volume(labels), labels, cpu)


@pytest.mark.parametrize("pose", POSES.values(), ids=POSES)
def test_channels_and_the_rest_add_up_to_the_volume(cpu, channels, pose):
    labels = channels.labels
    volume, view = noisy_volume(labels), view_at(pose, labels)
    rest = replace(volume, mu_zyx=np.where(labels.label_zyx == 0, volume.mu_zyx, np.float32(0)))
    whole, outside = (
        DrrRenderer(each, cpu, projector="joseph").render(view) for each in (volume, rest)
    )
    np.testing.assert_allclose(channels.render(view).sum(axis=0) + outside, whole, atol=2e-4)


def test_a_channel_is_the_image_of_the_structure_alone(cpu, channels):
    labels = channels.labels
    volume, view = noisy_volume(labels), view_at(POSES["oblique"], labels)
    found = channels.render(view)
    for label in range(1, 6):
        mu = np.where(labels.label_zyx == label, volume.mu_zyx, np.float32(0))
        alone = DrrRenderer(replace(volume, mu_zyx=mu), cpu, projector="joseph").render(view)
        np.testing.assert_allclose(found[label - 1], alone, atol=1e-4)


def test_pose_derivatives_are_those_of_differences(channels):
    labels = channels.labels
    view, center = view_at(POSES["oblique"], labels), labels.grid.center_xyz_mm
    weights = np.random.default_rng(1).normal(size=channels.render(view).shape)
    found = channels.render_vjp(view, center, weights)
    jacobian = channels.render_jacobian(view, center)
    np.testing.assert_allclose(np.einsum("kphw,khw->p", jacobian, weights), found, rtol=1e-3)
    for n, step in ((0, 1e-4), (3, 2e-3), (5, 2e-3)):
        twist = np.zeros(6)
        twist[n] = step
        ahead, behind = (
            (channels.render(moved_view(view, motion_about(sign * twist, center))) * weights).sum(
                dtype=float
            )
            for sign in (1, -1)
        )
        assert found[n] == pytest.approx((ahead - behind) / (2 * step), rel=0.05)


def test_voxel_derivatives_are_the_transpose(channels):
    labels = channels.labels
    volume, view = noisy_volume(labels), view_at(POSES["frontal"], labels)
    upstream = np.random.default_rng(2).normal(size=channels.render(view).shape).astype(np.float32)
    by_voxel = channels.backproject(view, upstream)
    assert not by_voxel[labels.label_zyx == 0].any()
    inside = (channels.render(view) * upstream).sum(dtype=float)
    assert (by_voxel * volume.mu_zyx).sum(dtype=float) == pytest.approx(inside, rel=1e-3)


def test_a_structure_without_voxels_is_refused(cpu):
    labels = blobs(3)
    empty = replace(labels, label_zyx=np.where(labels.label_zyx == 2, 0, labels.label_zyx))
    with pytest.raises(InputError, match="labels must have voxels of every structure, part 2 has"):
        LabelChannels(noisy_volume(labels), empty, cpu)


def test_pytorch_has_a_channel_a_structure(cpu):
    torch = pytest.importorskip("torch")
    from fluoro.torch.pose_drr import PoseDrr

    labels = blobs(3)
    drr = PoseDrr(noisy_volume(labels), sdd_mm=1000, height_px=16, delx_mm=10.0, device=cpu,
                  labels=labels)  # fmt: skip
    rotation = torch.tensor([[0.1, 0.2, 0.3]], dtype=torch.float64, requires_grad=True)
    translation = torch.tensor([[5.0, 600.0, -3.0]], dtype=torch.float64, requires_grad=True)
    words = {"parameterization": "euler_angles", "convention": "ZXY"}
    image = drr(rotation, translation, **words)
    assert image.shape == (1, 3, 16, 16)
    assert (image.amax(dim=(0, 2, 3)) > 0).all()
    image[:, 1].sum().backward()
    step = torch.tensor([[0.0, 0.0, 0.05]], dtype=torch.float64)
    with torch.no_grad():
        ahead, behind = (
            drr(rotation, translation + s * step, **words)[:, 1].sum() for s in (1, -1)
        )
    expected = float(ahead - behind) / 0.1
    assert float(translation.grad[0, 2]) == pytest.approx(expected, rel=0.05, abs=1e-3)


def test_soft_channels_and_the_rest_still_add_up(cpu):
    labels = blobs(4)
    volume, view = noisy_volume(labels), view_at(POSES["oblique"], labels)
    soft = LabelChannels(volume, labels, cpu, soft_edge_mm=6.0)
    share = softened(labels.label_zyx == 0, labels.grid, 6.0)
    rest = replace(volume, mu_zyx=volume.mu_zyx * share)
    whole, outside = (
        DrrRenderer(each, cpu, projector="joseph").render(view) for each in (volume, rest)
    )
    np.testing.assert_allclose(soft.render(view).sum(axis=0) + outside, whole, atol=2e-4)
    crisp = LabelChannels(volume, labels, cpu).render(view)
    assert np.count_nonzero(soft.render(view)) > np.count_nonzero(crisp)


def test_voxel_derivatives_of_soft_channels_are_the_transpose(cpu):
    labels = blobs(3)
    volume, view = noisy_volume(labels), view_at(POSES["frontal"], labels)
    soft = LabelChannels(volume, labels, cpu, soft_edge_mm=4.0)
    images = soft.render(view)
    upstream = np.random.default_rng(3).normal(size=images.shape).astype(np.float32)
    by_voxel = soft.backproject(view, upstream)
    assert np.vdot(by_voxel, volume.mu_zyx) == pytest.approx(np.vdot(images, upstream), rel=1e-4)


def test_a_subset_of_pixels_is_that_of_the_whole_image(cpu, channels):
    view = view_at(POSES["oblique"], channels.labels)
    rng, center = np.random.default_rng(4), channels.labels.grid.center_xyz_mm
    pixels = rng.integers(0, (view.height_px, view.width_px), size=(33, 2))
    rows, columns = pixels.T
    np.testing.assert_allclose(
        channels.render(view, pixels=pixels), channels.render(view)[:, rows, columns], atol=1e-5
    )
    weights = rng.normal(size=(5, 33)).astype(np.float32)
    spread = np.zeros((5, view.height_px, view.width_px), np.float32)
    np.add.at(spread, (slice(None), rows, columns), weights)
    np.testing.assert_allclose(
        channels.render_vjp(view, center, weights, pixels=pixels),
        channels.render_vjp(view, center, spread),
        rtol=1e-4,
        atol=1e-4,
    )
    np.testing.assert_allclose(
        channels.backproject(view, weights, pixels=pixels),
        channels.backproject(view, spread),
        atol=1e-4,
    )


@pytest.mark.parametrize("length", [-1.0, float("nan"), float("inf")])
def test_an_edge_that_is_no_length_is_refused(cpu, length):
    labels = blobs(2)
    with pytest.raises(InputError, match="soft_edge_mm must be 0 or a length, got"):
        LabelChannels(noisy_volume(labels), labels, cpu, soft_edge_mm=length)


def test_pytorch_has_derivatives_in_the_voxels_of_each_channel(cpu):
    pytest.importorskip("torch")
    import torch

    from fluoro.torch.pose_drr import PoseDrr

    labels = blobs(3)
    volume = noisy_volume(labels)
    drr = PoseDrr(volume, sdd_mm=1000, height_px=16, delx_mm=10.0, device=cpu, labels=labels)
    mu = torch.tensor(volume.mu_zyx, requires_grad=True)
    pose = torch.zeros(1, 3), torch.tensor([[0.0, 850.0, 0.0]])
    kind = {"parameterization": "euler_angles", "convention": "ZXY"}
    images = drr(*pose, **kind, mu_zyx=mu)
    weights = torch.randn(images.shape, generator=torch.Generator().manual_seed(1))
    (images * weights).sum().backward()
    assert not mu.grad.numpy()[labels.label_zyx == 0].any()
    # the images are linear in the voxels
    assert float((mu.grad * mu.detach()).sum()) == pytest.approx(
        float((images.detach() * weights).sum()), rel=1e-4
    )
    half = drr(*pose, **kind, mu_zyx=mu.detach() / 2)
    np.testing.assert_allclose(half.numpy() * 2, images.detach().numpy(), atol=1e-4)
