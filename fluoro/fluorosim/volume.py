"""Attenuation that is ready to render, with fluorosim's names and files.

A folder holds `mu_volume.npy` and `metadata.json`, as fluorosim's does, and `volume.json`, with
which `app.py run --ct FOLDER` checks it.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fluoro.errors import InputError, OutputError
from fluoro.fluorosim.missing import MissingError
from fluoro.volume.grid import IDENTITY_DIRECTION, VolumeGrid
from fluoro.volume.store.preprocessed_folder import (
    METADATA_NAME,
    is_ready,
    open_preprocessed,
    preprocessed_planes,
)
from fluoro.volume.store.volume_folder import FACTS_NAME, VOXELS_NAME, write_volume_folder
from fluoro.volume.value_statistics import ValueStatistics
from fluoro.volume.volumes import MuVolume

__all__ = [
    "PreprocessedVolume",
    "VolumeMetadata",
    "finite_range",
    "real_array",
    "require_three_axes",
    "three",
]

Vector3 = tuple[float, float, float]
Range = tuple[float, float]


@dataclass
class VolumeMetadata:
    """What is known of a volume of attenuation.

    Attributes:
        shape_zyx: Voxels along z, y and x.
        spacing_zyx_mm: Distance between voxel centres along z, y and x [mm].
        origin_xyz_mm: Centre of voxel (0, 0, 0) in patient LPS [mm]; None: (0, 0, 0).
        hu_range: Lowest and highest CT number before clipping [HU]; None: not known.
        mu_range: Lowest and highest attenuation [1/mm]; None: not known.
        source: What it was made from.
        calibration: How CT numbers became attenuation; None: not known.
        direction: 9 numbers, the rows of the matrix whose columns are the directions of the x, y
            and z index in patient LPS; None: they run along L, P and S.
    """

    shape_zyx: tuple[int, int, int]
    spacing_zyx_mm: Vector3
    origin_xyz_mm: Vector3 | None = None
    hu_range: Range | None = None
    mu_range: Range | None = None
    source: str | None = None
    calibration: dict[str, Any] | None = None
    direction: tuple[float, ...] | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it: lists for tuples."""
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in vars(self).items()
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> VolumeMetadata:
        """Return what `to_dict` has described; unknown keys are ignored.

        Raises:
            InputError: `shape_zyx` or `spacing_zyx_mm` is missing.
        """
        known: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in values.items()
            if key in cls.__dataclass_fields__
        }
        try:
            return cls(**known)
        except TypeError:
            raise InputError("metadata must have shape_zyx and spacing_zyx_mm") from None

    @property
    def grid(self) -> VolumeGrid:
        """Where the voxels lie in the patient.

        Raises:
            InputError: Numbers that no volume can have.
        """
        z, y, x = self.spacing_zyx_mm
        return VolumeGrid(
            shape_zyx=self.shape_zyx,
            spacing_xyz_mm=(x, y, z),
            origin_xyz_mm=self.origin_xyz_mm or (0.0, 0.0, 0.0),
            direction=_rows(self.direction),
        )


def _rows(direction: tuple[float, ...] | None) -> tuple[Vector3, Vector3, Vector3]:
    if direction is None:
        return IDENTITY_DIRECTION
    if len(direction) != 9:
        raise InputError(f"direction must be 9 numbers, got {direction}")
    a, b, c, d, e, f, g, h, i = direction
    return (a, b, c), (d, e, f), (g, h, i)


NEGATIVE_PER_MM = -1e-6
"""Attenuation [1/mm] below which it is no rounding error."""


def real_array(values: ArrayLike) -> NDArray[Any]:
    """Return real numbers as an array of their shape; an array as it is.

    Raises:
        InputError: Text, objects, complex numbers, or rows of different lengths.
    """
    try:
        array = np.asarray(values)
    except ValueError:
        raise InputError("a volume must be an array of numbers, its rows of one length") from None
    if array.dtype.kind not in "biuf":
        raise InputError(f"a volume must be real numbers, got {array.dtype}")
    return array


