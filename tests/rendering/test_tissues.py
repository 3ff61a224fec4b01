"""CT numbers to materials: closed forms, round trips, and the renderer against its reference."""

from __future__ import annotations

import numpy as np
import pytest

from fluoro.errors import InputError
from fluoro.geometry.view_derivatives import moved, rigid_motions
from fluoro.physics.materials import material
from fluoro.physics.tissues import TISSUE_MAPS, tissue_map
from fluoro.rendering.devices.cpu.device import CpuDevice
from fluoro.rendering.material_reference import (
    tissue_joseph_reference,
    tissue_march_reference,
    tissue_slab_reference,
)
from fluoro.rendering.material_renderer import MaterialRenderer
from fluoro.rendering.packed_volume import packed_values
from fluoro.rendering.reference import march_steps
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.material_volume import Inclusion, MaterialVolume
from fluoro.volume.volumes import MuVolume
from tests import volumes

MAPS = list(TISSUE_MAPS)
ROUND_TRIPS = ["tissues", "soft_and_bone"]
GATE = 1e-3
"""Of derivatives, norm-relative over the image."""

STEPS = np.array([1e-9] * 3 + [1e-7] * 3)
"""Of the central differences, radians and millimetres; as in test_derivatives.py."""


@pytest.fixture(scope="module")
def device():
    return CpuDevice()


def tissue_volume(name="tissues", *, seed=0):
    """A body in air whose CT numbers reach from lung to dense bone, with smooth noise."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(size=(6, 6, 6))
    hu = lambda x, y, z: (  # noqa: E731
        -1000.0
        + 1100.0 / (1 + np.exp((np.hypot(x - 50, y - 48) - 38) / 1.5))
        + 1400.0 * np.exp(-((x - 40) ** 2 + (y - 50) ** 2) / 60)
        - 800.0 * np.exp(-((x - 62) ** 2 + (y - 45) ** 2 + (z - 45) ** 2) / 130)
        + 40.0 * coarse[(z // 16).astype(int), (y // 17).astype(int), (x // 17).astype(int)]
    )
    mu = volumes.volume_of(lambda x, y, z: np.maximum(0, 0.0193 * (1 + hu(x, y, z) / 1000)))
    return MaterialVolume(volume=mu, tissues=tissue_map(name))


# -- the map -----------------------------------------------------------------------------------


@pytest.mark.parametrize("energy_kev", [60.0, 70.0, 100.0])
@pytest.mark.parametrize("name", ROUND_TRIPS)
def test_ct_numbers_come_back_at_the_scanners_energy(name, energy_kev):
    tissues, hu = tissue_map(name, energy_kev), np.linspace(-1000, 3071, 4072)
    np.testing.assert_allclose(tissues.hu(tissues.volume_shares(hu), energy_kev), hu, atol=1e-9)


@pytest.mark.parametrize("name", ROUND_TRIPS)
def test_each_tissue_is_itself_at_its_own_ct_number(name):
    tissues = tissue_map(name)
    np.testing.assert_allclose(tissues.volume_shares(tissues.knots_hu[1:-1]), np.eye(
        len(tissues.materials)), atol=1e-12)  # fmt: skip


def test_cortical_bone_has_the_ct_number_of_the_source():
    for energy_kev, hu in ((60, 1936), (65, 1723), (70, 1559), (75, 1431)):
        assert tissue_map("soft_and_bone", energy_kev).knots_hu[-2] == pytest.approx(hu, abs=2)


@pytest.mark.parametrize("name", MAPS)
def test_shares_are_continuous_and_never_negative(name):
    shares = tissue_map(name).volume_shares(np.linspace(-1100, 4000, 51001))
    assert shares.min() >= 0
    assert np.abs(np.diff(shares, axis=0)).max() < 0.1  # within 0.1 HU: from vacuum to air


def test_volumes_add_up_between_air_and_bone():
    shares = tissue_map("tissues").volume_shares(np.linspace(-998, 1559, 500))
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-9)


def test_schneiders_densities_are_the_papers():
    tissues = tissue_map("schneider")
    density = np.array([each.density_g_per_cm3 for each in tissues.materials])
    for hu, expected in ((-500, 0.516), (-60, 0.964), (60, 1.073), (500, 1.313), (1000, 1.609)):
        assert tissues.volume_shares(hu) @ density == pytest.approx(expected, rel=0.01), hu


def test_schneider_composition_between_marrow_and_bone_is_the_tables():
    """GATE's table: 800 to 900 HU has 15.9 % calcium, 7.3 % phosphorus, 5.6 % hydrogen."""
    tissues = tissue_map("schneider")
    shares = tissues.volume_shares(850.0)
    mass = shares * [each.density_g_per_cm3 for each in tissues.materials]
    for symbol, percent in (("Ca", 15.9), ("P", 7.3), ("H", 5.6), ("C", 26.5)):
        fraction = [each.mass_fractions.get(symbol, 0.0) for each in tissues.materials]
        assert 100 * mass @ fraction / mass.sum() == pytest.approx(percent, rel=0.02), symbol


