"""Load slangpy, and name what to install where one of its libraries is missing."""

from __future__ import annotations

import importlib
from types import ModuleType

from fluoro.errors import DeviceError

__all__ = ["load_slangpy"]

PACKAGES = {
    "libX11.so.6": "libx11-6 (Fedora: libX11)",
    "libatomic.so.1": "libatomic1 (Fedora: libatomic)",
}
"""Debian's package by library, of those that slangpy's wheel loads and does not bring."""


def load_slangpy() -> ModuleType:
    """Return the module `slangpy`.

    Raises:
        DeviceError: slangpy, or a system library that it loads, is not installed.
    """
    try:
        return importlib.import_module("slangpy")
    except ImportError as error:
        library = str(error).partition(":")[0]
        if library in PACKAGES:
            fix = f"apt install {PACKAGES[library]}"
            raise DeviceError(f"slangpy needs the library {library}: {fix}") from None
        raise DeviceError(f"slangpy cannot be loaded: {error}") from None
