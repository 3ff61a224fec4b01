"""The copies that Joseph and slab render from: every shape, every way to load them."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from fluoro.errors import InputError
from fluoro.geometry.carm import CarmPose
from fluoro.rendering import packed_volume, reference, renderer
from fluoro.rendering.devices.cpu import compiler
from fluoro.rendering.devices.cpu.device import CpuDevice
from fluoro.rendering.renderer import DrrRenderer
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.volumes import MuVolume
from tests import volumes

FLOAT32 = 1e-5
"""Of the image's maximum, as in test_projectors.py."""

REFERENCES = {"joseph": reference.joseph_reference, "slab": reference.slab_reference}
ROOTS_OR_EXACT = (packed_volume.Precision.ROOTS, packed_volume.Precision.EXACT)
POSES = {
    "frontal": CarmPose(),
    "z leads": CarmPose(cra_deg=75, lao_deg=10),
    "all lead": CarmPose(lao_deg=43, cra_deg=33, roll_deg=20),
}
projectors = pytest.mark.parametrize("projector", list(REFERENCES))


def noise(shape_zyx, low=0.0, seed=1):
    grid = VolumeGrid(shape_zyx=shape_zyx, spacing_xyz_mm=(6.0, 5.0, 7.0))
    values = np.random.default_rng(seed).uniform(low, 0.04, shape_zyx).astype(np.float32)
    return MuVolume(mu_zyx=values, grid=grid)


def worst(image, expected):
    return np.abs(image - expected).max() / np.abs(expected).max()


def worst_slope(found, expected):
    """Of derivatives w.r.t. rotations, and w.r.t. shifts: one of them alone may be 0."""
    return max(worst(found[:3], expected[:3]), worst(found[3:], expected[3:]))


def expected_values(copies, mu_zyx, axis):
    """A copy for the rays that an axis leads, voxel by voxel after its description, (c, a, b)."""
    a, b, c = packed_volume.ORDERS[axis]
    voxels = mu_zyx.transpose(2, 1, 0).transpose(c, a, b)
    slabs = -(-voxels.shape[1] // copies.thickness)
    planes = np.minimum(np.arange(slabs * copies.thickness), voxels.shape[1] - 1)
    sums = voxels[:, planes.reshape(slabs, -1)].sum(axis=2, dtype=np.float32)
    odd = 0 if copies.exact else voxels.shape[2] % 2  # a row is whole words
    around = ((1, 1), (0, 0), (1, 1 + odd))
    held = np.pad(sums / np.float32(copies.thickness), around, mode="edge")
    if copies.exact:
        return held.view(np.uint32)
    above = np.maximum(held - np.float32(copies.low_per_mm), 0)
    roots = np.sqrt(above * np.float32(1 / copies.count_per_mm)) + np.float32(0.5)
    return roots.astype(np.uint16)


def made_values(copies, axis):
    copies._cells = copies._memory(copies._end + packed_volume.MARGIN)
    copies._make(axis, copies._device)
    every = copies._device.to_host(copies._cells)
    found = every[copies._first_cell[axis] :][: np.prod(copies._words[axis])]
    return found if copies.exact else found.view(np.uint16)


@pytest.mark.parametrize(
    ("thickness", "exact", "low"),
    [
        *((thickness, False, low) for thickness in (1, 2) for low in (0.0, -0.03)),
        (3, False, 0.0),
        (1, True, -0.03),
    ],
)
@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("shape", [(12, 14, 16), (41, 37, 33), (3, 70, 35), (50, 1, 40)])
def test_copies_hold_the_packed_voxels(shape, axis, thickness, exact, low):
    """With less than a vector along an axis, with whole vectors and with parts of them."""
    volume = noise(shape, low=low)
    copies = packed_volume.PackedVolume(
        volume.mu_zyx,
        volume.mu_zyx,
        volume.grid,
        CpuDevice(),
        thickness=thickness,
        precision=ROOTS_OR_EXACT[exact],
    )
    found = made_values(copies, axis)
    expected = expected_values(copies, volume.mu_zyx, axis).ravel()
    if thickness == 3:  # a third is not exact in binary: the last bit of a mean is free
        assert np.abs(found.astype(int) - expected).max() <= 1
    else:
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("thickness", "exact"), [(1, False), (2, False), (1, True)])
def test_copies_of_other_devices_hold_the_same(other, thickness, exact):
    """Roots on a GPU may round another way: a step off, no more."""
    volume = noise((41, 37, 33))
    mu = other.to_device(volume.mu_zyx)
    copies = packed_volume.PackedVolume(
        mu, volume.mu_zyx, volume.grid, other, thickness=thickness, precision=ROOTS_OR_EXACT[exact]
    )
    for axis in range(3):
        found = made_values(copies, axis).astype(np.int64)
        expected = expected_values(copies, volume.mu_zyx, axis).ravel().astype(np.int64)
        assert np.abs(found - expected).max() <= (0 if exact else 1)


