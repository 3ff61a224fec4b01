"""One kernel from the ray to the image: the bits of two, as far as the arithmetic is the same."""

import numpy as np
import pytest

import operators.runtime  # noqa: F401  (before Holoscan)
from fluoro.config import Config, ImageChainConfig
from fluoro.errors import InputError
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.imaging.chain import ImageChain
from fluoro.imaging.fused import FUSED_ENTRY, fused_kernel
from fluoro.rendering.devices.cpu.device import CpuDevice
from fluoro.rendering.devices.selection import open_device
from fluoro.rendering.projectors import names_where
from fluoro.rendering.renderer import DrrRenderer
from tests import volumes
from tests.support import require_vulkan

RENDERERS = {
    **{name: {"projector": name} for name in names_where(lambda each: each.in_place)},
    "texture": {"projector": "march", "texture": True},
}
CHAINS = {
    "noise and window": {"dose_ngy": 5},
    "integrals": {"beer_lambert": False, "poisson": False, "log": False},
    "panel": {"focal_spot_mm": 0.6, "inverse_square": True, "mtf": {}, "lag": {}},
    "pulses": {"pulse_rate_hz": 15.0, "recursive_filter_weight": 0.4},
    "subtraction": {"dsa": {"mask_frames": 1, "first_frame": 1}},
}
ROUNDING = 2e-5
"""Of the largest integral: the renderer's arithmetic is fast, that of the one kernel IEEE."""
A_WEIGHT_OF_8_BITS = 1e-4
"""The same where a sample's weight on NVIDIA's texture units falls on either side of a limit."""
PITCH_MM = 4.0
GEOMETRY = CarmGeometry(detector_width_px=38, detector_height_px=30, pixel_spacing_mm=PITCH_MM)
VIEWS = [volumes.view(CarmPose(lao_deg=angle, cra_deg=5.0)) for angle in (0.0, 50.0, 90.0)]


@pytest.fixture(scope="module", params=["llvmpipe", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request):
    if request.param == "llvmpipe":
        require_vulkan()
    device = open_device(request.param)
    yield device
    device.close()


def integrals_of(device, deferred):
    """The line integrals by the chain's own stage, as an image."""
    height, width = deferred.shape
    image, size = device.empty((height, width)), (width, height, 1)
    uniforms = {"image": image, "image_size": size}
    uniforms |= {f"stage_0.{name}": value for name, value in deferred.uniforms.items()}
    kernel = fused_kernel((deferred.stage,))
    device.launch(kernel, FUSED_ENTRY, size, uniforms, exact=True)
    return image


def images(device, config, sources):
    chain = ImageChain(device, 3, fused=True)
    return [
        device.to_host(chain.apply(each, config, n, PITCH_MM, GEOMETRY, pulse=n != 1))
        for n, each in enumerate(sources)
    ]


@pytest.mark.parametrize("name", RENDERERS)
@pytest.mark.parametrize("chain", CHAINS)
def test_the_image_has_the_bits_of_the_stages_one_by_one(device, name, chain):
    config = ImageChainConfig.model_validate(CHAINS[chain])
    renderer = DrrRenderer(volumes.noise(), device, **RENDERERS[name])
    deferred = [renderer.deferred(view) for view in VIEWS]
    one = images(device, config, deferred)
    two = images(device, config, [integrals_of(device, each) for each in deferred])
    assert np.ptp(one[0]) > 0.01
    if device.kind == "cuda":  # NVRTC contracts over the border of two stages (docs/validation.md)
        assert np.mean(np.abs(np.subtract(one, two)) > 1e-5) <= 1e-3
    else:
        assert np.array_equal(one, two)


@pytest.mark.parametrize("name", RENDERERS)
def test_its_integrals_are_those_of_the_renderer_but_for_rounding(device, name):
    renderer = DrrRenderer(volumes.noise(), device, **RENDERERS[name])
    for view in VIEWS:
        deferred = renderer.deferred(view)
        wanted = device.to_host(renderer.render(view))
        assert deferred.shape == wanted.shape
        found = device.to_host(integrals_of(device, deferred))
        by_8_bits = name == "texture" and device.kind == "cuda"
        limit = A_WEIGHT_OF_8_BITS if by_8_bits else ROUNDING
        assert np.abs(found - wanted).max() < limit * wanted.max()
        assert np.array_equal(device.to_host(deferred.render()), wanted)


@pytest.mark.parametrize("fused", [True, False])
def test_a_chain_that_needs_the_integrals_renders_them(device, fused):
    config = ImageChainConfig.model_validate({"scatter": {"grid_factor": 0.3}} if fused else {})
    renderer = DrrRenderer(volumes.noise(), device)
    found, wanted = (
        device.to_host(
            ImageChain(device, 3, fused=fused).apply(source, config, 0, PITCH_MM, GEOMETRY)
        )
        for source in (renderer.deferred(VIEWS[0]), renderer.render(VIEWS[0]))
    )
    assert np.array_equal(found, wanted)


def test_one_frame_is_one_launch(device, monkeypatch):
    config = ImageChainConfig.model_validate(CHAINS["noise and window"])
    renderer = DrrRenderer(volumes.noise(), device)
    launches, run = [], device.run
    monkeypatch.setattr(device, "run", lambda launch: (launches.append(launch), run(launch)))
    images(device, config, [renderer.deferred(VIEWS[0])])
    assert len(launches) == 1


def test_a_cpu_and_slab_have_kernels_of_their_own():
    device = CpuDevice(1)
    for projector in ("march", "slab"):
        renderer = DrrRenderer(volumes.noise(), device, projector=projector)
        with pytest.raises(InputError, match=r"renderer\.fused: false"):
            renderer.deferred(VIEWS[0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_chain": {"xray": {}}}, "cannot be true with image_chain.xray"),
        ({"image_chain": {"scatter": {}}}, "cannot be true with image_chain.scatter"),
        ({"volume": {"phantom": "thorax", "motion": {}}}, "cannot be true with volume.motion"),
        ({"renderer": {"projector": "slab"}}, "has no effect with projector: slab"),
    ],
)
def test_what_needs_the_integrals_is_refused_in_the_yaml(changes, message):
    document = {"volume": {"phantom": "thorax"}, "pose_source": {"kind": "sweep"}, **changes}
    document["renderer"] = {"fused": True, **changes.get("renderer", {})}
    with pytest.raises(ValueError, match=message):
        Config.model_validate(document)
