"""What a CT file holds, in lines to read: grid, orientation, range of CT numbers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fluoro.volume.ct import Ct
from fluoro.volume.formats.dicom.series import is_dicom, scan
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.hu_to_mu import HuToMu
from fluoro.volume.labels.label_volume import LabelVolume
from fluoro.volume.labels.structures import Structure
from fluoro.volume.orientation import in_words, orientation_code, tilt_deg
from fluoro.volume.value_statistics import doubts_of, water_corners
from fluoro.volume.volumes import HuVolume, MuVolume

__all__ = ["VolumeReport", "attenuation_lines", "label_lines", "report", "series_lines"]

AIR_HU = -1024
"""Lowest CT number that a scanner gives to something it measured."""
CLIP_HU = HuToMu().range_hu[1]
"""Highest CT number of the default map; higher ones get the same attenuation."""
PERCENTS = (1, 5, 25, 50, 75, 95, 99)
BEYOND_METAL_HU = 32767
"""A CT whose highest value is above this has hardly HU in it."""


@dataclass(frozen=True, kw_only=True)
class VolumeReport:
    """Facts about a CT volume.

    Attributes:
        file: Where it was read from.
        kind: Its format.
        oriented: Whether the file says how the patient lies.
        grid: Where the voxels lie in the patient.
        voxel_type: How the CT numbers are held.
        hu_min: Lowest value, padding included [HU].
        hu_max: Highest value [HU].
        percentiles_hu: By percent, of the voxels that are not padding [HU].
        padding_voxels: How many lie below -1024 HU: outside the scanner's field of view.
        padding_hu: The lowest and highest of these; None if there are none.
        clipped_voxels: How many lie above the default of `volume.hu_clip_max`.
        corners_of_water: Share of the planes' corners that are exactly 0 HU.
    """

    file: str
    kind: str
    oriented: bool
    grid: VolumeGrid
    voxel_type: str
    hu_min: float
    hu_max: float
    percentiles_hu: dict[int, float]
    padding_voxels: int
    padding_hu: tuple[float, float] | None
    clipped_voxels: int = 0
    corners_of_water: float = 0.0

    @property
    def orientation(self) -> str:
        """Three letters, `LPS` for most CTs: where the x, y and z index grow to."""
        return orientation_code(self.grid.direction)

    def lines(self) -> list[str]:
        """Return the report, one fact a line."""
        facts = {
            "file": self.file,
            "kind": f"{self.kind}, {self.voxel_type}",
            "voxels": _times(self.grid.shape_xyz) + " (x, y, z)",
            "spacing": _times(self.grid.spacing_xyz_mm) + " mm",
            "size": _times(self.grid.size_xyz_mm) + " mm",
            "first voxel": _vector(self.grid.origin_xyz_mm) + " mm (patient LPS)",
            "centre": _vector(self.grid.center_xyz_mm) + " mm (patient LPS)",
            "orientation": self._orientation_line(),
            "direction": " ".join(_vector(row) for row in self.grid.direction),
            "CT numbers": f"{self.hu_min:g} to {self.hu_max:g} HU",
            "percentiles": ", ".join(f"{k} %: {v:g}" for k, v in self.percentiles_hu.items()),
            "padding": self._padding_line(),
        }
        lines = [f"{name + ':':<13}{fact}" for name, fact in facts.items()]
        return lines + [f"{'note:':<13}{remark}" for remark in self.remarks()]

    def remarks(self) -> list[str]:
        """Return what a user should look at before believing an image made from it."""
        remarks = []
        if not self.oriented:
            remarks.append("the file does not say how the patient lies; L, P, S is assumed")
        remarks += doubts_of(self.hu_min, self.corners_of_water)
        if self.hu_max > BEYOND_METAL_HU:
            remarks.append(f"some voxels are above {BEYOND_METAL_HU} HU: are these CT numbers?")
        if self.clipped_voxels:
            share = self.clipped_voxels / np.prod(self.grid.shape_zyx)
            remarks.append(
                f"{self.clipped_voxels} voxels ({share:.2%}) are above {CLIP_HU:g} HU and are "
                "taken as that, unless volume.hu_clip_max says otherwise"
            )
        return remarks

    def _orientation_line(self) -> str:
        text = f"{self.orientation} ({in_words(self.orientation)})"
        tilt = tilt_deg(self.grid.direction)
        return f"{text}, tilted by {tilt:.1f} degrees" if tilt >= 0.05 else text

    def _padding_line(self) -> str:
        if self.padding_hu is None:
            return f"none (no voxel below {AIR_HU} HU)"
        low, high = self.padding_hu
        value = f"{low:g}" if low == high else f"{low:g} to {high:g}"
        share = self.padding_voxels / np.prod(self.grid.shape_zyx)
        return f"{self.padding_voxels} voxels ({share:.1%}) of {value} HU, rendered as air"


def series_lines(path: Path) -> list[str]:
    """Return the CT series that a DICOM folder holds and what else lies in it, one a line.

    None of a file that is no DICOM.

    Raises:
        InputError: A DICOM file is damaged.
    """
    if not (path.is_dir() or is_dicom(path)):
        return []
    folder = scan(path)
    lines = [
        f"{'series:':<13}{series}, scanned {series.patient_position or 'in an unknown position'}"
        for series in folder.series
    ]
    return [*lines, f"{'left out:':<13}{folder.left_out_text()}"]


def attenuation_lines(volume: MuVolume) -> list[str]:
    """Return what an attenuation volume holds, one fact a line."""
    grid, statistics = volume.grid, volume.statistics
    orientation = orientation_code(grid.direction)
    facts = {
        "source": volume.source,
        "voxels": _times(grid.shape_xyz) + " (x, y, z), attenuation, float32",
        "spacing": _times(grid.spacing_xyz_mm) + " mm",
        "size": _times(grid.size_xyz_mm) + " mm",
        "centre": _vector(grid.center_xyz_mm) + " mm (patient LPS)",
        "orientation": f"{orientation} ({in_words(orientation)})",
    }
    if statistics:
        low, high = statistics.mu_range
        hu = statistics.hu_range
        facts["CT numbers"] = "unknown" if hu is None else f"{hu[0]:g} to {hu[1]:g} HU"
        facts["attenuation"] = f"{low:.5g} to {high:.5g} /mm, water {volume.water_mu_per_mm:.5g}"
        facts["out of range"] = statistics.remark() or "none"
    return [f"{name + ':':<14}{fact}" for name, fact in facts.items()]


def label_lines(labels: LabelVolume) -> list[str]:
    """The structures of a volume, one a line: number, name, volume [ml], box (patient LPS) [mm]."""
    head = f"{'labels:':<13}{len(labels.structures)} structures of {labels.source}"
    rows = zip(labels.structures, labels.volumes_mm3(), labels.boxes(), strict=True)
    return [head, *(_label_line(labels.grid, *row) for row in rows)]


def _label_line(
    grid: VolumeGrid, each: Structure, volume_mm3: float, box: tuple[slice, slice, slice] | None
) -> str:
    line = f"{each.number:>5}  {each.name:<30} {volume_mm3 / 1000:>9.1f} ml"
    if box is None:
        return line
    z, y, x = box
    ends = [(s.start - 0.5, s.stop - 0.5) for s in (x, y, z)]
    corners = np.array(np.meshgrid(*ends)).reshape(3, -1)
    placed = (grid.world_from_index @ np.vstack([corners, np.ones(8)]))[:3]
    low, high = placed.min(axis=1).round(1), placed.max(axis=1).round(1)
    return f"{line}  {_vector(low)} to {_vector(high)} mm"


def report(ct: Ct, hu: HuVolume) -> VolumeReport:
    """Report on an opened CT and its voxels, `ct.volume()`."""
    values, counts = _distribution(hu.hu_zyx)
    padding = values < AIR_HU
    return VolumeReport(
        file=str(ct.path),
        kind=ct.kind,
        oriented=ct.oriented,
        grid=hu.grid,
        voxel_type=str(hu.hu_zyx.dtype),
        hu_min=float(values[0]),
        hu_max=float(values[-1]),
        percentiles_hu=_percentiles(values[~padding], counts[~padding]),
        padding_voxels=int(counts[padding].sum()),
        padding_hu=(float(values[padding][0]), float(values[padding][-1]))
        if padding.any()
        else None,
        clipped_voxels=int(counts[values > CLIP_HU].sum()),
        corners_of_water=water_corners(hu.hu_zyx),
    )


def _distribution(
    hu_zyx: NDArray[np.int16] | NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The values that occur, rising, and how often each does."""
    if hu_zyx.dtype != np.int16:
        values, counts = np.unique(hu_zyx, return_counts=True)
        return values.astype(np.float32), counts
    lowest = int(np.iinfo(np.int16).min)
    counts = np.zeros(1 << 16, np.int64)
    for plane in hu_zyx:
        counts += np.bincount(plane.ravel().astype(np.int32) - lowest, minlength=len(counts))
    present = np.flatnonzero(counts)
    return (present + lowest).astype(np.float32), counts[present]


def _percentiles(values: NDArray[np.float32], counts: NDArray[np.int64]) -> dict[int, float]:
    """Value at or below which that share of the voxels lies; empty if there are no voxels."""
    if len(values) == 0:
        return {}
    ranks = np.ceil(np.array(PERCENTS) / 100 * counts.sum())
    at = np.searchsorted(np.cumsum(counts), ranks)
    return {percent: float(values[i]) for percent, i in zip(PERCENTS, at, strict=True)}


def _times(values: object) -> str:
    return " x ".join(f"{value:g}" for value in np.asarray(values).tolist())


def _vector(values: object) -> str:
    return "(" + ", ".join(f"{value:.5g}" for value in np.asarray(values).tolist()) + ")"
