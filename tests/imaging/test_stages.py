"""Every stage of the image chain, by being in its order: references, derivatives, devices, cost."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import operators.runtime  # noqa: F401  (before Holoscan)
from fluoro.config import ImageChainConfig
from fluoro.errors import InputError
from fluoro.geometry.carm import CarmGeometry
from fluoro.imaging import frame_setup, gradients
from fluoro.imaging.chain import ImageChain
from fluoro.imaging.reference import ReferenceChain
from fluoro.imaging.stage import Stage
from fluoro.imaging.stages.order import ORDER
from fluoro.paths import shader_dir
from fluoro.rendering.devices.cpu.device import CpuDevice
from tests.support import without_cycles

SHAPE, PITCH_MM, SEED, FRAMES = (48, 67), 6.0, 4242, 4
GEOMETRY = CarmGeometry(
    detector_width_px=SHAPE[1], detector_height_px=SHAPE[0], pixel_spacing_mm=PITCH_MM
)
QUIET: dict[str, Any] = {"poisson": False, "window": {"level": 1.5, "width": 6.0}}
ELSEWHERE = {"dose_ngy"}
"""Keys of `image_chain` that decide a pulse, before any stage."""
NAMED = {type(stage).__name__: stage for stage in ORDER}


@pytest.fixture(params=NAMED)
def stage(request):
    return NAMED[request.param]


@pytest.fixture(scope="module")
def device():
    return CpuDevice()


def config_of(stage, **more):
    return ImageChainConfig.model_validate({**QUIET, **stage.example, **more})


def frame_of(number):
    """Line integrals with a bar that moves."""
    values = 0.2 + 2 * np.random.default_rng(7).random(SHAPE).astype(np.float32)
    values[:, 9 * number : 9 * number + 5] += 1
    return values


def images(device, config, *, fused):
    chain = ImageChain(device, SEED, fused=fused)
    frames = [device.to_device(frame_of(number)) for number in range(FRAMES)]
    return [
        device.to_host(
            chain.apply(frame, config, number, PITCH_MM, GEOMETRY, pulse=number % 2 == 0)
        ).copy()
        for number, frame in enumerate(frames)
    ]


def test_every_key_belongs_to_a_stage():
    keys = {key for stage in ORDER for key in stage.keys}
    assert keys | ELSEWHERE == set(ImageChainConfig.model_fields)


def test_its_example_switches_it_on_and_changes_the_image(device, stage):
    config = config_of(stage)
    assert stage.is_on(config)
    assert stage.text.endswith(".")
    others = [each for each in ORDER if each is not stage]
    if stage.is_on(ImageChainConfig()) or stage.keys[0] in ("pulse_rate_hz", "beer_lambert"):
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frame_setup, "ORDER", others)
        without = images(device, config, fused=False)
    assert not np.array_equal(without, images(device, config, fused=False))


def test_its_kernels_agree_with_its_reference_over_a_run(device, stage):
    config = config_of(stage)
    oracle = ReferenceChain(config, SEED, PITCH_MM, GEOMETRY)
    for number, image in enumerate(images(device, config, fused=False)):
        expected = oracle.apply(frame_of(number), number, pulse=number % 2 == 0)
        assert np.mean(np.abs(image - expected) > 5e-6) <= 1e-3, number
    assert np.ptp(expected) > 0.05


def test_its_images_are_released_when_the_last_reader_is_done(device, stage):
    """Frames and derivatives."""
    config, chain = in_a_run(device, stage)

    def work(number):
        chain.apply(frame_of(number), config, number, PITCH_MM, GEOMETRY)
        if not stage.no_derivative:
            linear = chain.linearise(frame_of(number), config, number + 1, PITCH_MM, GEOMETRY)
            linear.pull_back(np.ones(SHAPE, np.float32))

    work(FRAMES)  # the first compiles kernels
    with without_cycles():
        work(FRAMES + 1)


def test_its_adjoint_is_the_derivative_of_its_reference(device, stage):
    """In the middle of a run, against central differences."""
    config = config_of(stage)
    if stage.no_derivative:
        with pytest.raises(InputError, match=rf"without image_chain\.{stage.keys[0]}: "):
            gradients.pull_back(frame_of(0), config, PITCH_MM, np.ones(SHAPE), GEOMETRY)
        return
    chain, rng = ImageChain(device, SEED), np.random.default_rng(3)
    for number in range(FRAMES - 1):
        chain.apply(frame_of(number), config, number, PITCH_MM, GEOMETRY)
    last, state = frame_of(FRAMES).astype(float), chain.state(FRAMES - 1, SHAPE)
    upstream, direction = rng.standard_normal((2, *SHAPE))
    pulled = gradients.pull_back(last, config, PITCH_MM, upstream, GEOMETRY, (), state)
    step = 1e-7
    plus, minus = (
        gradients.expected_image(last + way * direction, config, PITCH_MM, GEOMETRY, (), state)
        for way in (step, -step)
    )
    differences = ((plus - minus) * upstream).sum() / (2 * step)
    assert np.abs(pulled).max() > 0
    assert (pulled * direction).sum() == pytest.approx(differences, rel=1e-5)


def in_a_run(device, stage):
    """A chain in the middle of a run, and the configuration."""
    config, chain = config_of(stage), ImageChain(device, SEED)
    for number in range(FRAMES - 1):
        given = device.to_device(frame_of(number))
        chain.apply(given, config, number, PITCH_MM, GEOMETRY)
    return config, chain


def test_its_kernels_derivative_agrees_with_its_reference(device, stage):
    """Expected image and adjoint, in the middle of a run, which goes on as without them."""
    config, chain = in_a_run(device, stage)
    last, number = frame_of(FRAMES), FRAMES - 1
    if stage.no_derivative:
        with pytest.raises(InputError, match=rf"without image_chain\.{stage.keys[0]}: "):
            chain.linearise(last, config, number, PITCH_MM, GEOMETRY)
        return
    state, upstream = chain.state(number, SHAPE), np.random.default_rng(3).standard_normal(SHAPE)
    given = last, config, PITCH_MM
    expected = gradients.pull_back(*given, upstream, GEOMETRY, (), state)
    image = gradients.expected_image(*given, GEOMETRY, (), state)
    linear = chain.linearise(last, config, number, PITCH_MM, GEOMETRY)
    np.testing.assert_allclose(linear.image, image, atol=5e-6)
    pulled = linear.pull_back(upstream.astype(np.float32))
    np.testing.assert_allclose(pulled, expected, atol=1e-5 * np.abs(expected).max())
    undisturbed = in_a_run(device, stage)[1]
    frames = [one.apply(last, config, number, PITCH_MM, GEOMETRY) for one in (chain, undisturbed)]
    np.testing.assert_array_equal(*frames)


def test_its_derivative_agrees_between_devices(device, other, stage):
    if stage.no_derivative:
        config, chain = in_a_run(other, stage)
        given = other.to_device(frame_of(FRAMES)), config, FRAMES - 1, PITCH_MM, GEOMETRY
        with pytest.raises(InputError, match=rf"without image_chain\.{stage.keys[0]}: "):
            chain.linearise(*given)
        return
    upstream, found = np.random.default_rng(3).standard_normal(SHAPE).astype(np.float32), []
    for each in (device, other):
        config, chain = in_a_run(each, stage)
        last = each.to_device(frame_of(FRAMES))
        linear = chain.linearise(last, config, FRAMES - 1, PITCH_MM, GEOMETRY)
        found.append(each.to_host(linear.pull_back(each.to_device(upstream))))
    np.testing.assert_allclose(found[1], found[0], atol=2e-5 * np.abs(found[0]).max())


class Smear(Stage):
    """A stage that looks at other pixels and does not say its transpose."""

    keys = ("blur_sigma_mm",)

    def run(self, frame, kernels):
        kernels.packets("blur", "blur", source=kernels.replaced())

    def reference(self, x, frame):
        return x, lambda y: y


def test_without_a_transpose_it_is_refused_by_name(device, monkeypatch):
    monkeypatch.setattr(frame_setup, "ORDER", (*ORDER, Smear()))
    config = ImageChainConfig.model_validate({**QUIET, "blur_sigma_mm": 1.0})
    with pytest.raises(InputError, match=r"stage of kernel blur has no derivative in kernels: "):
        ImageChain(device, SEED).linearise(frame_of(0), config, 0, PITCH_MM, GEOMETRY)


def test_fused_with_others_it_gives_the_bits_that_it_gives_alone(device, stage):
    config = config_of(stage, poisson=config_of(stage).beer_lambert)
    single, fused = (images(device, config, fused=fused) for fused in (False, True))
    np.testing.assert_array_equal(single, fused)


def test_it_agrees_between_devices(device, other, stage):
    config = config_of(stage, poisson=config_of(stage).beer_lambert)
    here, there = (images(each, config, fused=True) for each in (device, other))
    for image, same in zip(here, there, strict=True):
        assert np.mean(np.abs(image - same) > 1e-5) <= 1e-3


class KernelSpy(CpuDevice):
    """Knows which kernels were launched, in order."""

    def __init__(self) -> None:
        super().__init__(1)
        self.kernels: list[tuple[Any, str]] = []

    def launch(self, module: Any, entry: str, *args: Any, **options: Any) -> None:
        self.kernels.append((module, entry))
        super().launch(module, entry, *args, **options)


def launched(config):
    spy = KernelSpy()
    images(spy, config, fused=True)
    return spy.kernels


PLAIN = ImageChainConfig.model_validate(QUIET)


@pytest.mark.parametrize("name", [name for name, each in NAMED.items() if not each.is_on(PLAIN)])
def test_off_it_costs_nothing(name, monkeypatch):
    """The kernels, their text and their number, are those of a chain that lacks the stage."""
    stage, with_it = NAMED[name], launched(PLAIN)
    monkeypatch.setattr(frame_setup, "ORDER", tuple(each for each in ORDER if each is not stage))
    assert launched(PLAIN) == with_it


def test_a_stream_needs_none_of_its_kernels_that_was_not_prepared(stage):
    config, spy = config_of(stage), KernelSpy()
    chain = ImageChain(spy, SEED, fused=True)
    chain.prepare(frame_of(0), config, PITCH_MM, GEOMETRY)
    prepared = set(spy.kernels)
    for number in range(FRAMES):
        pulse = number % 2 == 0 or config.pulse_rate_hz is None
        chain.apply(frame_of(number), config, number, PITCH_MM, GEOMETRY, pulse=pulse)
    assert set(spy.kernels) == prepared


def test_every_shader_in_the_folder_of_stages_is_run_by_one():
    shaders = {path.stem: path.read_text() for path in (shader_dir() / "stages").glob("*.slang")}
    package = shader_dir().parent / "fluoro" / "imaging"
    sources = " ".join(path.read_text() for path in (package / "stages").glob("*.py"))
    sources += (package / "block_sums.py").read_text()
    included = " ".join(shaders.values())
    for name in shaders:
        assert f'"{name}"' in sources or f'"{name}.slang"' in included, name