@pytest.mark.parametrize("name", MAPS)
def test_ramps_and_their_mix_are_the_map(name):
    tissues, hu = tissue_map(name), np.linspace(-1000, 3000, 999)
    scale, shift = tissues.ramps(0.0193).T
    ramps = np.clip(np.multiply.outer(0.0193 * (1 + hu / 1000), scale) + shift, 0, 1)
    np.testing.assert_allclose(ramps @ tissues.mix.T, tissues.volume_shares(hu), atol=1e-9)


def test_errors_name_what_there_is():
    with pytest.raises(InputError, match="materials must be one of tissues, soft_and_bone, schn"):
        tissue_map("bones")
    with pytest.raises(InputError, match="ct_energy_kev must lie in"):
        tissue_map("tissues", 500.0)


# -- the renderer ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "pose"),
    [*(("tissues", pose) for pose in volumes.POSES), *((n, "lateral") for n in MAPS)],
)
def test_march_agrees_with_its_reference(device, name, pose):
    volume, view = tissue_volume(name), volumes.view(volumes.POSES[pose])
    found = MaterialRenderer(volume, device).render(view)
    expected = tissue_march_reference(volume, view, min(volume.volume.grid.spacing_xyz_mm) / 2)
    assert np.abs(found - expected).max() < 2e-5 * expected.max()


def renderer_of(volume, device, projector):
    """Joseph from copies, or in place, as where copies do not fit."""
    name, _, place = projector.partition(" ")
    renderer = MaterialRenderer(volume, device, projector=name)
    if place:
        renderer.samples(0)
    return renderer


def slab_reference_of(volume, view):
    """Of what the copies hold."""
    largest = float(volume.volume.mu_zyx.max())
    return tissue_slab_reference(volume, view, lambda mu: packed_values(mu, largest))


@pytest.mark.parametrize("projector", ["joseph", "joseph in place"])
@pytest.mark.parametrize("pose", list(volumes.POSES))
def test_joseph_agrees_with_its_reference(device, pose, projector):
    volume, view = tissue_volume(), volumes.view(volumes.POSES[pose])
    found = renderer_of(volume, device, projector).render(view)
    expected = tissue_joseph_reference(volume, view)
    assert np.abs(found - expected).max() < 2e-5 * expected.max()


@pytest.mark.parametrize("pose", list(volumes.POSES))
def test_slab_agrees_with_its_reference(device, pose):
    volume, view = tissue_volume(), volumes.view(volumes.POSES[pose])
    found = MaterialRenderer(volume, device, projector="slab").render(view)
    expected = slab_reference_of(volume, view)
    assert np.abs(found - expected).max() < 3e-5 * expected.max()
    exact = tissue_slab_reference(volume, view)  # copies hold a voxel to 2 / 65535 of the largest
    assert np.abs(found - exact).max() < 6e-5 * expected.max()