def test_a_copy_of_several_boxes_is_that_of_one(monkeypatch):
    volume = noise((41, 37, 33))
    copies = packed_volume.PackedVolume(
        volume.mu_zyx, volume.mu_zyx, volume.grid, CpuDevice(3), thickness=1
    )
    whole = [made_values(copies, axis) for axis in range(3)]
    monkeypatch.setattr(packed_volume, "BOX_BYTES", 1)
    for axis in range(3):
        np.testing.assert_array_equal(made_values(copies, axis), whole[axis])


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("shape", [(1, 5, 4), (7, 5, 4), (60, 3, 2)])
def test_the_range_is_that_of_all_values(shape, threads):
    values = np.random.default_rng(3).normal(size=shape).astype(np.float32)
    for place in (0, -1):
        values.ravel()[place] = 9.0
        values.ravel()[place - 1] = -9.0
        assert (
            packed_volume.value_range(values, threads)
            == (values.min(), values.max())
            == (-9.0, 9.0)
        )
        values[:] = values.clip(-1.0, 1.0)
    assert packed_volume.value_range(values[::-1, :, ::2], threads) == (-1.0, 1.0)


@projectors
@pytest.mark.parametrize("pose", list(POSES))
@pytest.mark.parametrize(
    "shape", [(13, 15, 17), (12, 14, 16), (1, 15, 17), (13, 1, 17), (13, 15, 1)]
)
def test_odd_even_and_single_planes(projector, shape, pose):
    volume = noise(shape)
    view = volumes.view(POSES[pose], volume.grid)
    image = DrrRenderer(volume, CpuDevice(), projector=projector).render(view)
    # a voxel is held to half a step, which is 2 / 65535 at the top: all of
    # the error where there is one plane
    assert worst(image, REFERENCES[projector](volume, view)) < FLOAT32 + 1 / 65535


def in_place(volume):
    """Joseph as it renders where its copies do not fit."""
    drr = DrrRenderer(volume, CpuDevice(), projector="joseph")
    drr._rays.copies = drr._rays.gradient_copies = None
    return drr


@pytest.mark.parametrize("pose", list(POSES))
@pytest.mark.parametrize(
    "shape", [(13, 15, 17), (12, 14, 16), (1, 15, 17), (13, 1, 17), (13, 15, 1)]
)
def test_derivatives_from_exact_copies_are_those_from_the_volume_itself(shape, pose):
    volume = noise(shape, low=-0.03)
    view = volumes.view(POSES[pose], volume.grid)
    center = volume.grid.center_xyz_mm
    drr = DrrRenderer(volume, CpuDevice(), projector="joseph")
    image, jacobian = drr.render_jacobian(view, center)
    expected_image, expected = in_place(volume).render_jacobian(view, center)
    assert drr._rays.gradient_copies is not None
    assert drr._rays.gradient_copies._made
    assert worst(image, expected_image) < 2e-6
    assert worst_slope(jacobian, expected) < FLOAT32


@projectors
def test_attenuation_below_zero_is_kept(projector):
    """As differences of volumes have it."""
    volume = noise((13, 15, 17), low=-0.03)
    view = volumes.view(POSES["all lead"], volume.grid)
    image = DrrRenderer(volume, CpuDevice(), projector=projector).render(view)
    assert worst(image, REFERENCES[projector](volume, view)) < 3 * FLOAT32


