"""What the values of an X-ray image are: intensity, logarithm, or what a screen shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import InputError
from fluoro.names import Polarity, TargetKind
from fluoro.volume.formats.dicom.tags import Tags
from fluoro.xray_files.header import XrayHeader
from fluoro.xray_files.notes import Notes

__all__ = ["Lookup", "Meaning", "meaning_of", "modality_lookup"]

TO_LINEAR = "TO_LINEAR"


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """What a pixel's value stands for, after the modality LUT.

    Attributes:
        kind: raw: X-ray intensity; log: attenuation up to scale and offset; display: neither.
        sign: -1: the values are negated, so that a larger one means what `kind` says.
        polarity: Whether bone is dark or bright; of display values.
        in_words: The file's own words.
    """

    kind: TargetKind
    sign: int
    polarity: Polarity | None
    in_words: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Lookup:
    """From stored to modality values: a line, or a table.

    Attributes:
        slope: Of the line.
        intercept: Of the line.
        first: Stored value that the table's first entry is for.
        table: Values; None: the line counts.
    """

    slope: float = 1.0
    intercept: float = 0.0
    first: int = 0
    table: NDArray[np.float64] | None = None

    def of(self, stored: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return modality values, same shape."""
        if self.table is None:
            return np.asarray(stored * self.slope + self.intercept, np.float64)
        return np.asarray(self.table[np.clip(stored - self.first, 0, len(self.table) - 1)])


def meaning_of(header: XrayHeader, tags: Tags, notes: Notes) -> Meaning:
    """Return what the values are, by PixelIntensityRelationship and its sign (PS3.3 C.8.7.1.1.2).

    Args:
        header: Of the file.
        tags: Of the frame.
        notes: Where what is assumed is noted.
    """
    relation = tags.text("PixelIntensityRelationship")
    sign = _sign(tags)
    words = f"{relation or 'no PixelIntensityRelationship'}{_sign_text(sign)}"
    if relation == "LIN" and sign != -1:
        return Meaning(kind="raw", sign=1, polarity=None, in_words=words)
    if relation == "LOG" and _is_linearised(tags):
        return Meaning(kind="raw", sign=1, polarity=None, in_words=f"{words}, linear by its LUT")
    if relation == "LOG":
        if sign is None:
            notes.assumed("larger logarithmic values mean more intensity")
        scale = 1 if sign == -1 else -1
        return Meaning(kind="log", sign=scale, polarity=None, in_words=words)
    polarity = _polarity(header, tags, sign, notes)
    return Meaning(kind="display", sign=1, polarity=polarity, in_words=words)


def _sign(tags: Tags) -> int | None:
    keyword = "PixelIntensityRelationshipSign"
    value = tags.hint(keyword) if tags.text(keyword) else None
    return int(value) if value in (1, -1) else None


def _sign_text(sign: int | None) -> str:
    return "" if sign is None else f", sign {sign:+d}"


def _is_linearised(tags: Tags) -> bool:
    return bool(tags.get("ModalityLUTSequence")) or _linear_item(tags) is not None


def _linear_item(tags: Tags) -> Any:
    items = tags.get("PixelIntensityRelationshipLUTSequence") or []
    return next((item for item in items if item.get("LUTFunction") == TO_LINEAR), None)


def _polarity(header: XrayHeader, tags: Tags, sign: int | None, notes: Notes) -> Polarity:
    if sign is not None:
        return "bone_dark" if sign == 1 else "bone_bright"
    projection = header.kind.startswith(("CR", "DX"))
    inverse = tags.text("PhotometricInterpretation") == "MONOCHROME1"
    # a radiograph is shown with bright bone, whatever way its values run; fluoroscopy with dark
    polarity: Polarity = "bone_bright" if projection and not inverse else "bone_dark"
    notes.assumed(f"{polarity}, as {header.kind} is usually shown; target.polarity says otherwise")
    return polarity


def modality_lookup(tags: Tags) -> Lookup:
    """Return the modality LUT, rescale or table; without either the stored values stay.

    Raises:
        InputError: One that cannot be used.
    """
    items = tags.get("ModalityLUTSequence")
    item = items[0] if items else _linear_item(tags)
    if item is not None:
        return _table(tags, item)
    if not (tags.text("RescaleSlope") or tags.text("RescaleIntercept")):
        return Lookup()
    slope, intercept = tags.number("RescaleSlope"), tags.number("RescaleIntercept")
    if slope == 0:
        raise tags.wrong("RescaleSlope", "other than 0")
    return Lookup(slope=slope, intercept=intercept)


def _table(tags: Tags, item: Any) -> Lookup:
    try:
        entries, first, bits = (int(value) for value in item.LUTDescriptor)
        data = item.LUTData
        wide = np.uint16 if bits > 8 else np.uint8
        values = np.frombuffer(data, wide) if isinstance(data, bytes) else np.asarray(data)
        table = values.astype(np.float64)[: entries or 1 << 16]
    except (AttributeError, TypeError, ValueError) as error:
        raise InputError(f"the LUT cannot be read: {error}") from None
    if len(table) != (entries or 1 << 16):
        raise tags.wrong("ModalityLUTSequence", f"a LUT of {entries} entries ({len(table)} found)")
    signed = tags.text("PixelRepresentation") == "1"
    return Lookup(first=first - (1 << 16) if signed and first >= 1 << 15 else first, table=table)