@pytest.mark.parametrize("projector", ["march", "joseph", "slab"])
def test_at_the_scanners_energy_the_materials_are_the_line_integral(device, projector):
    from fluoro.rendering.renderer import DrrRenderer

    volume, view = tissue_volume(), volumes.view(volumes.POSES["LAO 37 CRA 21"])
    thicknesses = MaterialRenderer(volume, device, projector=projector).render(view)
    water = volume.volume.water_mu_per_mm / material("water").mu_per_mm(70.0)
    mu = water * np.array([each.mu_per_mm(70.0) for each in volume.materials])
    expected = DrrRenderer(volume.volume, device, projector=projector).render(view)
    found = np.tensordot(mu, thicknesses, 1)
    np.testing.assert_allclose(found, expected, atol=1e-4 if projector == "slab" else 2e-5)


def ball(center_zyx, radius, name="titanium"):
    """A ball of one material on a fine grid of its own inside the tissue volume's."""
    grid = VolumeGrid(
        shape_zyx=(24, 24, 24), spacing_xyz_mm=(0.5, 0.5, 0.5), origin_xyz_mm=(50.0, 35.0, 60.0)
    )
    z, y, x = np.indices(grid.shape_zyx)
    away = np.sqrt((z - center_zyx[0]) ** 2 + (y - center_zyx[1]) ** 2 + (x - center_zyx[2]) ** 2)
    share = np.clip(radius - away + 0.5, 0, 1).astype(np.float32)
    return Inclusion(material=material(name), share_zyx=share, grid=grid)


def with_ball(volume):
    return MaterialVolume(
        volume=volume.volume, tissues=volume.tissues, inclusions=(ball((12, 12, 12), 8),)
    )


def test_an_inclusion_is_a_plane_of_its_own(device):
    volume = with_ball(tissue_volume())
    view = volumes.view(volumes.POSES["LAO 37 CRA 21"])
    found = MaterialRenderer(volume, device).render([view, view])
    assert found.shape == (2, 6, 30, 38)
    inclusion = volume.inclusions[0]
    alone = MuVolume(mu_zyx=inclusion.share_zyx, grid=inclusion.grid)
    from fluoro.rendering.renderer import DrrRenderer

    expected = DrrRenderer(alone, device).render(view)
    assert expected.max() > 6
    np.testing.assert_allclose(found[1, 5], expected, atol=1e-4)
    np.testing.assert_array_equal(found[0], found[1])


def test_shares_beyond_one_are_refused():
    grid = VolumeGrid(shape_zyx=(2, 2, 2), spacing_xyz_mm=(1.0, 1.0, 1.0))
    with pytest.raises(InputError, match=r"share_zyx must lie in \[0, 1\], got 2 to 2"):
        Inclusion(
            material=material("steel"), share_zyx=np.full((2, 2, 2), 2, np.float32), grid=grid
        )


@pytest.mark.parametrize("projector", ["march", "joseph", "joseph in place", "slab"])
@pytest.mark.parametrize("pose", ["LAO 37 CRA 21", "RAO 140 CAU 50"])
def test_weighted_jacobian_is_the_derivative_of_the_discrete_sum(device, projector, pose):
    volume, view = tissue_volume(), volumes.view(volumes.POSES[pose])
    center, step_mm = volumes.GRID.center_xyz_mm, 0.45
    weights = np.random.default_rng(5).random((5, 30, 38)).astype(np.float32)
    renderer = renderer_of(volume, device, projector)
    total, found = renderer.render_jacobian(view, center, weights)
    weighted = (weights * renderer.render(view)).sum(axis=0)
    assert np.abs(total - weighted).max() < 3e-5 * weighted.max()
    motions, steps = rigid_motions(view, center), march_steps(volume.volume, view, step_mm)

    def reference_image(at):
        if projector == "slab":
            return (weights * slab_reference_of(volume, at)).sum(axis=0)
        if projector != "march":
            return (weights * tissue_joseph_reference(volume, at)).sum(axis=0)
        return (weights * tissue_march_reference(volume, at, step_mm, steps)).sum(axis=0)

    for k, amount in enumerate(STEPS):
        plus, minus = (
            reference_image(moved(view, motions, sign * amount * np.eye(6)[k])) for sign in (1, -1)
        )
        expected = (plus - minus) / (2 * amount)
        assert np.linalg.norm(found[k] - expected) < GATE * np.linalg.norm(expected), k


