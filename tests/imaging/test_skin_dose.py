"""Dose rate, alarm, and where the beam has met the skin."""

from __future__ import annotations

import numpy as np
import pytest

from fluoro.config import ImageChainConfig
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.imaging.exposure.dose_meter import DoseMeter, DoseTotal, Pulse
from fluoro.imaging.frame import FluoroFrame
from fluoro.imaging.skin_dose import CELL_MM, SkinDoseMap
from fluoro.physics.dose import REFERENCE_POINT_MM
from fluoro.plot.skin_dose_image import BAR_SPACE_PX, EDGE_PX, TITLE_PX, skin_dose_image

GEOMETRY = CarmGeometry(
    source_to_detector_mm=1200.0,
    source_to_isocenter_mm=800.0,
    detector_width_px=100,
    detector_height_px=100,
    pixel_spacing_mm=1.5,
)
ISOCENTER = (10.0, -20.0, 30.0)


def run(poses, **changes):
    """The map of a pulse at each pose, and the dose."""
    meter, skin = DoseMeter(), SkinDoseMap(ISOCENTER)
    config = ImageChainConfig.model_validate(changes)
    for number, pose in enumerate(poses):
        given = {"is_pulse": True, "beam_s": (number + 1) / 10}
        exposure = meter.add(Pulse(dose_ngy=20.0), config, GEOMETRY, **given)
        image = np.zeros((1, 1), np.float32)
        skin.add(
            FluoroFrame(
                image=image,
                number=number,
                pose=pose,
                geometry=GEOMETRY,
                stamps_ns={},
                exposure=exposure,
            )
        )
    return skin, meter.total


def middle_of(skin):
    """Angle from behind [degrees] and length [mm] of the dose's middle."""
    rows, columns = np.nonzero(skin.dose_mgy > 0)
    count = skin.dose_mgy.shape
    return (columns.mean() + 0.5) / count[1] * 360, (count[0] / 2 - rows.mean() - 0.5) * CELL_MM


def test_a_beam_that_stays_meets_the_reference_points_dose():
    skin, total = run([CarmPose(lao_deg=90.0)] * 5)
    assert skin.peak_mgy == pytest.approx(total.skin_dose_mgy, rel=0.01)


def test_the_field_on_the_skin_has_the_beams_size():
    """150 mm at the detector, seen at 650 of 1200 mm: 81 mm along the patient."""
    skin, _ = run([CarmPose(lao_deg=90.0)])
    lit = (skin.dose_mgy > 0).any(axis=1).sum() * CELL_MM
    assert lit == pytest.approx(150 * (800 - REFERENCE_POINT_MM) / 1200, abs=2 * CELL_MM)
    narrow, _ = run(
        [CarmPose(lao_deg=90.0)],
        collimator={"kind": "rectangle", "width_mm": 75.0, "height_mm": 75.0},
    )
    assert (narrow.dose_mgy > 0).sum() == pytest.approx((skin.dose_mgy > 0).sum() / 4, rel=0.2)


def test_directions_lie_where_the_tube_stood():
    """At LAO 90 the detector is on the patient's left, so the tube on the right."""
    right, length = middle_of(run([CarmPose(lao_deg=90.0)])[0])
    assert (right, length) == (pytest.approx(90, abs=2), pytest.approx(0, abs=CELL_MM))
    front, _ = middle_of(run([CarmPose(lao_deg=180.0)])[0])
    assert front == pytest.approx(180, abs=2)
    two, total = run([CarmPose(lao_deg=90.0), CarmPose(lao_deg=-90.0)])
    assert two.peak_mgy == pytest.approx(total.skin_dose_mgy / 2, rel=0.01)


def test_the_rate_is_the_mean_of_two_seconds_and_five_minutes_call():
    total = run([CarmPose()] * 60)[1]
    assert total.rate_mgy_per_min == pytest.approx(total.reference_kerma_mgy / 6 * 60, rel=1e-6)
    assert [DoseTotal(beam_s=s).alarms for s in (299.0, 300.0, 601.0)] == [0, 1, 2]


def lit_columns(page):
    """Middle of what is lit in the map, as a share of its width."""
    inside = np.asarray(page)[TITLE_PX + 30 : -110, EDGE_PX + 2 : -EDGE_PX - BAR_SPACE_PX - 2]
    lit = inside.max(axis=(0, 2)) > 200
    return np.nonzero(lit)[0].mean() / lit.size


@pytest.mark.parametrize(("lao_deg", "at"), [(0.0, 0.5), (90.0, 0.75), (-90.0, 0.25)])
def test_the_image_has_the_back_in_its_middle_and_the_patients_left_to_the_left(lao_deg, at):
    """At LAO 0 the tube is behind the patient, at LAO 90 on the right."""
    skin, _ = run([CarmPose(lao_deg=lao_deg)])
    assert lit_columns(skin_dose_image(skin, "run")) == pytest.approx(at, abs=0.02)
