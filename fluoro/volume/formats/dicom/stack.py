"""From the images of a series to an even, right-angled grid, or the reason why there is none.

Order and spacing come from the positions along the normal of the images, never from their numbers
or their thickness.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import InputError
from fluoro.names import MissingSlices
from fluoro.volume.formats.dicom.file_header import ONE_PATIENT
from fluoro.volume.formats.dicom.image_sets import (
    GAP_RATIO,
    SAME_PLACE_MM,
    counted,
    differences,
    usual_step,
)
from fluoro.volume.formats.dicom.images import Frame
from fluoro.volume.grid import VolumeGrid

__all__ = ["Stack", "mixed", "require_alike", "same_places", "stacked"]

Array = NDArray[np.float64]

ANGLE_COSINE = 1e-3
"""Largest difference of direction cosines within one stack: 0.06 degrees."""
SPACING_RATIO = 1e-3
"""Largest relative difference of pixel spacings within one stack."""
EVEN_MM, EVEN_RATIO = 0.06, 0.1
"""Slices this near to an even grid [mm], and [of its spacing], lie on it: some scanners round their
positions to 0.1 mm."""
SMALLEST_RATIO = 0.5
"""Steps shorter than the median by this lie on no grid."""
FEWEST_ALTERNATING = 5
"""Steps from which on a long one after each short one is no chance."""
FEWEST_THINNER = 3
"""Short steps from which on they are a stretch of thinner slices."""
LARGEST_GAP_RATIO = 10.5
"""A wider gap, in usual steps, is not filled: that would be made up."""
LINE_PX = 0.1
"""How far a slice may lie beside the stack's line [pixels]."""
STRAIGHT_PX = 0.05
"""Shifts within the plane up to this many pixels from first to last slice are none."""
LARGEST_TILT_DEG = 45.0
"""Gantries tilt up to 30 degrees; beyond this the images are no stack."""
TILT_TOLERANCE_DEG = 0.5
"""Between the tilt that the file names and that of its positions."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Stack:
    """A series on its grid.

    Attributes:
        frames: Images in the order of the grid's z.
        grid: Where the voxels lie.
        shift_px: For each image, how many pixels it lies from the grid's edge along x and y,
            shape (n, 2); None where all lie at it.
        slice_index: For each z of the grid, which image it lies at, fractions between two, shape
            (z,); None where they are the images.
        remarks: What was done to them, in words.
    """

    frames: tuple[Frame, ...]
    grid: VolumeGrid
    shift_px: Array | None
    slice_index: Array | None
    remarks: tuple[str, ...]


SAID = (
    "KVP", "ConvolutionKernel", "ContrastBolusAgent", "ContrastBolusAgentPhase", "ImageType",
    "SliceThickness", "NominalPercentageOfCardiacPhase", "TemporalPositionIdentifier",
    "TemporalPositionIndex",
)  # fmt: skip
"""CT numbers, their sharpness or their time depend on it: images that differ in it from one stretch
to the next are read, with a warning."""


def require_alike(path: Path, frames: Sequence[Frame]) -> None:
    """Check that all images could lie in one stack.

    Raises:
        InputError: They differ in size, orientation, spacing or frame of reference, or in patient,
            study or how the patient lay.
    """
    first = frames[0]
    odd = {kind: frame for frame in reversed(frames) if (kind := _kind(frame, first))}
    for keyword, name in ONE_PATIENT.items():
        by_value = {f.facts[keyword]: f for f in reversed(frames) if keyword in f.facts}
        if len(by_value) > 1:
            odd[name] = next(
                f for value, f in by_value.items() if value != first.facts.get(keyword)
            )
    if not odd:
        return
    raise InputError(
        f"{path}: the series mixes images that differ in {', '.join(sorted(odd))}"
        f"{differences(frames, [first, *odd.values()])}"
    )


def _kind(frame: Frame, first: Frame) -> str:
    if (frame.rows, frame.columns) != (first.rows, first.columns):
        return "size"
    if np.abs(frame.axes - first.axes).max() > ANGLE_COSINE:
        return "orientation"
    if not np.allclose(frame.spacing_xy_mm, first.spacing_xy_mm, rtol=SPACING_RATIO, atol=0):
        return "pixel spacing"
    if frame.frame_of_reference != first.frame_of_reference:
        return "frame of reference"
    return ""


def mixed(frames: Sequence[Frame]) -> list[str]:
    """Return what to say of images that are of one place but not of one make."""
    remarks = [
        f"the images differ in {keyword}: {counted(frames, keyword)}"
        for keyword in SAID
        if len({frame.facts.get(keyword) for frame in frames}) > 1
    ]
    lossy = sum(frame.lossy for frame in frames)
    if lossy:
        remarks.append(f"{lossy} images have been compressed with loss")
    return remarks


def same_places(frames: Sequence[Frame]) -> list[list[Frame]]:
    """The images by place, in the order along their normal; more than one where they coincide."""
    local = _local(frames)
    order = np.lexsort((local[:, 1], local[:, 0], np.round(local[:, 2], 6)))
    places: list[list[Frame]] = []
    last: Array | None = None
    for at in order:
        if last is not None and np.abs(local[at] - last).max() <= SAME_PLACE_MM:
            places[-1].append(frames[at])
        else:
            places.append([frames[at]])
            last = local[at]
    return places


def stacked(path: Path, frames: Sequence[Frame], gaps: MissingSlices) -> Stack:
    """Return the grid of images that lie at different places, in their order along the normal.

    Args:
        path: What to name in messages.
        frames: At least 2, alike.
        gaps: Whether missing slices are interpolated.

    Raises:
        InputError: The images do not lie on a line, or have gaps, or are too uneven.
    """
    if len(frames) < 2:
        raise InputError(f"{path}: one image alone is no volume; at least 2 slices are needed")
    local = _local(frames)
    along = local[:, 2]
    tilt_deg = _tilt_deg(local)
    shift_px, corner_mm, tilt = _shifts(path, frames[0], local, tilt_deg)
    slice_index, levels, remarks = _levels(path, along, gaps, frames[0].axes[:, 2])
    extra = (0, 0) if shift_px is None else np.ceil(shift_px.max(axis=0) - 1e-6).astype(int)
    step = round(float(levels[1] - levels[0]), 9)
    corner = np.array([*corner_mm, round(float(levels[0]), 9)])
    grid = _grid(path, frames[0], extra, (len(levels), step), corner)
    return Stack(
        frames=tuple(frames),
        grid=grid,
        shift_px=shift_px,
        slice_index=slice_index,
        remarks=(*tilt, *_named_tilt(frames, tilt_deg), *remarks),
    )


def _local(frames: Sequence[Frame]) -> Array:
    """Positions along the first image's row, column and normal [mm], shape (n, 3)."""
    return np.asarray([frame.position_mm for frame in frames] @ frames[0].axes)


