"""C++ of a Slang kernel, from the C interface of the library that slangpy brings.

slangpy has no call for the text: it hands it to a compiler of its own, without optimisation, and
loads what that makes. Here that library would be made for nothing, in four times the time.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from fluoro.errors import DeviceError
from fluoro.rendering.devices.load_slangpy import load_slangpy

__all__ = ["kernel_cpp"]

OPTIONS = (
    *("-target", "cpp", "-stage", "compute", "-g0"),
    *("-loop-inversion", "-matrix-layout-row-major", "-line-directive-mode", "none"),
)


def kernel_cpp(
    source: Path, entry: str, folders: Iterable[Path], defines: Mapping[str, str]
) -> str:
    """Return the C++ of an entry point; for one thread at a time.

    Args:
        source: The Slang file.
        entry: Name of the compute entry point.
        folders: Where imported modules are looked for.
        defines: Macros and their values.

    Raises:
        DeviceError: Slang cannot be loaded, or refuses the file; the message is its first error.
    """
    slang, session = _slang()
    request = slang.spCreateCompileRequest(session)
    try:
        words = [*OPTIONS, *(word for folder in folders for word in ("-I", str(folder)))]
        words += [*(f"-D{name}={value}" for name, value in defines.items()), str(source)]
        words += ["-entry", entry]
        arguments = (ctypes.c_char_p * len(words))(*(word.encode() for word in words))
        failed = slang.spProcessCommandLineArguments(request, arguments, len(words))
        if failed or slang.spCompile(request):
            raise DeviceError(_first_error(slang.spGetDiagnosticOutput(request).decode()))
        return str(slang.spGetEntryPointSource(request, 0).decode())
    finally:
        slang.spDestroyCompileRequest(request)


def _first_error(output: str) -> str:
    return next((line for line in output.splitlines() if "error" in line), output)


@cache
def _slang() -> tuple[Any, ctypes.c_void_p]:
    """The library, and a session; it takes a third of a second to make."""
    spy: Any = load_slangpy()
    folder = Path(spy.__file__).parent
    library = next(folder.glob("libslang-compiler*"), None)
    if library is None:
        raise DeviceError(f"{folder} has no libslang-compiler: reinstall slangpy")
    slang = ctypes.CDLL(str(library))
    for name, result, parameters in (
        ("spCreateSession", ctypes.c_void_p, [ctypes.c_char_p]),
        ("spCreateCompileRequest", ctypes.c_void_p, [ctypes.c_void_p]),
        ("spDestroyCompileRequest", None, [ctypes.c_void_p]),
        (
            "spProcessCommandLineArguments",
            ctypes.c_int,
            [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int],
        ),
        ("spCompile", ctypes.c_int, [ctypes.c_void_p]),
        ("spGetDiagnosticOutput", ctypes.c_char_p, [ctypes.c_void_p]),
        ("spGetEntryPointSource", ctypes.c_char_p, [ctypes.c_void_p, ctypes.c_int]),
    ):
        function = getattr(slang, name)
        function.restype, function.argtypes = result, parameters
    return slang, slang.spCreateSession(None)
