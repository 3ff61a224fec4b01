"""Images of one series that belong to several sets: acquisitions, phases, reconstructions.

Two sets whose images lie between each other's make a volume that looks whole but mixes both.
Sets that follow each other, each over its own stretch of the patient, are one volume (step and
shoot).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import InputError
from fluoro.volume.formats.dicom.file_header import GEOMETRY, SELECTABLE
from fluoro.volume.formats.dicom.images import Frame

__all__ = ["GAP_RATIO", "SAME_PLACE_MM", "canonical", "counted", "differences", "require_one_set",
           "usual_step"]  # fmt: skip

Array = NDArray[np.float64]

SAME_PLACE_MM = 0.01
"""Images no further apart than this lie at one place."""
GAP_RATIO = 1.5
"""Steps longer than the usual one by this are gaps."""
LISTED = 8
"""Values of an attribute that a message lists; the rest is counted."""
LONGEST = 80
"""Characters of a value that a message shows."""
OF_EACH_IMAGE = ("AcquisitionTime", "AcquisitionDateTime", "TriggerTime", "ImageComments")
"""Attributes that may differ from image to image of one set: they distinguish sets only where
they have few values."""


def require_one_set(path: Path, frames: Sequence[Frame], accepted: Collection[str]) -> None:
    """Check that no images of one set lie between those of another.

    Args:
        path: What to name in messages.
        frames: At least 1, alike in orientation.
        accepted: Attributes in which the images may differ, as the user says.

    Raises:
        InputError: Some do; the message names the attribute that distinguishes the sets, and its
            values.
    """
    mixed = [
        keyword
        for keyword in SELECTABLE
        if keyword not in (*GEOMETRY, *accepted)
        if _differ(frames, keyword) and not _is_of_each(frames, keyword)
        if _lie_between(_along(frames), _values(frames, keyword))
    ]
    if mixed:
        raise InputError(
            f"{path}: the images of several sets interleave along the patient"
            f"{_advice(frames, mixed)}"
        )


def differences(frames: Sequence[Frame], odd: Sequence[Frame]) -> str:
    """Return the attribute that distinguishes some images, as advice.

    Args:
        frames: All images of the series.
        odd: Those among them that cannot be in one volume; at least 2.
    """
    telling = [
        keyword
        for keyword in SELECTABLE
        if _differ(odd, keyword) and not _is_of_each(frames, keyword)
    ]
    return _advice(frames, telling) if telling else "; they have no attribute to choose by"


def canonical(text: str) -> str:
    """Return a value of an attribute so that equal numbers are equal text: 120 and 120.0."""
    try:
        return text if "_" in text else f"{float(text):.12g}"
    except ValueError:
        return text


def counted(frames: Sequence[Frame], keyword: str) -> str:
    """Return the values of an attribute with the number of images that have each."""
    shown = {canonical(text): text for text in (f.facts.get(keyword, "") for f in frames)}
    counts = Counter(_values(frames, keyword))
    values = [
        f"{shown[value][:LONGEST] or 'no value'} ({count} images)"
        for value, count in counts.items()
    ]
    more = f" and {len(values) - LISTED} more values" if len(values) > LISTED else ""
    return ", ".join(values[:LISTED]) + more


def usual_step(steps: Array) -> float:
    """Return the usual one of some steps > 0 [mm]; the median of all would be that of the gaps."""
    return float(np.median(steps[steps <= GAP_RATIO * steps.min()]))


def _along(frames: Sequence[Frame]) -> Array:
    """Positions along the first image's normal [mm], shape (n,)."""
    return np.asarray([frame.position_mm for frame in frames] @ frames[0].axes[:, 2])


def _values(frames: Sequence[Frame], keyword: str) -> list[str]:
    return [canonical(frame.facts.get(keyword, "")) for frame in frames]


def _differ(frames: Sequence[Frame], keyword: str) -> bool:
    return len({frame.facts.get(keyword) for frame in frames}) > 1


def _is_of_each(frames: Sequence[Frame], keyword: str) -> bool:
    return keyword in OF_EACH_IMAGE and len(set(_values(frames, keyword))) > LISTED


def _advice(frames: Sequence[Frame], keywords: Sequence[str]) -> str:
    """The attribute whose sets are longest, its values, and how to choose one."""
    along = _along(frames)
    keyword = max(keywords, key=lambda each: round(_reach(along, _values(frames, each)), 1))
    example = next(f.facts[keyword] for f in frames if f.facts.get(keyword))
    return (
        f"; choose by {keyword}: {counted(frames, keyword)}; for example volume.select: "
        f"{{{keyword}: {example[:LONGEST]!r}}}"
    )


def _reach(along: Array, values: Sequence[str]) -> float:
    """Mean length of the sets [mm], each counted by its images."""
    return float(sum(np.ptp(z) * len(z) for z in _sets(along, values))) / len(along)


def _sets(along: Array, values: Sequence[str]) -> list[Array]:
    """Rising positions of the images of each value [mm]."""
    of = np.unique(values, return_inverse=True)[1]
    return [np.sort(along[of == value]) for value in range(of.max() + 1)]


def _lie_between(along: Array, values: Sequence[str]) -> bool:
    """Whether images of one value lie between those of another where these have no gap."""
    of = np.unique(values, return_inverse=True)[1]
    sets = _sets(along, values)
    others = [set(of[_within(stack, along)].tolist()) - {n} for n, stack in enumerate(sets)]
    return any(
        n in others[other] or _is_extra(sets[other], sets[n])
        for n, found in enumerate(others)
        for other in found
    )


def _is_extra(few: Array, stack: Array) -> bool:
    """Whether some images have none of a stack's between them: they fill no gap in each other.

    A stack of two images has no usual step that would be known to be without a gap.
    """
    between = (stack > few[0]) & (stack < few[-1])
    return len(stack) > 2 and not between.any()


def _within(stack: Array, along: Array) -> NDArray[np.bool_]:
    """Which positions lie between neighbours of a stack, and not in one of its gaps."""
    places = stack[np.append(True, np.diff(stack) > SAME_PLACE_MM)]
    if len(places) < 2:
        return np.zeros(len(along), bool)
    steps = np.diff(places)
    above = np.searchsorted(places, along)
    at = np.clip(above, 1, len(steps))
    lower, upper = places[at - 1], places[at]
    inside = (along > lower + SAME_PLACE_MM) & (along < upper - SAME_PLACE_MM)
    return np.asarray(inside & (upper - lower <= GAP_RATIO * usual_step(steps)))
