"""Load slangpy, and name what to install where one of its libraries is missing."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
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
        with _without_torch():
            return importlib.import_module("slangpy")
    except ImportError as error:
        library = str(error).partition(":")[0]
        if library in PACKAGES:
            fix = f"apt install {PACKAGES[library]}"
            raise DeviceError(f"slangpy needs the library {library}: {fix}") from None
        raise DeviceError(f"slangpy cannot be loaded: {error}") from None


@contextmanager
def _without_torch() -> Iterator[None]:
    """Hide PyTorch where it is not loaded yet.

    slangpy imports it where it is installed, for functions that take tensors; fluoro calls none of
    these. That takes ten times as long as slangpy itself.
    """
    if "slangpy" in sys.modules or "torch" in sys.modules:
        yield
        return
    sys.modules["torch"] = None  # type: ignore[assignment]  # Python's way to refuse an import
    try:
        yield
    finally:
        del sys.modules["torch"]
