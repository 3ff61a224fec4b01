"""Stages put together to one kernel: the same bits, and nothing is compiled in a stream."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import operators.runtime  # noqa: F401  (before Holoscan)
from fluoro.config import Config, ImageChainConfig
from fluoro.console.controls import LiveControls
from fluoro.errors import DeviceError
from fluoro.geometry.carm import CarmGeometry
from fluoro.imaging.chain import ImageChain
from fluoro.imaging.fused import FUSED_ENTRY, StageRunner, fused_kernel
from fluoro.paths import shader_dir
from fluoro.physics.tissues import tissue_map
from fluoro.rendering.devices.base import KernelText
from fluoro.rendering.devices.cpu.device import CpuDevice
from operators.live_chain import with_controls

SHAPE = (20, 131)
"""Two packets of pixels and a part of one in each row."""
GEOMETRY = CarmGeometry(
    source_to_detector_mm=1200.0,
    source_to_isocenter_mm=800.0,
    detector_width_px=SHAPE[1],
    detector_height_px=SHAPE[0],
    pixel_spacing_mm=1.0,
)
MATERIALS = tissue_map("soft_and_bone").materials
BLADES = {"kind": "rectangle", "width_mm": 100.0, "height_mm": 15.0}
PULSES: dict[str, Any] = {"pulse_rate_hz": 15.0}
"""As in a stream, where the image of a pulse may be held."""
PANEL: dict[str, Any] = {
    **PULSES,
    "xray": {},
    "inverse_square": True,
    "heel_anode_side": "left",
    "collimator": BLADES,
    "scatter": {"grid_factor": 0.2},
    "mtf": {"h_mm2": 0.5},
    "lag": {},
    "electronic_noise_photons": 2.0,
    "pixel_gain_spread": 0.02,
    "dead_pixel_fraction": 0.01,
    "digitiser": {},
    "recursive_filter_weight": 0.4,
    "edge_enhancement": {"amount": 0.8, "sigma_mm": 1.0},
    "lut": {"kind": "sigmoid"},
    "shutter": {},
}
INTENSIFIER: dict[str, Any] = {
    **PULSES,
    "wedge": {"side": "left", "thickness_mm": 2.0, "reach_mm": 40.0},
    "bow_tie": {"thickness_mm": 2.0, "half_width_mm": 60.0},
    "image_intensifier": {"diameter_mm": 110.0, "pin_cushion": 0.1, "vignetting": 0.2},
    "veiling_glare": {},
    "log": False,
}
SUBTRACTION: dict[str, Any] = {
    "dsa": {"mask_frames": 1, "first_frame": 1, "roadmap": {"frames": 1}},
    **PULSES,
}
BARE: dict[str, Any] = {"beer_lambert": False, "poisson": False, "log": False}
CURVE: dict[str, Any] = {"lut": {"kind": "sigmoid"}}
CONFIGS = {
    "noise and window": {},
    "flat panel": PANEL,
    "image intensifier": INTENSIFIER,
    "integrals": {
        "beer_lambert": False,
        "poisson": False,
        "log": False,
        "lut": {"kind": "sigmoid"},
    },
    "subtraction": SUBTRACTION,
}
FRAMES = 7


def config_of(name: str) -> ImageChainConfig:
    return ImageChainConfig.model_validate(CONFIGS[name])


def seen(config: ImageChainConfig) -> np.ndarray:
    """Line integrals, or thicknesses where there is a spectrum."""
    values = np.random.default_rng(0).random((len(MATERIALS), *SHAPE)).astype(np.float32)
    return 60 * values if config.xray else np.ascontiguousarray(6 * values[0])


def images(device: Any, config: ImageChainConfig, *, fused: bool) -> list[np.ndarray]:
    """Frames of a stream, every other one without a pulse where there are pulses."""
    chain = ImageChain(device, 99, MATERIALS if config.xray else (), fused=fused)
    given = device.to_device(seen(config))
    return [
        device.to_host(chain.apply(given, config, frame, 1.0, GEOMETRY, pulse=pulse)).copy()
        for frame in range(FRAMES)
        for pulse in [frame % 2 == 0 or config.pulse_rate_hz is None]
    ]


@pytest.mark.parametrize("name", CONFIGS)
def test_fused_stages_give_the_bits_of_the_stages_one_by_one(name):
    config = config_of(name)
    single, fused = (images(CpuDevice(), config, fused=fused) for fused in (False, True))
    np.testing.assert_array_equal(single, fused)


@pytest.mark.parametrize("name", CONFIGS)
def test_fused_stages_give_the_same_bits_on_other_devices(other, name):
    config = config_of(name)
    single, fused = (images(other, config, fused=fused) for fused in (False, True))
    np.testing.assert_array_equal(single, fused)


def test_every_stage_with_a_struct_can_be_put_together_and_no_other_is(monkeypatch):
    """Kernels that stages run as those of single pixels have a struct of their own."""
    runs_alone = re.compile(r"^RUNS_ALONE\((\w+), (\w+)\)$", re.MULTILINE)
    texts = {file.stem: file.read_text() for file in shader_dir().rglob("*.slang")}
    found = {stem: runs_alone.search(text) for stem, text in texts.items()}
    assert all(stem == match[1] for stem, match in found.items() if match)
    launched = {True: set(), False: set()}
    for name, together in (("run", True), ("run_alone", False)):
        run = getattr(StageRunner, name)

        def spied(runner, kernel, *rest, run=run, together=together):
            launched[together].add(kernel)
            return run(runner, kernel, *rest)

        monkeypatch.setattr(StageRunner, name, spied)
    for name in CONFIGS:
        images(CpuDevice(), config_of(name), fused=True)
    structs = {match[1] for match in found.values() if match}
    assert launched[True] <= structs
    assert not launched[False] & structs
    elsewhere = {
        "antiscatter_grid",
        "glare_back",
        "pixel_pattern",
        "poisson_weighted",
        "beer_lambert",
        "transmit",
    }
    rays = {stem for stem in structs if stem.startswith("line_integral")}
    assert structs - launched[True] <= elsewhere | rays


def test_a_kernel_that_does_not_compile_is_reported_in_one_line(other):
    for device in (CpuDevice(), other):
        with pytest.raises(DeviceError, match=r"Slang cannot compile pixel_stages .*\S$") as raised:
            device.launch(fused_kernel(("no_such_stage",)), FUSED_ENTRY, (1, 1, 1), {})
        assert "\n" not in str(raised.value)


def test_the_error_of_a_kernel_has_place_and_reason(other):
    head = 'struct A { int x; };\n[shader("compute")]\n[numthreads(1, 1, 1)]\n'
    text = head + "void k() { A a; a.y = 1; }"
    for device in (CpuDevice(), other):
        with pytest.raises(DeviceError, match=r"found: \S+:\d+:\d+: 'y' is not a member of 'A'"):
            device.launch(KernelText(text, "mine"), "k", (1, 1, 1), {})


def test_a_stage_without_a_slope_is_reported_by_name():
    kernel = fused_kernel(("window", "digitise"), slopes=True)
    with pytest.raises(DeviceError, match=r"of slopes of Window, Digitise: .*conform"):
        CpuDevice().launch(kernel, FUSED_ENTRY, (1, 1, 1), {})


class KernelSpy(CpuDevice):
    """Knows which kernels were launched."""

    def __init__(self) -> None:
        super().__init__(1)
        self.kernels: set[tuple[Any, str]] = set()

    def launch(self, module: Any, entry: str, *args: Any, **options: Any) -> None:
        self.kernels.add((module, entry))
        super().launch(module, entry, *args, **options)


CONSOLE: list[dict[str, Any]] = [
    {"dose_ngy": 3.0, "window_level": 1.0, "window_width": 2.0},
    {"polarity": "bone_bright"},
    {"magnification": 1.5},
    {"pulse_rate_hz": 7.5},
    {"mask_shift_x_px": 1.5},
]


@pytest.mark.parametrize("name", CONFIGS)
def test_a_stream_needs_no_kernel_that_was_not_prepared(name):
    config, device = config_of(name), KernelSpy()
    given = {"volume": {"phantom": "thorax"}, "pose_source": {"kind": "static"}}
    document = {**given, "image_chain": CONFIGS[name]}
    controls = LiveControls.from_config(Config.model_validate(document))
    chain = ImageChain(device, 99, MATERIALS if config.xray else (), fused=True)
    chain.prepare(seen(config), with_controls(config, controls.snapshot()), 1.0, GEOMETRY)
    prepared = set(device.kernels)
    for frame in range(4 * len(CONSOLE)):
        if frame % 4 == 0:
            controls.update(**CONSOLE[frame // 4])
            shown = with_controls(config, controls.snapshot())
            if shown.dsa:  # as where another mask is requested
                series = shown.dsa.model_copy(update={"first_frame": frame})
                shown = shown.model_copy(update={"dsa": series})
        chain.apply(seen(config), shown, frame, 1.0, GEOMETRY, pulse=frame % 2 == 0)
    assert device.kernels == prepared


def test_frames_after_preparing_are_those_of_a_chain_that_was_not_prepared():
    config = config_of("subtraction")
    chain = ImageChain(CpuDevice(), 99)
    chain.prepare(seen(config), config, 1.0, GEOMETRY)
    prepared = chain.apply(seen(config), config, 0, 1.0, GEOMETRY)
    fresh = ImageChain(CpuDevice(), 99).apply(seen(config), config, 0, 1.0, GEOMETRY)
    np.testing.assert_array_equal(prepared, fresh)