def _grid(
    path: Path,
    frame: Frame,
    extra: Sequence[int] | NDArray[np.int64],
    levels: tuple[int, float],
    corner_mm: Array,
) -> VolumeGrid:
    x, y, z = (float(value) for value in frame.axes @ corner_mm)
    rows = [(float(a), float(b), float(c)) for a, b, c in frame.axes]
    try:
        return VolumeGrid(
            shape_zyx=(levels[0], frame.rows + int(extra[1]), frame.columns + int(extra[0])),
            spacing_xyz_mm=(*frame.spacing_xy_mm, levels[1]),
            origin_xyz_mm=(x, y, z),
            direction=(rows[0], rows[1], rows[2]),
        )
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _line(local: Array) -> tuple[Array, Array]:
    """Where the images would lie on one straight line, beside their normal [mm], and its slope."""
    along = local[:, 2] - local[0, 2]
    columns = np.column_stack([along, np.ones(len(along))])
    slope = np.linalg.lstsq(columns, local[:, :2], rcond=None)[0]
    return np.asarray(columns @ slope), np.asarray(slope[0])


def _tilt_deg(local: Array) -> float:
    """Angle between the images' normal and the line on which they lie [degrees]."""
    return math.degrees(math.atan(float(np.linalg.norm(_line(local)[1]))))


def _named_tilt(frames: Sequence[Frame], tilt_deg: float) -> tuple[str, ...]:
    """What to say where the files name another tilt of the gantry than their positions show."""
    named = {abs(frame.gantry_tilt_deg or 0.0) for frame in frames}
    if all(abs(value - tilt_deg) <= TILT_TOLERANCE_DEG for value in named):
        return ()
    most = max(named, key=lambda value: abs(value - tilt_deg))
    return (
        f"GantryDetectorTilt (0018,1120) says {most:.1f} degrees, the positions {tilt_deg:.1f}: "
        "the positions count",
    )


def _shifts(
    path: Path, frame: Frame, local: Array, tilt_deg: float
) -> tuple[Array | None, Array, tuple[str, ...]]:
    """Shift of each image within its plane [pixels], the grid's corner [mm], what was done."""
    beside = local[:, :2]
    off_px = np.abs((beside - _line(local)[0]) / frame.spacing_xy_mm).max()
    if off_px > LINE_PX or tilt_deg > LARGEST_TILT_DEG:
        raise InputError(
            f"{path}: the images do not lie on a line: {off_px:.3g} pixels beside it, at "
            f"{tilt_deg:.1f} degrees to their normal (at most {LINE_PX:g} and "
            f"{LARGEST_TILT_DEG:g} are allowed)"
        )
    shift_px = (beside - beside.min(axis=0)) / frame.spacing_xy_mm
    if shift_px.max() <= STRAIGHT_PX:
        return None, beside.mean(axis=0), ()
    remark = f"gantry tilt of {tilt_deg:.1f} degrees: resampled onto a right-angled grid"
    return shift_px, beside.min(axis=0), (remark,)


