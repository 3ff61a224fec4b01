"""What several tests need: system programs that may be missing on a machine."""

import gc
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest

REQUIRE_PROGRAMS = "FLUORO_REQUIRE_SYSTEM_PROGRAMS"
"""Environment variable; at 1 (continuous integration) a missing program fails the test."""
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
"""Names under which distributions install the browser."""
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-unsafe-swiftshader",  # WebGL without a GPU
]


def cycles() -> Counter[str]:
    """Objects, by type, that only a search for reference cycles releases; they are released."""
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        gc.collect()
        return Counter(type(each).__qualname__ for each in gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()


@contextmanager
def without_cycles() -> Iterator[None]:
    """Fail where what is done meanwhile leaves objects that keep each other alive.

    Python looks for those only now and then: large images would pile up till then, and each new one
    would take fresh memory, whose pages the system clears.
    """
    gc.collect()
    gc.disable()
    try:
        yield
        left = cycles()
        assert not left, left
    finally:
        gc.enable()


def require_program(*names: str, package: str | None = None) -> str:
    """Path of the first of `names` on PATH; else the test skips, naming it, or fails in CI.

    Args:
        names: Of the program.
        package: Debian's package that has it; None: named like the program.
    """
    for name in names:
        if path := shutil.which(name):
            return path
    apt = package or names[0]
    _lacks(f"needs the program {names[0]}, which is not on PATH: apt install {apt}")


def require_library(header: str, package: str) -> None:
    """Skip, or fail in CI, where a C++ library's header is not below /usr/include."""
    if not Path("/usr/include", header).is_file():
        _lacks(f"needs {header}: apt install {package}")


def require_npm(project: Path, file: str) -> Path:
    """Path of a package's file; else the test skips, naming the command, or fails in CI.

    Args:
        project: Folder of a package.json.
        file: Path of the file below `node_modules`.
    """
    found = project / "node_modules" / file
    if not found.is_file():
        _lacks(f"needs {file}: npm ci --prefix {project}")
    return found


def _lacks(reason: str) -> NoReturn:
    if os.environ.get(REQUIRE_PROGRAMS) == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def require_vulkan() -> None:
    """Skip, or fail in CI, where Vulkan has no software adapter new enough for Slang."""
    from fluoro.errors import DeviceError
    from fluoro.rendering.devices.selection import choose_device

    try:
        choose_device("llvmpipe")
    except DeviceError as error:
        _lacks(str(error))
