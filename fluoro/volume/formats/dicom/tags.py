"""Attributes of DICOM images, by keyword: text or checked numbers."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fluoro.errors import InputError

__all__ = ["MACROS", "Tags", "named"]

MACROS = {
    "ImagePositionPatient": "PlanePositionSequence",
    "ImageOrientationPatient": "PlaneOrientationSequence",
    "PixelSpacing": "PixelMeasuresSequence",
    "RescaleSlope": "PixelValueTransformationSequence",
    "RescaleIntercept": "PixelValueTransformationSequence",
    "RescaleType": "PixelValueTransformationSequence",
    "FrameType": "CTImageFrameTypeSequence",
    "FrameAcquisitionNumber": "FrameContentSequence",
    "TemporalPositionIndex": "FrameContentSequence",
    "StackID": "FrameContentSequence",
    "NominalPercentageOfCardiacPhase": "CardiacSynchronizationSequence",
    "NominalCardiacTriggerDelayTime": "CardiacSynchronizationSequence",
    "ContrastBolusAgentPhase": "ContrastBolusUsageSequence",
    "ContrastBolusAgentAdministered": "ContrastBolusUsageSequence",
    "ConvolutionKernel": "CTReconstructionSequence",
    "ReconstructionDiameter": "CTReconstructionSequence",
    "KVP": "CTXRayDetailsSequence",
    "FilterType": "CTXRayDetailsSequence",
    "SliceThickness": "PixelMeasuresSequence",
    "IrradiationEventUID": "IrradiationEventIdentificationSequence",
    "GantryDetectorTilt": "CTAcquisitionDetailsSequence",
}
"""Where a multi-frame file keeps what others have at the top (DICOM PS3.3 C.7.6.16.2)."""


class Tags:
    """Attributes of one image: in its own functional groups, the shared ones, or at the top.

    Args:
        path: The file, for messages.
        datasets: Where to look, in this order.
        where: What to put in front of an attribute's name in messages.
        macros: Sequence in which a multi-frame file keeps an attribute, by keyword.
    """

    def __init__(
        self,
        path: Path,
        datasets: Sequence[Any],
        where: str = "",
        macros: Mapping[str, str] = MACROS,
    ) -> None:
        self._path, self._datasets, self._where, self._macros = path, datasets, where, macros

    def get(self, keyword: str) -> Any:
        """Return the value as pydicom has it; None if there is none or it is empty."""
        for dataset in self._datasets:
            macro = self._macros.get(keyword)
            inner = dataset.get(macro) if macro else None
            for source in (inner[0] if inner else None, dataset):
                value = None if source is None else source.get(keyword)
                if value is not None and value != "":
                    return value
        return None

    def text(self, keyword: str) -> str:
        """Return the value as text, several with backslashes between; empty if there is none."""
        value = self._value(keyword)
        if value is None:
            return ""
        several = isinstance(value, Sequence) and not isinstance(value, str)
        text = "\\".join(str(item) for item in value) if several else str(value)
        return "".join(mark if mark.isprintable() else "?" for mark in " ".join(text.split()))

    def numbers(self, keyword: str, count: int) -> list[float]:
        """Return `count` finite numbers.

        Raises:
            InputError: They are missing, or others.
        """
        value = self._value(keyword)
        if value is None:
            raise self.missing(keyword)
        items = list(value) if isinstance(value, Sequence) else [value]
        try:
            found = [float(item) for item in items]
        except (TypeError, ValueError):
            found = []
        if len(found) != count or not all(math.isfinite(number) for number in found):
            numbers = "a finite number" if count == 1 else f"{count} finite numbers"
            raise self.wrong(keyword, numbers)
        return found

    def number(self, keyword: str) -> float:
        """Return one finite number."""
        return self.numbers(keyword, 1)[0]

    def hint(self, keyword: str) -> float | None:
        """Return a number that only a remark depends on; None where there is none."""
        try:
            return self.number(keyword)
        except InputError:
            return None

    def count(self, keyword: str, low: int, high: int) -> int:
        """Return a whole number in a range.

        Raises:
            InputError: Another value, or none.
        """
        value = self.number(keyword)
        if value != int(value) or not low <= value <= high:
            raise self.wrong(keyword, f"a whole number from {low} to {high}")
        return int(value)

    def missing(self, keyword: str) -> InputError:
        """Return what to raise of an attribute that is not there."""
        return InputError(f"{self._path}: {self._where}{named(keyword)} is missing")

    def wrong(self, keyword: str, expected: str) -> InputError:
        """Return what to raise of an attribute with another value than expected."""
        got = self.text(keyword)
        return InputError(
            f"{self._path}: {self._where}{named(keyword)} must be {expected}, got {got[:80]!r}"
        )

    def _value(self, keyword: str) -> Any:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return self.get(keyword)
        except Exception as error:  # noqa: BLE001  (pydicom converts values on access)
            text = " ".join(str(error).split())
            raise InputError(
                f"{self._path}: {self._where}{named(keyword)} cannot be read: {text}"
            ) from None


def named(keyword: str) -> str:
    """Return an attribute's keyword with its tag, as messages name it."""
    from pydicom.datadict import tag_for_keyword

    tag = tag_for_keyword(keyword) or 0
    return f"{keyword} ({tag >> 16:04X},{tag & 0xFFFF:04X})"
