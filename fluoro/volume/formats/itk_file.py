"""An image file through SimpleITK: its header first, its voxels when asked; errors in one line."""

from __future__ import annotations

import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import InputError, OutputError

__all__ = ["ImageInfo", "ItkFile", "itk_version"]

META = (".mhd", ".mha")
VOXELS_WITH_PERCENT = re.compile(
    rb"^(ElementDataFile[ \t]*=[ \t]*)([^\r\n]*%[^\r\n]*?)[ \t\r]*$", re.M
)
LONGEST_HEADER = 1 << 16
"""Bytes."""


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
        self._alias = _alias(path)
        self._reader = sitk.ImageFileReader()
        self._reader.SetImageIO(image_io)
        self._reader.SetFileName(str(self._alias.path if self._alias else path.absolute()))
        try:
            self._reader.ReadImageInformation()
        except RuntimeError as error:
            raise InputError(f"{path}: cannot be read: {_telling_line(error)}") from None
        self.info = _info(self._reader)

    def read(self) -> NDArray[Any]:
        """Return the voxels, last axis first, in the file's type.

        Raises:
            InputError: SimpleITK cannot read them.
        """
        try:
            return np.asarray(_simple_itk().GetArrayFromImage(self._reader.Execute()))
        except (RuntimeError, MemoryError) as error:
            raise InputError(f"{self._path}: cannot be read: {_telling_line(error)}") from None


def _alias(path: Path) -> _Alias | None:
    """The name under which SimpleITK reads a file as it is; None: its own.

    Beside a `x.nii`, the NIfTI library takes the header from `x.nii.gz` and the voxels from
    `x.nii`. MetaIO takes a % in the name of a voxel file for a pattern of several. A path that is
    not UTF-8 ends the whole program.
    """
    if path.name.lower().endswith(".nii.gz"):
        return _Alias(path, "volume.nii.gz", path)
    found = VOXELS_WITH_PERCENT.search(_beginning(path)) if path.suffix.lower() in META else None
    voxels = path.parent / os.fsdecode(found[2]) if found else None
    if found and voxels and voxels.is_file():
        header = _beginning(path)[: found.start()] + found[1] + b"voxels\n"
        return _Alias(path, "voxels", voxels, header)
    if not _is_utf8(path.name):
        return _Alias(path, f"volume{path.suffix}", path)
    return None if _is_utf8(str(path.absolute())) else _Alias(path, "folder", path.parent)


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # the system's bytes, as Python keeps them
        return False
    return True


def _beginning(path: Path) -> bytes:
    """The part of a file that may be a header; nothing of one that cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(LONGEST_HEADER)
    except OSError:
        return b""


class _Alias:
    """Another name for a file or its folder, in a folder of its own. Gone with the object.

    Args:
        path: The file that is read.
        name: The other name.
        target: What has it: a file, or the folder of `path`.
        header: A header beside it, in the place of the file itself; None: there is none.

    Raises:
        OutputError: The folder for temporary files cannot be written.
    """

    def __init__(self, path: Path, name: str, target: Path, header: bytes | None = None) -> None:
        try:
            self._folder = tempfile.TemporaryDirectory(prefix="fluoro-")
            self.path = Path(self._folder.name) / name
            self.path.symlink_to(target.absolute())
            if target.is_dir():
                self.path /= path.name
            if header is not None:
                self.path = self.path.with_name("volume.mhd")
                self.path.write_bytes(header)
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
