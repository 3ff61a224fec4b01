"""Where fluoro keeps things on this machine, and where it finds its own files."""

from __future__ import annotations

import os
import sys
from difflib import get_close_matches
from pathlib import Path

from fluoro import plugins
from fluoro.errors import DeviceError, InputError

__all__ = [
    "application_dir",
    "bare_name",
    "cache_dir",
    "config_path",
    "meant_name",
    "output_dir",
    "shader_dir",
    "shader_dirs",
    "shader_files",
]

SUFFIXES = (
    *(".nii.gz", ".nii", ".hdr.gz", ".hdr", ".nrrd", ".nhdr", ".mha", ".mhd", ".npy", ".raw"),
    *(".dcm", ".ima", ".png", ".jpg", ".jpeg", ".tif", ".tiff"),
)
"""Of the formats that are read."""


def cache_dir() -> Path:
    """Return folder for what can be made again: FLUORO_CACHE_DIR, or the user's cache folder."""
    named = os.environ.get("FLUORO_CACHE_DIR") or os.environ.get("FLUOROSIM_CACHE_DIR")
    if named:
        return Path(named).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "fluoro"
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "fluoro"


def output_dir() -> Path:
    """Return the parent of the run folders: FLUORO_OUTPUT_DIR, or ./output."""
    named = os.environ.get("FLUORO_OUTPUT_DIR") or os.environ.get("FLUOROSIM_OUTPUT_DIR")
    return Path(named).expanduser() if named else Path("output")


def shader_dir() -> Path:
    """Return the Slang sources: inside the installed package, or beside it in a checkout.

    Raises:
        DeviceError: They are in neither place.
    """
    package = Path(__file__).parent
    for folder in (package / "shaders", package.parent / "shaders"):
        if (folder / "rays.slang").is_file():
            return folder
    raise DeviceError(f"the Slang sources are missing: looked in {package} and {package.parent}")


def shader_dirs() -> list[Path]:
    """Return the folder of the Slang sources, those in it, and those of plugins.

    A file's name is unique among them all.

    Raises:
        DeviceError: They are missing.
    """
    root = shader_dir()
    inside = sorted(path for path in root.iterdir() if path.is_dir())
    return [root, *inside, *plugins.shader_folders()]


def shader_files(kernel: str = "") -> list[Path]:
    """Return the Slang sources that a kernel may be made of.

    Args:
        kernel: Name of its module, or its text. The sources of plugins belong to it only if it
            names one of them; empty: all of them do.

    Raises:
        DeviceError: They are missing.
        InputError: A plugin has a file of a name that is there already.
    """
    own = sorted(shader_dir().rglob("*.slang"))
    added = [path for folder in plugins.shader_folders() for path in sorted(folder.glob("*.slang"))]
    owner = {path.name: path for path in own}
    for path in added:
        if owner.setdefault(path.name, path) != path:
            raise InputError(f"{path}: another Slang source has that name: {owner[path.name]}")
    named = not kernel or any(path.stem in kernel for path in added)
    return [*own, *added] if named else own


def application_dir() -> Path:
    """Return the folder of app.py, operators/ and configs/: in the wheel, or the checkout's root.

    Raises:
        DeviceError: They are in neither place.
    """
    package = Path(__file__).parent
    for folder in (package / "application", package.parent):
        if (folder / "app.py").is_file():
            return folder
    raise DeviceError(
        f"app.py is missing: looked in {package / 'application'} and {package.parent}"
    )


def config_path(given: Path) -> Path:
    """Return the YAML file that a user names: a path, or the name of one that comes with fluoro.

    Args:
        given: A path, or a name such as `sweep`.

    Raises:
        InputError: A name without a folder and a suffix that is neither a file nor shipped.
    """
    if given.is_file() or given.suffix or len(given.parts) != 1:
        return given
    shipped = sorted((application_dir() / "configs").glob("*.yaml"))
    for path in shipped:
        if path.stem == str(given):
            return path
    if given.exists():  # a folder, which the reader of configurations says
        return given
    names = [path.stem for path in shipped]
    close = get_close_matches(str(given), names, n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    raise InputError(f"{given}: must be a YAML file or one of {', '.join(names)}{hint}")


def bare_name(path: Path) -> str:
    """Return a file's name without the suffix of its format, or a folder's name.

    Other dots belong to the name: `p01.t0.nii.gz` is p01.t0, and a DICOM file 1.2.840.10 is that.
    """
    name = path.name if path.name not in ("", "..") else path.resolve().name
    end = "" if path.is_dir() else next((e for e in SUFFIXES if name.lower().endswith(e)), "")
    return name[: len(name) - len(end)] or "root"


def meant_name(path: Path) -> str:
    """Return a hint at the file beside a missing one whose name is close to it; else nothing."""
    try:
        names = [each.name for each in path.parent.iterdir()]
    except OSError:
        return ""
    close = get_close_matches(path.name, names, n=1)
    return f"; did you mean {path.with_name(close[0])}?" if close else ""
