"""The march through a GPU's texture units, on each device that has some."""

import numpy as np
import pytest

from fluoro.errors import InputError
from fluoro.rendering import reference
from fluoro.rendering.devices import selection
from fluoro.rendering.renderer import DrrRenderer
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.volumes import MuVolume
from tests import volumes
from tests.support import require_vulkan


@pytest.fixture(params=["llvmpipe", pytest.param("cuda", marks=pytest.mark.gpu)], scope="module")
def device(request):
    """Every device with textures."""
    if request.param == "llvmpipe":
        require_vulkan()
    device = selection.open_device(request.param)
    yield device
    device.close()


def off(image, exact):
    """Deviations relative to the image's maximum."""
    return np.abs(image - exact) / exact.max()


@pytest.mark.parametrize("name", ["linear", "gaussian", "sphere"])
def test_images_keep_the_gates_of_march(device, name):
    volume = getattr(volumes, name)()
    renderer = DrrRenderer(volume, device, texture=True)
    for pose in volumes.POSES.values():
        view = volumes.view(pose)
        found = off(device.to_host(renderer.render(view)), reference.exact_integrals(volume, view))
        assert np.sqrt(np.mean(found**2)) < 2e-4
        assert found.max() < 1e-5 or name != "linear"


def test_batches_and_rows_are_those_of_single_views(device):
    views = [volumes.view(pose) for pose in volumes.POSES.values()]
    renderer = DrrRenderer(volumes.noise(), device, texture=True)
    batch = device.to_host(renderer.render(views))
    for view, image in zip(views, batch, strict=True):
        np.testing.assert_array_equal(device.to_host(renderer.render(view)), image)
    rows = device.to_host(renderer.render_rows(views[1], (7, 19)))
    np.testing.assert_array_equal(rows, batch[1][7:19])


def test_derivatives_are_those_without_a_texture(device):
    view = volumes.view(volumes.POSES["LAO 37 CRA 21"])
    center = volumes.GRID.center_xyz_mm
    with_it, without = (
        DrrRenderer(volumes.noise(), device, texture=texture).render_jacobian(view, center)
        for texture in (True, False)
    )
    for first, second in zip(with_it, without, strict=True):
        np.testing.assert_array_equal(device.to_host(first), device.to_host(second))


def test_a_volume_that_no_texture_holds_is_refused_in_one_line(device):
    long = VolumeGrid(shape_zyx=(1, 1, 40_000), spacing_xyz_mm=(1, 1, 1))
    volume = MuVolume(mu_zyx=np.zeros(long.shape_zyx, np.float32), grid=long)
    with pytest.raises(InputError, match=r"the volume has 40000 x 1 x 1: render without"):
        DrrRenderer(volume, device, texture=True)
