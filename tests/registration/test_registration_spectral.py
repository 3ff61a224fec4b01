"""The volume at another energy: pure tissues, mixtures, water, and what a beam makes of it."""

import numpy as np
import pytest

from fluoro.errors import InputError
from fluoro.physics.materials import material
from fluoro.physics.tissues import tissue_map
from fluoro.registration.measures.spectral import at_energy
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.hu_to_mu import mu_water_per_mm
from fluoro.volume.volumes import MuVolume


def _volume(hu):
    mu = mu_water_per_mm(70.0) * (1 + np.reshape(hu, (1, 1, -1)) / 1000)
    grid = VolumeGrid(shape_zyx=mu.shape, spacing_xyz_mm=(1.0, 1.0, 1.0))
    return MuVolume(mu_zyx=np.maximum(mu, 0).astype(np.float32), grid=grid)


@pytest.mark.parametrize("energy_kev", [40.0, 50.0, 70.0, 120.0])
def test_each_tissue_s_own_ct_number_attenuates_as_that_tissue(energy_kev):
    tissues = tissue_map("tissues")
    own = np.array([float(each.mu_per_mm(70.0)) for each in tissues.materials])
    hu = 1000 * (own / float(material("water").mu_per_mm(70.0)) - 1)
    found = at_energy(_volume(hu), energy_kev).mu_zyx.ravel()
    expected = [float(each.mu_per_mm(energy_kev)) for each in tissues.materials]
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-6)


def test_between_and_beyond_the_knots_it_is_what_the_shares_attenuate():
    hu = np.array([-1000.0, -500.0, -30.0, 300.0, 2500.0])
    tissues = tissue_map("soft_and_bone")
    mu = np.array([float(each.mu_per_mm(55.0)) for each in tissues.materials])
    found = at_energy(_volume(hu), 55.0, tissues).mu_zyx.ravel()
    np.testing.assert_allclose(found, tissues.volume_shares(hu) @ mu, rtol=2e-3, atol=1e-6)


def test_bone_stands_out_more_at_low_energies():
    low, high = (at_energy(_volume([0.0, 1000.0]), kev).mu_zyx.ravel() for kev in (50.0, 70.0))
    assert low[1] / low[0] > 1.2 * high[1] / high[0]


def test_an_energy_outside_the_tables_is_named():
    with pytest.raises(InputError, match="energy_kev must lie in"):
        at_energy(_volume([0.0]), 1.0)
