"""Angles in clinical notation and the letters at the image's edges."""

from __future__ import annotations

import pytest

from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.geometry.view_text import angle_label, orientation_letters


@pytest.mark.parametrize(
    ("lao_deg", "cra_deg", "label"),
    [
        (0, 0, "LAO 0 / CRA 0"),
        (30, 15, "LAO 30 / CRA 15"),
        (-30, -20, "RAO 30 / CAU 20"),
        (-0.4, -0.4, "LAO 0 / CRA 0"),
        (29.6, -14.6, "LAO 30 / CAU 15"),
        (-180, 0, "LAO 180 / CRA 0"),
        (270, 0, "RAO 90 / CRA 0"),
        (1710, 0, "RAO 90 / CRA 0"),
    ],
)
def test_angles_read_as_in_the_clinic(lao_deg: float, cra_deg: float, label: str) -> None:
    assert angle_label(CarmPose(lao_deg=lao_deg, cra_deg=cra_deg)) == label


@pytest.mark.parametrize(
    ("lao_deg", "cra_deg", "roll_deg", "letters"),
    [
        (0, 0, 0, ("R", "L", "H", "F")),
        (90, 0, 0, ("A", "P", "H", "F")),
        (-90, 0, 0, ("P", "A", "H", "F")),
        (30, 0, 0, ("RA", "LP", "H", "F")),
        (60, 0, 0, ("AR", "PL", "H", "F")),
        (-30, 0, 0, ("RP", "LA", "H", "F")),
        (20, 0, 0, ("R", "L", "H", "F")),
        (0, 30, 0, ("R", "L", "HP", "FA")),
        (0, -30, 0, ("R", "L", "HA", "FP")),
        (0, 0, 90, ("H", "F", "L", "R")),
        (0, 0, 30, ("RH", "LF", "HL", "FR")),
    ],
)
def test_letters_name_the_patients_direction_at_left_right_top_and_bottom(
    lao_deg: float, cra_deg: float, roll_deg: float, letters: tuple[str, str, str, str]
) -> None:
    pose = CarmPose(lao_deg=lao_deg, cra_deg=cra_deg, roll_deg=roll_deg)
    assert orientation_letters(CarmGeometry().view(pose, (5, -6, 7))) == letters
