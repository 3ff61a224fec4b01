"""When each frame of an X-ray file was taken."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise

from fluoro.errors import InputError
from fluoro.volume.formats.dicom.tags import Tags
from fluoro.xray_files.header import XrayHeader
from fluoro.xray_files.notes import Notes

__all__ = ["frame_times_s"]

RATES = ("CineRate", "RecommendedDisplayFrameRate")
PLAIN_RATE_HZ = 15.0
"""Where a file of several frames does not say when they were taken."""


def frame_times_s(header: XrayHeader, notes: Notes) -> tuple[float, ...]:
    """Time of each frame since the first one [s], as FrameIncrementPointer's attributes say it.

    Args:
        header: Of the file.
        notes: Where what is assumed is noted.
    """
    tags, frames = header.tags, header.frames
    if frames == 1:
        return (0.0,)
    if header.enhanced and (stamps := _stamps_s(header)):
        return stamps
    steps_ms = _vector_ms(tags)
    if len(steps_ms) == frames:
        return _summed_s(steps_ms)
    if steps_ms:
        notes.contradictory(
            f"FrameTimeVector (0018,1065) has {len(steps_ms)} values for {frames} frames: left out"
        )
    step_ms = tags.hint("FrameTime")
    if step_ms and step_ms > 0:
        return tuple(number * step_ms * 1e-3 for number in range(frames))
    rate = next((value for name in RATES if (value := tags.hint(name)) and value > 0), None)
    if rate is None:
        notes.assumed(f"{PLAIN_RATE_HZ:g} frames per second: the file gives no frame times")
    return tuple(number / (rate or PLAIN_RATE_HZ) for number in range(frames))


def _vector_ms(tags: Tags) -> list[float]:
    """Time from frame to frame [ms]; the first one is 0."""
    text = tags.text("FrameTimeVector")
    try:
        return tags.numbers("FrameTimeVector", text.count("\\") + 1) if text else []
    except InputError:
        return []


def _summed_s(steps_ms: Sequence[float]) -> tuple[float, ...]:
    times, now = [], 0.0
    for number, step in enumerate(steps_ms):
        now += step * 1e-3 if number else 0.0
        times.append(now)
    return tuple(times)


def _stamps_s(header: XrayHeader) -> tuple[float, ...] | None:
    """From the frames' own date and time; None unless all rise."""
    texts = [_stamp(header.frame_tags(number)) for number in range(header.frames)]
    try:
        moments = [datetime.strptime(text, FORM if "." in text else FORM[:-3]) for text in texts]
    except ValueError:
        return None
    times = tuple((moment - moments[0]).total_seconds() for moment in moments)
    rising = all(a <= b for a, b in pairwise(times))
    return times if rising and times[-1] > 0 else None


FORM = "%Y%m%d%H%M%S.%f"


def _stamp(tags: Tags) -> str:
    text = tags.text("FrameReferenceDateTime") or tags.text("FrameAcquisitionDateTime")
    return text.split("+")[0].split("-")[0]
