"""CTs from files, with fluorosim's names: read once, rescaled once, in the patient's frame."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.fluorosim.missing import require_there
from fluoro.volume.volumes import HuVolume

__all__ = ["CtVolume", "load_dicom_series_hu", "load_nifti_hu"]

Vector3 = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class CtVolume:
    """CT numbers and where they lie in the patient.

    Attributes:
        hu_zyx: CT numbers [HU], shape (z, y, x), float32.
        spacing_zyx_mm: Distance between voxel centres along z, y and x [mm].
        origin_xyz_mm: Centre of voxel (0, 0, 0) in patient LPS [mm], whatever the file's frame.
        direction: 9 numbers, the rows of the matrix whose columns are the directions of the x, y
            and z index in patient LPS.
    """

    hu_zyx: NDArray[np.float32]
    spacing_zyx_mm: Vector3 | None = None
    origin_xyz_mm: Vector3 | None = None
    direction: tuple[float, ...] | None = None

    def to_json_dict(self) -> dict[str, Any]:
        """Return everything but the voxels, as JSON holds it; what is not known is left out."""
        facts = {
            "shape_zyx": self.hu_zyx.shape,
            "dtype": str(self.hu_zyx.dtype),
            "spacing_zyx_mm": self.spacing_zyx_mm,
            "origin_xyz_mm": self.origin_xyz_mm,
            "direction_row_major_3x3": self.direction,
        }
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in facts.items()
            if value is not None
        }


def load_dicom_series_hu(dicom_dir: str | Path, *, series: str | None = None) -> CtVolume:
    """Return CT numbers of the series in a folder.

    Args:
        dicom_dir: The folder.
        series: SeriesNumber or SeriesInstanceUID, where there are several.

    Raises:
        MissingError: There is no such folder; also a FileNotFoundError.
        InputError: No series, several, or one that cannot be used; the message says why.
        ImportError: What reads DICOM is not installed.
    """
    folder = Path(dicom_dir)
    require_there(folder, "folder")
    return _ct(folder, series)


def load_nifti_hu(nifti_path: str | Path) -> CtVolume:
    """CT numbers of a NIfTI file (.nii, .nii.gz); other formats that fluoro reads do as well.

    Raises:
        MissingError: There is no such file; also a FileNotFoundError.
        InputError: A file that cannot be used; the message says why.
        ImportError: What reads it is not installed.
    """
    path = Path(nifti_path)
    require_there(path, "file")
    return _ct(path)


def _ct(path: Path, series: str | None = None) -> CtVolume:
    try:
        from fluoro.config import ReadOptions
        from fluoro.volume.open_ct import open_ct

        return ct_volume(open_ct(path, ReadOptions(series=series)).volume())
    except ModuleNotFoundError as error:
        raise ImportError(
            f"{error.name} is missing: reading CTs needs what fluoro's extra [dicom] brings"
        ) from None


def ct_volume(hu: HuVolume) -> CtVolume:
    """Return the same CT under fluorosim's names."""
    x, y, z = hu.grid.spacing_xyz_mm
    return CtVolume(
        hu_zyx=hu.hu_zyx.astype(np.float32, copy=False),
        spacing_zyx_mm=(z, y, x),
        origin_xyz_mm=hu.grid.origin_xyz_mm,
        direction=tuple(value for row in hu.grid.direction for value in row),
    )