@pytest.mark.parametrize("projector", ["joseph", "slab"])
def test_beside_an_inclusion_tissues_stay_as_they_are(device, projector):
    """With slab, which needs copies, the inclusion's voxels are read in place by Joseph."""
    volume, view = tissue_volume(), volumes.view(volumes.POSES["LAO 37 CRA 21"])
    alone = MaterialRenderer(volume, device, projector=projector).render(view)
    both = MaterialRenderer(with_ball(volume), device, projector=projector).render(view)
    np.testing.assert_array_equal(both[:5], alone)
    joseph = MaterialRenderer(with_ball(volume), device, projector="joseph").render(view)
    np.testing.assert_array_equal(both[5], joseph[5])


def test_tissues_of_slab_cannot_be_written_to(device):
    renderer = MaterialRenderer(tissue_volume(), device, projector="slab")
    with pytest.raises(InputError, match=r"reads tissues from copies.*use march or joseph"):
        renderer.samples(0)


def test_derivatives_of_inclusions_add_up(device):
    volume = with_ball(tissue_volume())
    view, center = volumes.view(volumes.POSES["LAO 37 CRA 21"]), volumes.GRID.center_xyz_mm
    renderer = MaterialRenderer(volume, device)
    parts = np.ones((6, 30, 38), np.float32)
    tissues, metal = parts.copy(), parts.copy()
    tissues[5], metal[:5] = 0, 0
    whole, first, second = (
        renderer.render_jacobian(view, center, each)[1] for each in (parts, tissues, metal)
    )
    np.testing.assert_allclose(whole, first + second, atol=1e-3 * np.abs(whole).max())
    assert np.abs(second).max() > 0
    upstream = renderer.render_vjp(view, center, parts)
    np.testing.assert_allclose(upstream, whole.sum(axis=(1, 2)), rtol=1e-4)


def test_devices_agree(device, other):
    volume = with_ball(tissue_volume())
    view, center = volumes.view(volumes.POSES["LAO 37 CRA 21"]), volumes.GRID.center_xyz_mm
    here, there = MaterialRenderer(volume, device), MaterialRenderer(volume, other)
    expected = here.render(view)
    assert np.abs(other.to_host(there.render(view)) - expected).max() < 2e-5 * expected.max()
    _, slopes = here.render_jacobian(view, center, np.ones_like(expected))
    _, same = there.render_jacobian(view, center, np.ones_like(expected))
    assert np.linalg.norm(other.to_host(same) - slopes) < 1e-4 * np.linalg.norm(slopes)


def test_renderer_refuses_what_it_does_not_do(device):
    volume, view = tissue_volume(), volumes.view(volumes.POSES["lateral"])
    with pytest.raises(InputError, match="projector must be march, joseph or slab for materials"):
        MaterialRenderer(volume, device, projector="siddon")
    renderer = MaterialRenderer(volume, device)
    with pytest.raises(InputError, match=r"weights must be .* shape \(5, 30, 38\)"):
        renderer.render_jacobian(view, (0, 0, 0), np.ones((4, 30, 38)))
    with pytest.raises(InputError, match="motions must be finite"):
        renderer.render_derivatives(view, np.ones((2, 3)), np.ones((5, 30, 38)))
    with pytest.raises(InputError, match="out must be"):
        renderer.render(view, out=np.empty((5, 30, 37), np.float32))
