"""A thorax of quadrics through renderer and image chain, against PENELOPE."""

from __future__ import annotations

import numpy as np
import pytest

from fluoro.config import ImageChainConfig
from fluoro.geometry.carm import CarmGeometry
from fluoro.imaging.chain import ImageChain
from fluoro.physics.materials import material
from fluoro.rendering.devices.cpu.device import CpuDevice
from tools.data import make_thorax_reference as thorax

PIXELS, PITCH_MM = 160, 2.5
"""The whole detector: the reference covers its middle 80 pixels; scatter comes from all of it."""
INNER = slice(PIXELS // 2 - thorax.PIXELS // 2, PIXELS // 2 + thorax.PIXELS // 2)
CONFIG = {
    "poisson": False,
    "log": False,
    "window": {"level": 0.5, "width": 1.0},
    "polarity": "bone_bright",
    "inverse_square": True,
    "xray": {},
    "collimator": {"kind": "iris", "diameter_mm": thorax.FIELD_MM, "focal_spot_mm": 0.0},
}
GEOMETRY = CarmGeometry(
    source_to_detector_mm=thorax.DETECTOR_MM - thorax.SOURCE_MM,
    source_to_isocenter_mm=-thorax.SOURCE_MM,
    detector_width_px=PIXELS,
    detector_height_px=PIXELS,
    pixel_spacing_mm=PITCH_MM,
)


@pytest.fixture(scope="module")
def reference():
    with np.load(thorax.REFERENCE) as found:
        return {name: found[name].astype(float) for name in found.files}


@pytest.fixture(scope="module")
def planes():
    """Thicknesses [mm], by material, of the whole detector."""
    at_mm = (np.arange(PIXELS) + 0.5 - PIXELS / 2) * PITCH_MM
    down, across = np.meshgrid(at_mm, at_mm, indexing="ij")
    return thorax.thicknesses_mm(across, down)


def signal(planes, **changes):
    config = ImageChainConfig.model_validate(CONFIG | changes)
    chain = ImageChain(CpuDevice(), 0, [material(name) for name in planes])
    given = np.stack(list(planes.values())).astype(np.float32)
    return 1 - chain.apply(given, config, 0, PITCH_MM, GEOMETRY).astype(float)


def cells(image):
    count, edge = thorax.CELLS, thorax.PIXELS // thorax.CELLS
    return image[INNER, INNER].reshape(count, edge, count, edge).mean(axis=(1, 3))


def test_primary_is_that_of_penelopes_cross_sections(planes, reference):
    found, expected = signal(planes)[INNER, INNER], reference["primary"]
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] >= 0.9996
    assert np.mean(np.abs(found / expected - 1)) <= 0.01


def test_scatter_is_penelopes_in_every_cell(planes, reference):
    """Within 3 % of primary and scatter together; the reference's own error is below 1 %."""
    primary = signal(planes)
    found = cells(signal(planes, scatter={"air_gap_mm": 200.0}) - primary)
    whole = cells(primary) + reference["scatter"]
    assert (reference["error"] / whole).max() < 0.01
    assert (np.abs(found - reference["scatter"]) / whole).max() < 0.03
