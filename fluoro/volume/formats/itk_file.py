"""An image file through SimpleITK: its header first, its voxels when asked; errors in one line."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import InputError, OutputError

__all__ = ["ImageInfo", "ItkFile", "itk_version"]


def _simple_itk() -> Any:
    """SimpleITK, which has no type hints, imported when a file is opened."""
    import SimpleITK as sitk

    return sitk


def itk_version() -> str:
    """Return SimpleITK's version, such as 2.5.7."""
    return str(_simple_itk().Version().VersionString())


@dataclass(frozen=True, kw_only=True)
class ImageInfo:
    """A file's header as SimpleITK understands it, in patient LPS.

    Attributes:
        size: Voxels along each axis, x first.
        spacing_mm: Per axis.
        origin_mm: Centre of the first voxel, per axis.
        direction: Square matrix whose columns are the directions of the axes.
        components: Numbers per voxel.
        voxel_kind: SimpleITK's name of it.
        real: Whether a component is a real number.
    """

    size: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    origin_mm: tuple[float, ...]
    direction: NDArray[np.float64]
    components: int
    voxel_kind: str
    real: bool


class ItkFile:
    """One image file, opened with the reader of one format only.

    Args:
        path: The file.
        image_io: SimpleITK's name of the format's reader.

    Raises:
        InputError: SimpleITK cannot make sense of the header.
    """

    def __init__(self, path: Path, image_io: str) -> None:
        sitk = _simple_itk()
        sitk.ProcessObject.GlobalWarningDisplayOff()
        self._path = path
        self._alias = _Alias(path) if path.name.lower().endswith(".nii.gz") else None
        self._reader = sitk.ImageFileReader()
        self._reader.SetImageIO(image_io)
        self._reader.SetFileName(str(self._alias.path if self._alias else path.absolute()))
        try:
            self._reader.ReadImageInformation()
        except RuntimeError as error:
            raise InputError(f"{path}: cannot be read: {_telling_line(error)}") from None
        self.info = _info(self._reader)

    def read(self) -> NDArray[Any]:
        """The voxels, last axis first, in the file's type.

        Raises:
            InputError: SimpleITK cannot read them.
        """
        try:
            return np.asarray(_simple_itk().GetArrayFromImage(self._reader.Execute()))
        except (RuntimeError, MemoryError) as error:
            raise InputError(f"{self._path}: cannot be read: {_telling_line(error)}") from None


class _Alias:
    """Another name for a `.nii.gz` file, in a folder of its own.

    Beside a `x.nii`, the NIfTI library takes the header from `x.nii.gz` and the voxels from
    `x.nii`. Gone with the object.

    Raises:
        OutputError: The folder for temporary files cannot be written.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._folder = tempfile.TemporaryDirectory(prefix="fluoro-")
            self.path = Path(self._folder.name) / "volume.nii.gz"
            self.path.symlink_to(path.absolute())
        except OSError as error:
            raise OutputError(
                f"{path}: cannot be read: no temporary folder can be made: "
                f"{error.strerror or error} (set TMPDIR to a folder with room)"
            ) from None


def _info(reader: Any) -> ImageInfo:
    axes = reader.GetDimension()
    kind = _simple_itk().GetPixelIDValueAsString(reader.GetPixelID())
    return ImageInfo(
        size=tuple(reader.GetSize()),
        spacing_mm=tuple(reader.GetSpacing()),
        origin_mm=tuple(reader.GetOrigin()),
        direction=np.reshape(reader.GetDirection(), (axes, axes)),
        components=reader.GetNumberOfComponents(),
        voxel_kind=kind,
        real=kind.endswith(("integer", "float")) and "complex" not in kind,
    )


def _telling_line(error: Exception) -> str:
    """The most telling line of an exception of SimpleITK's, without its internals."""
    lines = [line.strip() for line in str(error).splitlines()]
    telling = [line for line in lines if line and not line.startswith("Reason:")]
    text = telling[-1] if telling else type(error).__name__
    text = re.sub(r"^(sitk::|itk::|ITK )ERROR: (\w+\(0x[0-9a-f]+\): )?", "", text)
    return re.sub(r"^\[nrrd\] \w+: ?", "", text)
