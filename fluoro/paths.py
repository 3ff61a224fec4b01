"""Where fluoro keeps things on this machine, and where it finds its own shaders."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from fluoro.errors import DeviceError

__all__ = ["cache_dir", "output_dir", "shader_dir"]


def cache_dir() -> Path:
    """Folder for what can be made again: FLUORO_CACHE_DIR, or the user's cache folder."""
    named = os.environ.get("FLUORO_CACHE_DIR") or os.environ.get("FLUOROSIM_CACHE_DIR")
    if named:
        return Path(named).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "fluoro"
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "fluoro"


def output_dir() -> Path:
    """Parent of the run folders: FLUORO_OUTPUT_DIR, or ./output."""
    named = os.environ.get("FLUORO_OUTPUT_DIR") or os.environ.get("FLUOROSIM_OUTPUT_DIR")
    return Path(named).expanduser() if named else Path("output")


def shader_dir() -> Path:
    """The Slang sources: inside the installed package, or beside it in a checkout.

    Raises:
        DeviceError: They are in neither place.
    """
    package = Path(__file__).parent
    for folder in (package / "shaders", package.parent / "shaders"):
        if (folder / "drr.slang").is_file():
            return folder
    raise DeviceError(f"the Slang sources are missing: looked in {package} and {package.parent}")
