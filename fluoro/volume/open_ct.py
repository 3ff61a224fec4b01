"""The one way to open a CT, of any format: it is read right, or refused."""

from __future__ import annotations

import logging
import stat
from pathlib import Path

from fluoro import plugins
from fluoro.config import ReadOptions
from fluoro.errors import InputError
from fluoro.paths import meant_name
from fluoro.volume.ct import Ct, CtFormat
from fluoro.volume.formats import array, metaimage, nifti, nrrd
from fluoro.volume.formats.dicom import dicom_ct

__all__ = ["FORMATS", "open_ct"]

log = logging.getLogger(__name__)

BUILT_IN: tuple[CtFormat, ...] = (
    nifti.NIFTI,
    nrrd.NRRD,
    metaimage.METAIMAGE,
    array.NUMPY,
    array.RAW,
    dicom_ct.DICOM,
)
"""Fluoro's own formats: a new one is a module and a line here."""


def _with_plugins() -> tuple[CtFormat, ...]:
    """Return all formats; those of plugins first, since DICOM takes any folder."""
    added = plugins.find("ct_formats", lambda found: isinstance(found, CtFormat), "a CtFormat")
    own = {suffix: form.name for form in BUILT_IN for suffix in form.suffixes}
    for name, form in added.items():
        for suffix in form.suffixes:
            if suffix in own:
                raise plugins.error("ct_formats", name, f"{own[suffix]} has the suffix {suffix}")
    return (*added.values(), *BUILT_IN)


FORMATS: tuple[CtFormat, ...] = _with_plugins()
"""Every format that is read."""
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".7z", ".rar")
DEFAULTS = ReadOptions()


def open_ct(path: Path | str, options: ReadOptions = DEFAULTS) -> Ct:
    """Read the headers of a CT, once; log what is done beyond reading, or assumed.

    Args:
        path: A folder or file of DICOM, or a file of another format.
        options: Choices where a file leaves one, such as the section `volume`.

    Raises:
        InputError: A file that is missing, empty, unreadable or damaged according to its header, or
            an option without effect on it.
    """
    path = Path(path)
    form = _format(path)
    without_effect = sorted(options.given().keys() - form.options)
    if without_effect:
        raise InputError(
            f"volume.{without_effect[0]}: has no effect on {path}, which is {form.name}"
        )
    try:
        ct = form.open(path, options)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    for part in ct.files:
        if part != path and not path.is_dir():
            _require_file(part)
    for remark in ct.remarks:
        log.warning("%s", remark)
    return ct


def _format(path: Path) -> CtFormat:
    if not path.is_dir():
        _require_file(path)
    for form in FORMATS:
        if form.recognises(path):
            return form
    if path.name.lower().endswith(ARCHIVES):
        raise InputError(
            f"{path}: is an archive, which is not read; unpack it and give the folder or file in it"
        )
    known = ", ".join(suffix for form in FORMATS for suffix in form.suffixes)
    raise InputError(f"{path}: a CT must be a DICOM folder or file, or end in {known}")


def _require_file(path: Path) -> None:
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise InputError(f"{path}: is a folder, give a CT file")
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{path}: is not a regular file")
        with path.open("rb"):
            pass
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file{meant_name(path)}") from None
    except InputError:
        raise
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read: {_reason(error)}") from None
    if status.st_size == 0:
        raise InputError(f"{path}: is empty (0 bytes)")


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