def require_three_axes(volume: NDArray[Any]) -> None:
    """Check that an array has a volume's three axes.

    Raises:
        InputError: It has not; the message names its shape.
    """
    if volume.ndim != 3:
        raise InputError(f"Expected 3D volume, got shape {volume.shape}")


def finite_range(volume: NDArray[Any]) -> Range:
    """Return lowest and highest value of an array of any shape.

    Raises:
        InputError: Some are not finite, or there are none.
    """
    if volume.size == 0:
        raise InputError(f"a volume must have voxels, got shape {volume.shape}")
    low, high = float(volume.min()), float(volume.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        bad = volume.size - int(np.isfinite(volume).sum())
        raise InputError(f"{bad} of {volume.size} voxels are not finite (NaN or infinite)")
    return low, high


def three(name: str, values: ArrayLike) -> Vector3:
    """Three numbers, of whatever holds shape (3,).

    Raises:
        InputError: Others; the message names them.
    """
    try:
        a, b, c = (float(value) for value in np.asarray(values, float))
    except (TypeError, ValueError):
        got = " ".join(repr(values).split())
        raise InputError(f"{name} must be 3 numbers, got {got}") from None
    return a, b, c


class PreprocessedVolume:
    """Linear attenuation on a grid, ready to render.

    Args:
        mu_volume: Linear attenuation [1/mm], shape (z, y, x); held as C-ordered float32.
        metadata: Where the voxels lie, and what is known of them.

    Raises:
        InputError: Another number of axes, another shape than the metadata's, or voxels that are
            not finite or negative.
        TypeError: Metadata of another type.
    """

    def __init__(self, mu_volume: NDArray[Any], metadata: VolumeMetadata) -> None:
        mu_volume = real_array(mu_volume)
        require_three_axes(mu_volume)
        if not isinstance(metadata, VolumeMetadata):
            raise TypeError(f"metadata must be a VolumeMetadata, got {type(metadata).__name__}")
        if tuple(metadata.shape_zyx) != mu_volume.shape:
            raise InputError(
                f"metadata.shape_zyx must be the volume's {mu_volume.shape}, "
                f"got {tuple(metadata.shape_zyx)}"
            )
        mu_zyx = np.ascontiguousarray(mu_volume, np.float32)
        lowest, _ = finite_range(mu_zyx)
        if lowest < NEGATIVE_PER_MM:
            raise InputError(f"attenuation must be at least 0 /mm, got {lowest:g}: is it HU?")
        self._metadata = metadata
        self._mu = MuVolume(mu_zyx=mu_zyx, grid=metadata.grid, source=metadata.source or "")

    @property
    def mu_volume(self) -> NDArray[np.float32]:
        """Linear attenuation [1/mm], shape (z, y, x); from a folder it is mapped, read-only."""
        return self._mu.mu_zyx

    @property
    def metadata(self) -> VolumeMetadata:
        """Where the voxels lie, and what is known of them."""
        return self._metadata

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along z, y and x."""
        return self._mu.grid.shape_zyx

    @property
    def spacing_zyx_mm(self) -> Vector3:
        """Distance between voxel centres along z, y and x [mm]."""
        x, y, z = self._mu.grid.spacing_xyz_mm
        return z, y, x

    @property
    def spacing_xyz_mm(self) -> Vector3:
        """Distance between voxel centres along x, y and z [mm]."""
        return self._mu.grid.spacing_xyz_mm

    @property
    def mu(self) -> MuVolume:
        """The same volume as fluoro's renderer takes it; nothing is copied."""
        return self._mu

    def save(self, output_dir: str | Path) -> Path:
        """Write the folder's three files, over earlier ones; other files there stay.

        Returns:
            The folder.

        Raises:
            OutputError: It cannot be written.
        """
        folder = Path(output_dir)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".new-", dir=folder) as stage:
                self._fill(Path(stage))
                for name in (METADATA_NAME, FACTS_NAME):
                    with suppress(FileNotFoundError):
                        (folder / name).unlink()  # what describes another volume goes first
                for name in (VOXELS_NAME, METADATA_NAME, FACTS_NAME):
                    (Path(stage) / name).replace(folder / name)
        except OSError as error:
            if isinstance(error, OutputError):
                raise
            reason = error.strerror or error
            raise OutputError(f"{folder}: cannot be written: {reason}") from None
        return folder

    def _fill(self, folder: Path) -> None:
        metadata = self._metadata
        write_volume_folder(
            folder,
            key={"kind": "few-line API"},
            grid=self._mu.grid,
            source=metadata.source or "",
            planes=self._mu.mu_zyx,
            statistics=lambda: ValueStatistics(
                hu_range=metadata.hu_range, mu_range=metadata.mu_range or self._mu_range()
            ),
        )
        text = json.dumps(metadata.to_dict(), indent=2)
        (folder / METADATA_NAME).write_text(text + "\n", encoding="utf-8")

    def _mu_range(self) -> Range:
        return float(self._mu.mu_zyx.min()), float(self._mu.mu_zyx.max())

    @classmethod
    def load(cls, input_dir: str | Path) -> PreprocessedVolume:
        """Return the volume of a folder: of `save`, of `app.py preprocess` or of fluorosim; mapped.

        Raises:
            MissingError: A file is not there; also a FileNotFoundError.
            InputError: The folder is damaged.
        """
        folder = Path(input_dir)
        _require_files(folder)
        if is_ready(folder):
            volume = open_preprocessed(folder)
            return cls.from_mu(volume, **_recorded(folder))
        planes, statistics = preprocessed_planes(folder)
        mu_zyx = np.stack([*planes.read(0, planes.grid.shape_zyx[0])]).astype(np.float32)
        volume = MuVolume(
            mu_zyx=mu_zyx, grid=planes.grid, source=planes.source, statistics=statistics
        )
        return cls.from_mu(volume, **_recorded(folder))

    @classmethod
    def from_mu(
        cls,
        volume: MuVolume,
        *,
        source: str | None = None,
        calibration: dict[str, Any] | None = None,
    ) -> PreprocessedVolume:
        """Return what fluoro's own readers give, without a copy."""
        grid, statistics = volume.grid, volume.statistics
        x, y, z = grid.spacing_xyz_mm
        metadata = VolumeMetadata(
            shape_zyx=grid.shape_zyx,
            spacing_zyx_mm=(z, y, x),
            origin_xyz_mm=grid.origin_xyz_mm,
            hu_range=statistics.hu_range if statistics else None,
            mu_range=statistics.mu_range if statistics else None,
            source=source or volume.source,
            calibration=calibration,
            direction=tuple(value for row in grid.direction for value in row),
        )
        made = cls.__new__(cls)  # the readers have checked the voxels; a mapped file stays unread
        made._metadata, made._mu = metadata, volume
        return made

    def __repr__(self) -> str:
        return (
            f"PreprocessedVolume(shape={self.shape}, spacing_zyx_mm={self.spacing_zyx_mm}, "
            f"source={self._metadata.source!r})"
        )


def _require_files(folder: Path) -> None:
    if not (folder / VOXELS_NAME).is_file():
        raise MissingError(f"{folder / VOXELS_NAME}: there is no such file")
    if not any((folder / name).is_file() for name in (METADATA_NAME, FACTS_NAME)):
        raise MissingError(f"{folder / METADATA_NAME}: there is no such file")


def _recorded(folder: Path) -> dict[str, Any]:
    """What the folder's metadata says of the source and the calibration."""
    with suppress(OSError, ValueError, AttributeError):
        facts = json.loads((folder / METADATA_NAME).read_text(encoding="utf-8"))
        source, calibration = facts.get("source"), facts.get("calibration")
        return {
            "source": None if source is None else str(source),
            "calibration": calibration if isinstance(calibration, dict) else None,
        }
    return {}
