"""What the body phantom is: stature, sex, habitus, arms; and where its regions lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from fluoro.errors import InputError
from fluoro.names import ArmPosition, BodyRegion, Habitus, Sex
from fluoro.volume.phantom.shapes import Vector3

__all__ = ["REFERENCE_STATURE_MM", "REGIONS_MM", "Build"]

REFERENCE_STATURE_MM = {"male": 1760.0, "female": 1630.0}
"""At which the anatomy has the drawn size (ICRP 89, reference adults)."""
STATURE_RANGE_MM = (1400.0, 2100.0)
FAT_MM = {"slim": 5.0, "average": 12.0, "obese": 38.0}
"""Mean thickness of subcutaneous fat on the trunk."""
BELLY_MM = {"slim": -10.0, "average": 0.0, "obese": 55.0}
"""How far the belly's wall stands out in front of the average."""

REGIONS_MM: dict[BodyRegion, tuple[Vector3, Vector3]] = {
    "thorax": ((-196.0, -182.0, -189.0), (196.0, 182.0, 189.0)),
    "lumbar": ((-185.0, -165.0, -330.0), (195.0, 160.0, -60.0)),
    "pelvis": ((-200.0, -165.0, -520.0), (220.0, 165.0, -190.0)),
    "shoulder": ((20.0, -130.0, -20.0), (230.0, 165.0, 196.0)),
    "head": ((-130.0, -160.0, 110.0), (100.0, 130.0, 425.0)),
    "whole": ((-280.0, -170.0, -640.0), (275.0, 170.0, 425.0)),
}
"""Two corners of each region in the drawn body, patient LPS: the left shoulder."""


@dataclass(frozen=True, kw_only=True)
class Build:
    """One body.

    Attributes:
        stature_mm: Body height.
        sex: Which proportions, breasts and pelvis.
        habitus: How much fat.
        arms: Down beside the trunk, or raised beside the head.
        scale: Lengths of the body beside those drawn.

    Raises:
        InputError: A stature outside 1400 to 2100 mm, an unknown word.
    """

    stature_mm: float = 1760.0
    sex: Sex = "male"
    habitus: Habitus = "average"
    arms: ArmPosition = "down"

    def __post_init__(self) -> None:
        low, high = STATURE_RANGE_MM
        if not low <= self.stature_mm <= high:
            raise InputError(f"stature_mm must lie in [{low:g}, {high:g}], got {self.stature_mm}")
        for key, words in (("sex", Sex), ("habitus", Habitus), ("arms", ArmPosition)):
            if getattr(self, key) not in get_args(words):
                choices = ", ".join(get_args(words))
                raise InputError(f"{key} must be one of {choices}, got {getattr(self, key)}")

    @property
    def scale(self) -> float:
        """Lengths of this body beside those drawn."""
        return self.stature_mm / REFERENCE_STATURE_MM["male"]

    @property
    def fat_mm(self) -> float:
        """Mean thickness of subcutaneous fat, of the drawn body [mm]."""
        return FAT_MM[self.habitus] + (3.0 if self.sex == "female" else 0.0)

    @property
    def belly_mm(self) -> float:
        """How far the belly stands out, of the drawn body [mm]."""
        return BELLY_MM[self.habitus]

    @property
    def robustness(self) -> float:
        """Thickness of bones and muscles of the same length beside a man's.

        Shafts of a woman's femur and humerus are 8 to 12 % narrower at the same length (Ruff,
        Am. J. Phys. Anthropol. 111 (2000) 269).
        """
        return 0.9 if self.female else 1.0

    @property
    def female(self) -> bool:
        """Whether the proportions are a woman's."""
        return self.sex == "female"
