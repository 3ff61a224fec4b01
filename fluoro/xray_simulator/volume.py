"""Attenuation ready to render, and the frame that its axes are known to have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.fluorosim.ct.dicom_ingest import CtVolume, load_dicom_series_hu, load_nifti_hu
from fluoro.fluorosim.volume import PreprocessedVolume as FluorosimVolume
from fluoro.fluorosim.volume import VolumeMetadata as FluorosimMetadata
from fluoro.fluorosim.volume import finite_range, require_three_axes, three
from fluoro.volume.volumes import MuVolume
from fluoro.xray_simulator.config import PreprocessingSettings
from fluoro.xray_simulator.geometry import CANONICAL_FRAME, Vector3
from fluoro.xray_simulator.hu_mapping import HuToMuMapping, hu_to_mu

__all__ = ["PreprocessedVolume", "VolumeMetadata", "VolumePreprocessor"]


@dataclass
class VolumeMetadata(FluorosimMetadata):
    """What is known of a volume; fluorosim's, and how its axes lie.

    Attributes:
        hu_to_mu: The mapping that CT numbers became attenuation by; None: not known.
        anatomical_frame: "LPS" where x, y and z are known to be the patient's left, back and head;
            None: not known.
        source_orientation: Orientation of the file, whose coordinates fluoro makes LPS.
    """

    hu_to_mu: dict[str, Any] | None = None
    anatomical_frame: str | None = None
    source_orientation: str | None = None


class PreprocessedVolume(FluorosimVolume):
    """Linear attenuation on a grid, as fluorosim's, with this module's metadata."""

    @classmethod
    def load(cls, input_dir: str | Path) -> PreprocessedVolume:
        """The volume of a folder that `save` has written, or fluorosim, or `app.py preprocess`.

        Raises:
            MissingError: A file is not there; also a FileNotFoundError.
            InputError: The folder is damaged.
        """
        loaded = FluorosimVolume.load(input_dir)
        known = _saved_facts(Path(input_dir))
        return cls._of(loaded.mu, VolumeMetadata(**(vars(loaded.metadata) | known)))

    @classmethod
    def _of(cls, volume: MuVolume, metadata: VolumeMetadata) -> PreprocessedVolume:
        made = cls.__new__(cls)
        made._metadata, made._mu = metadata, volume
        return made


def _saved_facts(folder: Path) -> dict[str, Any]:
    import json

    try:
        facts = json.loads((folder / "metadata.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    names = ("hu_to_mu", "anatomical_frame", "source_orientation")
    return {name: facts.get(name) for name in names} if isinstance(facts, Mapping) else {}


class VolumePreprocessor:
    """A CT on its way to attenuation.

    Args:
        hu_volume: CT numbers [HU], shape (z, y, x), finite.
        spacing_zyx_mm: Distance between voxel centres along z, y and x [mm].
        origin_xyz_mm: Centre of voxel (0, 0, 0), patient LPS [mm]; None: (0, 0, 0).
        source: What to call it.
        settings: Clipping and the way to attenuation.
        anatomical_frame: "LPS" where the axes are the patient's; None: not known.
        direction: 9 numbers, rows of the matrix of the index axes; None: LPS.

    Raises:
        InputError: Voxels or a grid that no volume can have; also a ValueError.
    """

    def __init__(
        self,
        hu_volume: NDArray[Any],
        spacing_zyx_mm: Vector3,
        origin_xyz_mm: Vector3 | None = None,
        source: str | None = None,
        settings: PreprocessingSettings | None = None,
        anatomical_frame: str | None = None,
        *,
        direction: tuple[float, ...] | None = None,
    ) -> None:
        self._hu = np.asarray(hu_volume)
        require_three_axes(self._hu)
        z, y, x = self._hu.shape
        self._settings = settings or PreprocessingSettings()
        self._metadata = VolumeMetadata(
            shape_zyx=(z, y, x),
            spacing_zyx_mm=three("spacing_zyx_mm", spacing_zyx_mm),
            origin_xyz_mm=None if origin_xyz_mm is None else three("origin_xyz_mm", origin_xyz_mm),
            hu_range=finite_range(self._hu),
            source=source,
            direction=direction,
            anatomical_frame=anatomical_frame,
        )
        self._metadata.grid  # noqa: B018  (says what is wrong with it)

    @classmethod
    def from_dicom(
        cls,
        dicom_dir: str | Path,
        settings: PreprocessingSettings | None = None,
        anatomical_frame: str | None = CANONICAL_FRAME,
        *,
        series: str | None = None,
    ) -> VolumePreprocessor:
        """Return the preprocessor of the series in a folder, whose coordinates are LPS."""
        ct = load_dicom_series_hu(dicom_dir, series=series)
        return cls._from_ct(ct, str(dicom_dir), settings, anatomical_frame)

    @classmethod
    def from_nifti(
        cls,
        nifti_path: str | Path,
        settings: PreprocessingSettings | None = None,
        anatomical_frame: str | None = CANONICAL_FRAME,
    ) -> VolumePreprocessor:
        """Return the preprocessor of a NIfTI file, its coordinates converted to LPS."""
        return cls._from_ct(load_nifti_hu(nifti_path), str(nifti_path), settings, anatomical_frame)

    @classmethod
    def from_numpy(
        cls,
        hu_volume: NDArray[Any],
        spacing_zyx_mm: Vector3 = (1.0, 1.0, 1.0),
        settings: PreprocessingSettings | None = None,
        anatomical_frame: str | None = None,
    ) -> VolumePreprocessor:
        """Return the preprocessor of CT numbers in memory [HU], shape (z, y, x)."""
        return cls(hu_volume, spacing_zyx_mm, None, "numpy", settings, anatomical_frame)

    @classmethod
    def _from_ct(
        cls,
        ct: CtVolume,
        source: str,
        settings: PreprocessingSettings | None,
        anatomical_frame: str | None,
    ) -> VolumePreprocessor:
        return cls(
            ct.hu_zyx,
            ct.spacing_zyx_mm or (1.0, 1.0, 1.0),
            ct.origin_xyz_mm,
            source,
            settings,
            anatomical_frame,
            direction=ct.direction,
        )

    @property
    def settings(self) -> PreprocessingSettings:
        """Clipping and the way to attenuation."""
        return self._settings

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

    def with_hu_to_mu(self, mapping: HuToMuMapping) -> VolumePreprocessor:
        """Return the same CT with another mapping to attenuation."""
        from dataclasses import replace

        known = self._metadata
        return VolumePreprocessor(
            self._hu,
            known.spacing_zyx_mm,
            known.origin_xyz_mm,
            known.source,
            replace(self._settings, hu_to_mu=mapping),
            known.anatomical_frame,
            direction=known.direction,
        )

    def preprocess(self, output_dir: str | Path | None = None) -> PreprocessedVolume:
        """Clip, map to attenuation and, where `output_dir` is given, save.

        Raises:
            OutputError: `output_dir` cannot be written.
        """
        settings = self._settings
        mu = np.empty(self.shape, np.float32)
        for plane, hu in zip(mu, self._hu, strict=True):
            kept = np.clip(hu, settings.hu_clip_min, settings.hu_clip_max)
            plane[...] = hu_to_mu(kept if settings.clip_hu else hu, settings.hu_to_mu)
        facts = {"mu_range": finite_range(mu), "hu_to_mu": settings.hu_to_mu.to_dict()}
        volume = PreprocessedVolume(mu, VolumeMetadata(**(vars(self._metadata) | facts)))
        if output_dir is not None:
            volume.save(output_dir)
        return volume
