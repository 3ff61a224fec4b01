"""How the patient lies, in codes (DICOM PS3.16 CID 19, 20 and 21)."""

from __future__ import annotations

from typing import Any

from fluoro.geometry.patient_position import ROOM_AXES
from fluoro.names import PatientPosition
from fluoro.volume.formats.dicom.tags import Tags

__all__ = ["POSTURES", "patient_position"]

POSTURES: dict[PatientPosition, tuple[str, str, str, str]] = {
    "HFS": ("102540001", "headfirst", "40199007", "supine"),
    "HFP": ("102540001", "headfirst", "1240000", "prone"),
    "HFDL": ("102540001", "headfirst", "102536004", "left lateral decubitus"),
    "HFDR": ("102540001", "headfirst", "102535000", "right lateral decubitus"),
    "FFS": ("102541002", "feet-first", "40199007", "supine"),
    "FFP": ("102541002", "feet-first", "1240000", "prone"),
}
"""SNOMED codes and names of the direction in which the patient lies, and of the posture."""
OLD_CODES = {
    "F-10470": "102540001", "F-10480": "102541002", "F-10340": "40199007", "F-10310": "1240000",
    "F-10319": "102536004", "F-10317": "102535000",
}  # fmt: skip
"""SNOMED RT's codes, which older files have, and their successors."""


def patient_position(tags: Tags) -> PatientPosition | None:
    """How the patient lies, from PatientPosition or the codes in its place; None: not given."""
    text = tags.text("PatientPosition")
    for known in ROOM_AXES:
        if text == known:
            return known
    direction = _code(tags.get("PatientGantryRelationshipCodeSequence"))
    recumbent = (tags.get("PatientOrientationCodeSequence") or [None])[0]
    modifiers = recumbent.get("PatientOrientationModifierCodeSequence") if recumbent else None
    found = (direction, _code(modifiers))
    return next((name for name, codes in POSTURES.items() if (codes[0], codes[2]) == found), None)


def _code(items: Any) -> str:
    value = str(items[0].get("CodeValue") or "") if items else ""
    return OLD_CODES.get(value, value)
