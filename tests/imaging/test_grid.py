"""An anti-scatter grid and a table in the image chain and in the dose."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fluoro.config import GridConfig, ImageChainConfig, XrayConfig
from fluoro.geometry.carm import CarmGeometry
from fluoro.imaging.chain import ImageChain
from fluoro.imaging.configured_beam import grid_of, primary_share, spectrum_of, tube_output_of
from fluoro.imaging.exposure.dose_meter import DoseMeter
from fluoro.imaging.exposure.tube import open_over_dose
from fluoro.imaging.reference import ReferenceChain
from fluoro.physics.materials import material
from fluoro.rendering.devices.cpu.device import CpuDevice

PIXELS, PITCH_MM = 64, 4.0
GEOMETRY = CarmGeometry(
    source_to_detector_mm=1000.0,
    detector_width_px=PIXELS,
    detector_height_px=PIXELS,
    pixel_spacing_mm=PITCH_MM,
)
FOCUS = {"focus_mm": 1000.0}
QUIET: dict[str, Any] = {
    "poisson": False,
    "log": False,
    "window": {"level": 0.5, "width": 1.0},
    "polarity": "bone_bright",
}


def signal(water_mm=0.0, **changes):
    """Relative to the open field behind the grid, with the chain and its reference compared."""
    config = ImageChainConfig.model_validate({**QUIET, **changes})
    planes = np.full((PIXELS, PIXELS), 0.0193 * water_mm, np.float32)
    image = ImageChain(CpuDevice(), 0).apply(planes, config, 0, PITCH_MM, GEOMETRY)
    expected = ReferenceChain(config, 0, PITCH_MM, GEOMETRY).apply(planes, 0)
    np.testing.assert_allclose(image, expected, atol=5e-6)
    return 1 - image.astype(float)


@pytest.mark.parametrize("lamellae", ["columns", "rows"])
def test_a_grid_at_its_focus_takes_nothing_more_and_one_beside_it_the_same_everywhere(lamellae):
    at_focus = signal(grid={**FOCUS, "lamellae": lamellae})
    np.testing.assert_allclose(at_focus, 1, atol=1e-6)
    config = GridConfig(**FOCUS, decentred_mm=30.0)
    grid = grid_of(config)
    expected = float(grid.primary(0.03)[0] / grid.central_primary)
    np.testing.assert_allclose(
        signal(grid={**FOCUS, "decentred_mm": 30.0, "lamellae": lamellae}), expected, atol=1e-5
    )
    assert expected < 0.8


def test_a_grid_at_a_wrong_distance_cuts_off_both_sides_across_its_lamellae():
    found = signal(grid={"focus_mm": 700.0})
    assert found[PIXELS // 2, PIXELS // 2] == pytest.approx(1, abs=0.05)
    assert found[0, 0] < 0.6
    np.testing.assert_allclose(found, np.broadcast_to(found[:1], found.shape), atol=1e-6)
    np.testing.assert_allclose(found, found[:, ::-1], atol=1e-5)


def test_cut_off_takes_primary_and_leaves_the_grids_share_of_scatter():
    plain, scattered = signal(150.0), signal(150.0, scatter={})
    centred = signal(150.0, scatter={}, grid=FOCUS)
    off = signal(150.0, scatter={}, grid={**FOCUS, "decentred_mm": 30.0})
    grid = grid_of(GridConfig(**FOCUS))
    lost = float(grid.primary(0.03)[0] / grid.central_primary)
    np.testing.assert_allclose(off - centred, (lost - 1) * plain, atol=2e-5)
    narrow, wide = grid.scatter(200.0) / grid.central_primary
    kept = (centred - plain) / (scattered - plain)
    assert np.all((kept > wide) & (kept < narrow))


def test_a_grid_and_a_table_raise_the_tubes_output_at_a_given_dose():
    plain, with_table = XrayConfig(), XrayConfig(table={"top_mm_al": 1.0, "mattress_mm_al": 0.5})
    share = primary_share(GridConfig())
    table = tube_output_of(with_table).kerma_ugy
    behind = [spectrum_of(x).filtered("water", 200.0).kerma_ugy for x in (plain, with_table)]
    assert open_over_dose(with_table, GridConfig()) == pytest.approx(
        table * 1000 / (behind[1] * 1000 * share)
    )
    raised = open_over_dose(with_table, GridConfig()) / open_over_dose(plain)
    assert raised == pytest.approx(behind[0] / behind[1] / share)
    assert 1.4 < raised < 1.7


def test_the_dose_meter_charges_the_patient_for_grid_and_table():
    def reference_mgy(**changes):
        config = ImageChainConfig.model_validate({**QUIET, **changes})
        chain, meter = ImageChain(CpuDevice(), 0, [material("water")]), DoseMeter()
        planes = np.zeros((1, PIXELS, PIXELS) if config.xray else (PIXELS, PIXELS), np.float32)
        chain.apply(planes, config, 0, PITCH_MM, GEOMETRY)
        return meter.add(chain.pulse, config, GEOMETRY, is_pulse=True, beam_s=0.1)

    grid = {"grid": dict(FOCUS)}
    without, with_grid = (reference_mgy(**each).total.reference_kerma_mgy for each in ({}, grid))
    assert with_grid / without == pytest.approx(1 / primary_share(GridConfig()))
    plain = reference_mgy(xray={}).total.reference_kerma_mgy
    both = reference_mgy(xray={"table": {}}, **grid).total.reference_kerma_mgy
    assert 1.35 < both / plain < 1.65


def test_two_grids_are_refused():
    with pytest.raises(ValueError, match="has no effect beside grid"):
        ImageChainConfig.model_validate({"grid": {}, "scatter": {"grid_factor": 0.2}})
