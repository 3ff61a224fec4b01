"""The presets' doses lie within published clinical ranges (docs/physics.md has the sources)."""

import pytest

from tools.docs.preset_doses import dose_of


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "figure", "low", "high"),
    [
        ("cardiac", "rate_mgy_per_min", 5, 95),
        ("cardiac", "frame_ugy", 19, 589),
        ("low_dose", "detector_ngy", 3, 5),
        ("radiograph", "frame_ugy", 50, 150),
    ],
)
def test_a_presets_dose_is_a_clinical_one(name, figure, low, high):
    assert low < getattr(dose_of(name), figure) < high
