"""Joseph with tissues from copies of the volume: the same as in place, and never out of date."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fluoro.geometry.carm import CarmPose
from fluoro.physics.tissues import TISSUE_MAPS, TissueMap, tissue_map
from fluoro.rendering import packed_volume, renderer
from fluoro.rendering.devices.cpu.device import CpuDevice
from fluoro.rendering.material_reference import tissue_joseph_reference
from fluoro.rendering.material_renderer import MaterialRenderer
from fluoro.volume.material_volume import MaterialVolume
from tests import volumes
from tests.rendering.test_cells import POSES, noise, worst, worst_slope
from tests.rendering.test_tissues import ball, tissue_volume

FLOAT32 = 1e-5
"""Of the largest sum or derivative."""
RAMPS = 2e-5
"""Of the largest thickness, as in test_tissues.py: the ramp of air, 1 HU wide, magnifies
rounding."""
MAPS = {"one ramp": None, **dict.fromkeys(TISSUE_MAPS)}


def body(shape_zyx=(13, 15, 17), name="tissues"):
    return MaterialVolume(volume=noise(shape_zyx), tissues=tissues_of(name))


def tissues_of(name):
    if name != "one ramp":
        return tissue_map(name)
    bone = tissue_map("soft_and_bone").materials[-1:]
    return TissueMap(
        materials=bone, knots_hu=np.array([-1000.0, 1500.0]), shares=np.array([[0.0], [1.0]])
    )


def joseph(volume):
    return MaterialRenderer(volume, CpuDevice(), projector="joseph")


def in_place(volume):
    """As it renders once somebody may write to the tissues."""
    made = joseph(volume)
    made.samples(0)
    return made


def weights_of(volume, view, seed=3):
    shape = (len(volume.materials), view.height_px, view.width_px)
    return np.random.default_rng(seed).random(shape, np.float32)


@pytest.mark.parametrize("name", MAPS)
def test_every_map_is_rendered_as_its_reference_has_it(name):
    volume = body(name=name)
    view = volumes.view(POSES["all lead"], volume.volume.grid)
    made = joseph(volume)
    assert worst(made.render(view), tissue_joseph_reference(volume, view)) < RAMPS
    assert made.copies_bytes() > 0


@pytest.mark.parametrize("pose", list(POSES))
@pytest.mark.parametrize("shape", [(12, 14, 16), (1, 15, 17), (13, 1, 17), (13, 15, 1)])
def test_images_and_derivatives_are_those_from_the_volume_itself(shape, pose):
    volume = body(shape)
    grid = volume.volume.grid
    view, center = volumes.view(POSES[pose], grid), grid.center_xyz_mm
    weights, made, expected = weights_of(volume, view), joseph(volume), in_place(volume)
    assert worst(made.render(view), expected.render(view)) < RAMPS
    total, slopes = made.render_jacobian(view, center, weights)
    expected_total, expected_slopes = expected.render_jacobian(view, center, weights)
    assert made.copies_bytes() > 0
    assert expected.copies_bytes() == 0
    assert worst(total, expected_total) < FLOAT32
    assert worst_slope(slopes, expected_slopes) < FLOAT32


def test_tissues_beside_metal_are_as_exact_as_without():
    """In 16 bits of a range that metal sets they would be off by 1e-4."""
    alone = tissue_volume()
    values = alone.volume.mu_zyx.copy()
    values[40:50, 20:30, 45:55] = 21 * alone.volume.water_mu_per_mm
    volume = replace(alone, volume=replace(alone.volume, mu_zyx=values))
    view = volumes.view(volumes.POSES["LAO 37 CRA 21"])
    expected = tissue_joseph_reference(volume, view)
    off = np.abs(joseph(volume).render(view) - expected).max(axis=(1, 2))
    assert (off < 2e-5 * np.minimum(expected.max(axis=(1, 2)), 100)).all()


def test_what_is_written_to_the_tissues_shows():
    volume, other = body(), noise((13, 15, 17), seed=2)
    view = volumes.view(POSES["all lead"], other.grid)
    made = joseph(
        replace(volume, volume=replace(volume.volume, mu_zyx=volume.volume.mu_zyx.copy()))
    )
    made.render(view)
    for number in (0, -1):  # without inclusions the last layer is the tissues'
        made.samples(number)[:] = other.mu_zyx
        expected = joseph(replace(volume, volume=other)).render(view)
        assert worst(made.render(view), expected) < RAMPS
    assert made.copies_bytes() == 0


def test_an_inclusion_that_is_rewritten_shows_and_tissues_keep_their_copies():
    """As contrast does, frame by frame."""
    metal = ball((12, 12, 12), 8)
    volume = replace(tissue_volume(), inclusions=(metal,))
    view = volumes.view(volumes.POSES["LAO 37 CRA 21"])
    made = joseph(volume)
    first = made.render(view)
    made.samples(-1)[:] = 0.5 * metal.share_zyx
    second = made.render(view)
    assert made.copies_bytes() > 0
    np.testing.assert_array_equal(second[:5], first[:5])
    np.testing.assert_allclose(second[5], 0.5 * first[5], atol=1e-5)


def test_without_room_for_copies_it_reads_in_place(monkeypatch):
    volume = body()
    grid = volume.volume.grid
    needed = 2 * packed_volume.packed_bytes(
        grid.shape_xyz, 1, precision=packed_volume.Precision.EXACT
    )
    view = volumes.view(POSES["all lead"], grid)
    images, held = [], []
    for available in (needed, needed - 1):
        monkeypatch.setattr(renderer, "available_memory_bytes", lambda room=available: room)
        made = joseph(volume)
        images.append(made.render(view))
        held.append(made.copies_bytes() > 0)
    assert held == [True, False]
    assert worst(*images) < RAMPS


def test_copies_are_made_for_the_views_and_serve_derivatives_too():
    volume = body((23, 25, 27))
    grid = volume.volume.grid
    made, frontal = joseph(volume), volumes.view(POSES["frontal"], grid)
    words = packed_volume.packed_words(
        grid.shape_xyz, 1, 1, precision=packed_volume.Precision.EXACT
    )
    one_axis = 4 * np.prod(words)
    made.render(frontal)
    assert made.copies_bytes() == one_axis
    made.render_jacobian(frontal, grid.center_xyz_mm, weights_of(volume, frontal))
    assert made.copies_bytes() == one_axis
    batch = [frontal, volumes.view(POSES["all lead"], grid)]
    both = made.render(batch)
    assert made.copies_bytes() == packed_volume.packed_bytes(
        grid.shape_xyz, 1, precision=packed_volume.Precision.EXACT
    )
    for found, view in zip(both, batch, strict=True):
        np.testing.assert_array_equal(found, made.render(view))


def test_other_devices_read_in_place_and_come_to_the_same(other):
    volume = body()
    view = volumes.view(POSES["all lead"], volume.volume.grid)
    there = MaterialRenderer(volume, other, projector="joseph")
    assert worst(other.to_host(there.render(view)), joseph(volume).render(view)) < RAMPS
    assert there.copies_bytes() == 0


def test_the_march_has_no_copies():
    volume = body()
    made = MaterialRenderer(volume, CpuDevice())
    made.render(volumes.view(POSES["frontal"], volume.volume.grid))
    assert made.copies_bytes() == 0


def test_rays_that_miss_are_0():
    volume = body((23, 25, 27))
    grid = volume.volume.grid
    view = volumes.view(CarmPose(translation_mm=(80.0, 0.0, 0.0)), grid)
    made = joseph(volume)
    image = made.render(view).max(axis=0)
    total, slopes = made.render_jacobian(view, grid.center_xyz_mm, weights_of(volume, view))
    missed = image == 0
    assert 0 < missed.sum() < missed.size
    assert not total[missed].any()
    assert not slopes[:, missed].any()
    assert np.isfinite(slopes).all()