def _levels(
    path: Path, along: Array, gaps: str, normal: Array
) -> tuple[Array | None, Array, tuple[str, ...]]:
    """Index of the image at each level (None: all, evenly), the levels [mm], what was done."""
    steps = np.diff(along)
    even = _even(along)
    if np.abs(along - even).max() <= min(EVEN_MM, EVEN_RATIO * (even[1] - even[0])) + 1e-9:
        return None, even, ()
    _require_no_second_set(path, steps)
    _require_no_crowd(path, steps, gaps)
    usual = usual_step(steps)
    wide = np.flatnonzero(steps > GAP_RATIO * usual)
    _require_no_gap(path, along, wide, gaps, usual, normal)
    count = round(float(along[-1] - along[0]) / usual) + 1
    levels = np.linspace(along[0], along[-1], count)
    index = np.interp(levels, along, np.arange(len(along)))
    step = (along[-1] - along[0]) / (count - 1)
    missing = f", {len(wide)} gaps filled" if len(wide) else ""
    remark = (
        f"slices are {steps.min():.3f} to {steps.max():.3f} mm apart{missing}: interpolated onto "
        f"{count} slices of {step:.3f} mm"
    )
    return index, levels, (remark,)


def _even(along: Array) -> Array:
    """The even positions nearest to some rising ones, by least squares."""
    count = np.arange(len(along), dtype=float)
    middle = count - count.mean()
    step = middle @ along / (middle @ middle)
    return np.asarray(along.mean() + step * middle)


def _require_no_second_set(path: Path, steps: Array) -> None:
    """Check that short and long steps do not alternate, as where two stacks are put together."""
    short, long = sorted((steps[::2], steps[1::2]), key=lambda each: float(each.mean()))
    if (
        len(steps) >= FEWEST_ALTERNATING
        and max(np.ptp(short), np.ptp(long)) <= EVEN_MM
        and long.min() > GAP_RATIO * short.max()
    ):
        raise InputError(
            f"{path}: slices are {short.mean():.3f} and {long.mean():.3f} mm apart alternately, as "
            "where the slices of two sets interleave; choose one set with volume.select, or copy "
            "it to a folder of its own"
        )


def _require_no_crowd(path: Path, steps: Array, gaps: str) -> None:
    median = float(np.median(steps))
    if steps.min() >= SMALLEST_RATIO * median:
        return
    thinner = _is_stretch(steps < SMALLEST_RATIO * median, steps)
    if thinner and gaps == "interpolate":
        return
    raise InputError(
        f"{path}: slices are too uneven: {steps.min():.3f} to {steps.max():.3f} mm apart, "
        f"median {median:.3f} mm (at least {SMALLEST_RATIO:g} medians are needed)"
        + ("; volume.gaps: interpolate resamples onto the finer of two spacings" * thinner)
    )


def _is_stretch(short: NDArray[np.bool_], steps: Array) -> bool:
    """Whether short steps follow each other and are alike, as thin slices before thick ones."""
    at = np.flatnonzero(short)
    together = len(at) >= FEWEST_THINNER and at[-1] - at[0] == len(at) - 1
    return bool(together and np.ptp(steps[at]) <= EVEN_MM)


def _require_no_gap(
    path: Path, along: Array, wide: NDArray[np.intp], gaps: str, usual: float, normal: Array
) -> None:
    if len(wide) == 0:
        return
    largest = float(np.diff(along).max()) / usual
    if gaps == "interpolate" and largest <= LARGEST_GAP_RATIO:
        return
    where = ", ".join(f"{along[at]:.2f} to {along[at + 1]:.2f} mm" for at in wide[:5])
    more = f" and {len(wide) - 5} more" if len(wide) > 5 else ""
    direction = ", ".join(f"{value:.3g}" for value in normal + 0.0)
    advice = (
        "volume.gaps: interpolate fills them"
        if largest <= LARGEST_GAP_RATIO
        else f"too wide to be filled: {largest:.1f} spacings, at most {LARGEST_GAP_RATIO:g}"
    )
    raise InputError(
        f"{path}: slices are missing at {where}{more} along ({direction}), spacing {usual:.3f} "
        f"mm; {advice}"
    )