@projectors
def test_a_volume_of_air_is_black(projector):
    volume = MuVolume(mu_zyx=np.zeros((5, 6, 7), np.float32), grid=noise((5, 6, 7)).grid)
    view = volumes.view(CarmPose(lao_deg=20), volume.grid)
    assert not DrrRenderer(volume, CpuDevice(), projector=projector).render(view).any()


def test_metal_takes_little_from_what_lies_beside_it():
    """Copies hold small values to a smaller step than large ones."""
    water = volumes.constant()
    values = water.mu_zyx.copy()
    values[:6, :6, :6] = 2.0
    volume = MuVolume(mu_zyx=values, grid=water.grid)
    view = volumes.view(POSES["frontal"])
    image = DrrRenderer(volume, CpuDevice(), projector="joseph").render(view)
    expected = reference.joseph_reference(volume, view)
    off = np.abs(image - expected)[expected < 2.5]
    assert off.size > 500
    assert off.max() < 3e-4 * 2.0


def leave_out(units, monkeypatch):
    """Compile kernels without some vector units from here on."""
    native = compiler._flags
    monkeypatch.setattr(
        compiler,
        "_flags",
        lambda compiler, *, exact: (*native(compiler, exact=exact), units),
    )


@pytest.mark.parametrize("units", ["-mno-avx512f", "-mno-avx2"])
@projectors
def test_other_vector_units_come_to_the_same_image(projector, units, monkeypatch):
    """The injected loads are for AVX-512: without it the kernel does them in a plain loop."""
    volume = noise((23, 25, 27))
    view = volumes.view(POSES["all lead"], volume.grid)
    image = DrrRenderer(volume, CpuDevice(), projector=projector).render(view)
    leave_out(units, monkeypatch)
    other = DrrRenderer(volume, CpuDevice(), projector=projector).render(view)
    assert worst(other, image) < 2e-6


@pytest.mark.parametrize("units", ["-mno-avx512f", "-mno-avx2"])
def test_other_vector_units_come_to_the_same_derivatives(units, monkeypatch):
    """From the exact copies, which the same loads read twice."""
    volume = noise((23, 25, 27))
    view, center = volumes.view(POSES["all lead"], volume.grid), volume.grid.center_xyz_mm
    _, expected = DrrRenderer(volume, CpuDevice(), projector="joseph").render_jacobian(view, center)
    leave_out(units, monkeypatch)
    _, found = DrrRenderer(volume, CpuDevice(), projector="joseph").render_jacobian(view, center)
    assert worst_slope(found, expected) < FLOAT32


def test_without_room_for_copies_joseph_reads_in_place(monkeypatch):
    """Derivatives first: they need copies of their own besides."""
    volume, view = volumes.noise(), volumes.view(POSES["all lead"])
    shape, center = volume.grid.shape_xyz, volume.grid.center_xyz_mm
    roots = 2 * packed_volume.packed_bytes(shape, 1)
    both = roots + 2 * packed_volume.packed_bytes(shape, 1, precision=packed_volume.Precision.EXACT)
    held, images, slopes = [], [], []
    for available in (both, both - 1, roots - 1):
        monkeypatch.setattr(renderer, "available_memory_bytes", lambda room=available: room)
        drr = DrrRenderer(volume, CpuDevice(), projector="joseph")
        held.append((drr._rays.copies is not None, drr._rays.gradient_copies is not None))
        images.append(drr.render(view))
        slopes.append(drr.render_jacobian(view, center)[1])
    assert held == [(True, True), (True, False), (False, False)]
    assert worst(images[0], images[2]) < FLOAT32
    assert worst_slope(slopes[0], slopes[1]) < FLOAT32


def test_a_copy_is_made_when_a_view_needs_it():
    volume = noise((23, 25, 27))
    drr = DrrRenderer(volume, CpuDevice(), projector="slab")
    for pose, made in [("frontal", {1}), ("z leads", {1, 2}), ("all lead", {0, 1, 2})]:
        drr.render(volumes.view(POSES[pose], volume.grid))
        assert drr._rays.copies is not None
        assert drr._rays.copies._made == made


