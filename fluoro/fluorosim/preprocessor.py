"""From a CT to attenuation, in one line for each kind of source."""

from __future__ import annotations

import logging
import numbers
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import InputError
from fluoro.fluorosim.calibration import calibrated_mu, calibration_facts
from fluoro.fluorosim.config import HuToMuCalibration, PreprocessingSettings
from fluoro.fluorosim.ct.dicom_ingest import (
    CtVolume,
    ct_volume,
    load_dicom_series_hu,
    load_nifti_hu,
)
from fluoro.fluorosim.volume import (
    PreprocessedVolume,
    VolumeMetadata,
    finite_range,
    real_array,
    require_three_axes,
    three,
)
from fluoro.volume.hu_to_mu import HuToMu, LinearCurve
from fluoro.volume.value_statistics import doubts_of, water_corners

__all__ = ["VolumePreprocessor"]

log = logging.getLogger(__name__)

Vector3 = tuple[float, float, float]


class VolumePreprocessor:
    """A CT on its way to attenuation.

        volume = VolumePreprocessor.from_dicom("series/").preprocess(output_dir="cache")

    Args:
        hu_volume: CT numbers [HU], shape (z, y, x), finite.
        spacing_zyx_mm: Distance between voxel centres along z, y and x [mm], each > 0.
        origin_xyz_mm: Centre of voxel (0, 0, 0) in patient LPS [mm]; None: (0, 0, 0).
        source: What to call it.
        settings: Clipping and the way to attenuation.
        direction: 9 numbers, the rows of the matrix whose columns are the directions of the x, y
            and z index in patient LPS; None: they run along L, P and S.

    Raises:
        InputError: Another number of axes, voxels that are not finite, or a spacing, origin or
            direction that no volume can have.
    """

    def __init__(
        self,
        hu_volume: NDArray[Any],
        spacing_zyx_mm: Vector3,
        origin_xyz_mm: Vector3 | None = None,
        source: str | None = None,
        settings: PreprocessingSettings | None = None,
        *,
        direction: tuple[float, ...] | None = None,
    ) -> None:
        hu_volume = real_array(hu_volume)
        require_three_axes(hu_volume)
        z, y, x = hu_volume.shape
        self._metadata = VolumeMetadata(
            shape_zyx=(z, y, x),
            spacing_zyx_mm=three("spacing_zyx_mm", spacing_zyx_mm),
            origin_xyz_mm=None if origin_xyz_mm is None else three("origin_xyz_mm", origin_xyz_mm),
            hu_range=finite_range(hu_volume),
            source=source,
            direction=direction,
        )
        self._metadata.grid  # noqa: B018  (says what is wrong with it)
        self._hu = hu_volume
        self._settings = settings or PreprocessingSettings()

    @classmethod
    def from_dicom(
        cls,
        dicom_dir: str | Path,
        settings: PreprocessingSettings | None = None,
        *,
        series: str | None = None,
    ) -> VolumePreprocessor:
        """Return the preprocessor of a folder's series, chosen by its number or UID where needed.

        Raises:
            MissingError: There is no such folder; also a FileNotFoundError.
            InputError: A series that cannot be used.
        """
        ct = load_dicom_series_hu(dicom_dir, series=series)
        return cls._from_ct(ct, str(dicom_dir), settings)

    @classmethod
    def from_nifti(
        cls, nifti_path: str | Path, settings: PreprocessingSettings | None = None
    ) -> VolumePreprocessor:
        """Return the preprocessor of a NIfTI file.

        Raises:
            MissingError: There is no such file; also a FileNotFoundError.
            InputError: A file that cannot be used.
        """
        return cls._from_ct(load_nifti_hu(nifti_path), str(nifti_path), settings)

    @classmethod
    def from_numpy(
        cls,
        hu_volume: NDArray[Any],
        spacing_zyx_mm: Vector3 = (1.0, 1.0, 1.0),
        settings: PreprocessingSettings | None = None,
    ) -> VolumePreprocessor:
        """Return the preprocessor of CT numbers [HU], shape (z, y, x), axes along patient S, P, L.

        Raises:
            InputError: As the class.
        """
        return cls(hu_volume, spacing_zyx_mm, source="numpy", settings=settings)

    @classmethod
    def from_phantom(
        cls, spacing_mm: float = 1.4, settings: PreprocessingSettings | None = None
    ) -> VolumePreprocessor:
        """The thorax phantom (docs/phantom.md): made in code, so nothing needs to be at hand.

        Args:
            spacing_mm: Edge of its voxels, 0.5 to 10 [mm].
            settings: Clipping and the way to attenuation.

        Raises:
            InputError: A spacing outside its range.
        """
        from fluoro.volume.phantom.thorax import make_thorax

        if not isinstance(spacing_mm, numbers.Real):
            raise InputError(f"spacing_mm must be a number, 0.5 to 10, got {spacing_mm!r}")
        name = f"thorax phantom, {spacing_mm:g} mm"
        return cls._from_ct(ct_volume(make_thorax(spacing_mm)), name, settings)

    @classmethod
    def _from_ct(
        cls, ct: CtVolume, source: str, settings: PreprocessingSettings | None
    ) -> VolumePreprocessor:
        spacing = ct.spacing_zyx_mm or (1.0, 1.0, 1.0)
        return cls(
            ct.hu_zyx, spacing, ct.origin_xyz_mm, source, settings, direction=ct.direction
        )  # fmt: skip

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along z, y and x."""
        return self._metadata.shape_zyx

    @property
    def spacing_zyx_mm(self) -> Vector3:
        """Distance between voxel centres along z, y and x [mm]."""
        return self._metadata.spacing_zyx_mm

    @property
    def hu_range(self) -> tuple[float, float]:
        """Lowest and highest CT number [HU]."""
        return finite_range(self._hu)

    def preprocess(self, output_dir: str | Path | None = None) -> PreprocessedVolume:
        """Clip, map to attenuation and, where `output_dir` is given, save.

        A warning is logged where no voxel is as thin as air (such numbers are often not HU), and
        where the background is 0 HU.

        Raises:
            InputError: An energy of the settings for which there is no attenuation.
            OutputError: `output_dir` cannot be written.
        """
        hu_range = self._metadata.hu_range
        for doubt in doubts_of(hu_range[0], water_corners(self._hu)) if hu_range else []:
            log.warning("%s: %s", self._metadata.source or "hu_volume", doubt)
        to_mu = _hu_to_mu(self._settings)
        mu = np.empty(self.shape, np.float32)
        for plane, hu in zip(mu, self._hu, strict=True):
            plane[...] = to_mu(hu)
        facts = vars(self._metadata) | {
            "mu_range": finite_range(mu),
            "calibration": _calibration(self._settings),
        }
        volume = PreprocessedVolume(mu, VolumeMetadata(**facts))
        if output_dir is not None:
            volume.save(output_dir)
        return volume

    def __repr__(self) -> str:
        return (
            f"VolumePreprocessor(source={self._metadata.source!r}, shape={self.shape}, "
            f"spacing_zyx_mm={self.spacing_zyx_mm}, hu_range={self.hu_range})"
        )


def _hu_to_mu(settings: PreprocessingSettings) -> Callable[[NDArray[Any]], NDArray[np.float32]]:
    line = settings.hu_to_mu
    if isinstance(line, HuToMuCalibration):
        ends = (
            (settings.hu_clip_min, settings.hu_clip_max) if settings.clip_hu else (-np.inf, np.inf)
        )
        return lambda hu: calibrated_mu(line, np.clip(hu, *ends))
    to_mu = HuToMu(
        curve=LinearCurve(
            hu_min=line.hu_min,
            hu_max=line.hu_max,
            mu_min_per_mm=line.mu_min,
            mu_max_per_mm=line.mu_max,
        ),
        hu_clip_min=settings.hu_clip_min if settings.clip_hu else None,
        hu_clip_max=settings.hu_clip_max if settings.clip_hu else None,
    )
    return to_mu.mu


def _calibration(settings: PreprocessingSettings) -> dict[str, Any]:
    """How CT numbers became attenuation, in fluorosim's words."""
    line = settings.hu_to_mu
    if isinstance(line, HuToMuCalibration):
        return calibration_facts(line)
    return {"scheme": "legacy_minmax", **vars(line)}
