"""The presets' doses lie within published clinical ranges (docs/physics.md has the sources)."""

import pytest

from fluoro.physics.dose import SKIN_DOSE_PER_KERMA
from tools.docs.preset_doses import dose_of


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "figure", "low", "high"),
    [
        ("cardiac", "rate_mgy_per_min", 5, 95),
        ("cardiac", "frame_ugy", 19, 589),
        ("vascular_dsa", "detector_ngy", 440, 8800),
        ("vascular_dsa", "frame_ugy", 42, 2100),
        ("ortho_mobile", "rate_mgy_per_min", 3, 10),
        ("low_dose", "detector_ngy", 3, 5),
        ("low_dose", "rate_mgy_per_min", 0.11, 33.1),
        ("radiograph", "frame_ugy", 50, 150 / SKIN_DOSE_PER_KERMA),
    ],
)
def test_a_presets_dose_is_a_clinical_one(name, figure, low, high):
    assert low < getattr(dose_of(name), figure) < high