class HeldDevice(CpuDevice):
    """Its launches wait for an event."""

    def __init__(self):
        super().__init__(1)
        self.begun, self.go_on = threading.Event(), threading.Event()

    def run(self, launch):
        self.begun.set()
        assert self.go_on.wait(30)
        super().run(launch)


@projectors
def test_views_go_on_from_the_copies_there_are_while_another_thread_makes_one(projector):
    volume, held = noise((23, 25, 27)), HeldDevice()
    frontal = volumes.view(POSES["frontal"], volume.grid)
    steep = volumes.view(POSES["z leads"], volume.grid)
    drr = DrrRenderer(volume, CpuDevice(), projector=projector)
    expected = DrrRenderer(volume, CpuDevice(), projector=projector)
    drr.make_copies([frontal], drr.device)
    with ThreadPoolExecutor(2) as pool:
        pool.submit(drr.make_copies, [steep], held)
        assert held.begun.wait(30)
        np.testing.assert_array_equal(drr.render(frontal), expected.render(frontal))
        waiting = pool.submit(drr.render, steep)
        assert not waiting.done()
        held.go_on.set()
        np.testing.assert_array_equal(waiting.result(30), expected.render(steep))


def test_exact_copies_are_made_for_derivatives_alone():
    volume = noise((23, 25, 27))
    view = volumes.view(POSES["frontal"], volume.grid)
    drr = DrrRenderer(volume, CpuDevice(), projector="joseph")
    drr.render(view)
    roots = drr.copies_bytes()
    drr.render_jacobian(view, volume.grid.center_xyz_mm)
    words = packed_volume.packed_words(
        volume.grid.shape_xyz, 1, 1, precision=packed_volume.Precision.EXACT
    )
    assert drr.copies_bytes() == roots + 4 * np.prod(words)


def test_rays_that_miss_are_0_whatever_the_memory_held_before():
    """They read from the copy of the axis x, which this view does not need."""
    volume = noise((23, 25, 27))
    view = volumes.view(CarmPose(translation_mm=(80.0, 0.0, 0.0)), volume.grid)
    size = (
        packed_volume.packed_bytes(
            volume.grid.shape_xyz, 1, precision=packed_volume.Precision.EXACT
        )
        // 4
    )
    held = [np.full(size, np.nan, np.float32) for _ in range(8)]
    del held
    drr = DrrRenderer(volume, CpuDevice(), projector="joseph")
    image, jacobian = drr.render_jacobian(view, volume.grid.center_xyz_mm)
    assert drr._rays.gradient_copies is not None
    assert drr._rays.gradient_copies._made == {1}
    assert (image == 0).any()
    assert (image > 0).any()
    assert np.isfinite(image).all()
    assert np.isfinite(jacobian).all()


def test_copies_are_as_large_as_the_documentation_says():
    shape = (512, 512, 400)
    voxels = float(np.prod(shape))
    assert packed_volume.packed_bytes(shape, 1) / 3 == pytest.approx(2 * voxels, rel=0.02)
    assert packed_volume.packed_bytes(
        shape, 1, precision=packed_volume.Precision.EXACT
    ) / 3 == pytest.approx(4 * voxels, rel=0.02)
    assert packed_volume.packed_bytes(shape, 2) / 3 == pytest.approx(voxels, rel=0.02)


def test_a_volume_too_large_for_slab_is_refused(monkeypatch):
    monkeypatch.setattr(packed_volume, "MAX_CELLS", 1000)
    with pytest.raises(InputError, match="has 9775 voxels, too many for projector 'slab'"):
        DrrRenderer(noise((23, 25, 17)), CpuDevice(), projector="slab")


@projectors
def test_rows_are_those_of_the_whole(projector):
    volume = noise((23, 25, 27))
    view = volumes.view(POSES["all lead"], volume.grid)
    drr = DrrRenderer(volume, CpuDevice(), projector=projector)
    np.testing.assert_array_equal(drr.render_rows(view, (7, 19)), drr.render(view)[7:19])
