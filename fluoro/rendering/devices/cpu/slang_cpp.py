"""C++ of a Slang kernel, from the C interface of the library that slangpy brings.

slangpy has no call for the text: it hands it to a compiler of its own, without optimisation, and
loads what that makes. Here that library would be made for nothing, in four times the time. The
layout of the uniforms comes from the same compilation.
"""

from __future__ import annotations

import ctypes
import json
import threading
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from fluoro.errors import DeviceError
from fluoro.rendering.devices.load_slangpy import load_slangpy
from fluoro.rendering.devices.slang_errors import first_error
from fluoro.rendering.devices.uniforms import UniformPlace

__all__ = ["KernelCpp", "kernel_cpp", "load_slang"]

OPTIONS = (
    *("-target", "cpp", "-stage", "compute", "-g0"),
    *("-loop-inversion", "-matrix-layout-row-major", "-line-directive-mode", "none"),
)


RELEASE, BUFFER_POINTER, BUFFER_SIZE = 2, 3, 4
"""Functions of Slang's blobs, by their places in the table that a blob begins with (slang.h)."""

SCALARS = {"float32": "f", "int32": "i"}

_ONE_AT_A_TIME = threading.Lock()
"""Held while Slang translates: a session serves one thread at a time."""


class KernelCpp(NamedTuple):
    """What Slang makes of an entry point.

    Attributes:
        text: The C++.
        places: The uniforms by the names that callers use.
        group_size: Threads of a group along columns, rows and layers.
    """

    text: str
    places: dict[str, UniformPlace]
    group_size: tuple[int, int, int]


def load_slang() -> None:
    """Load the Slang compiler now, which takes a third of a second, and not with the first kernel.

    Raises:
        DeviceError: Slang cannot be loaded.
    """
    with _ONE_AT_A_TIME:
        _slang()


def kernel_cpp(
    source: Path, entry: str, folders: Iterable[Path], defines: Mapping[str, str]
) -> KernelCpp:
    """Return the C++ of an entry point, for one thread, and where its uniforms lie.

    Args:
        source: The Slang file.
        entry: Name of the compute entry point.
        folders: Where imported modules are looked for.
        defines: Macros and their values.

    Raises:
        DeviceError: Slang cannot be loaded, or refuses the file; the message is its first error.
    """
    words = [*OPTIONS, *(word for folder in folders for word in ("-I", str(folder)))]
    words += [*(f"-D{name}={value}" for name, value in defines.items()), str(source)]
    words += ["-entry", entry]
    with _ONE_AT_A_TIME:
        text, layout = _compiled(words)
    places = (place for each in layout["parameters"] for place in _leaves(each, (), 0))
    columns, rows, layers = layout["entryPoints"][0]["threadGroupSize"]
    return KernelCpp(text, {place.name: place for place in places}, (columns, rows, layers))


def _compiled(words: list[str]) -> tuple[str, Any]:
    """The C++ of the one entry point of a command line, and what its parameters are."""
    slang, session = _slang()
    request = slang.spCreateCompileRequest(session)
    try:
        arguments = (ctypes.c_char_p * len(words))(*(word.encode() for word in words))
        failed = slang.spProcessCommandLineArguments(request, arguments, len(words))
        if failed or slang.spCompile(request):
            raise DeviceError(first_error(slang.spGetDiagnosticOutput(request).decode()))
        return slang.spGetEntryPointSource(request, 0).decode(), _reflected(slang, request)
    finally:
        slang.spDestroyCompileRequest(request)


def _reflected(slang: Any, request: int) -> Any:
    """What Slang says of the parameters of a compiled program."""
    blob = ctypes.c_void_p()
    # the option -reflection-json does this too, and crashes where the compilation has failed
    slang.spReflection_ToJson(slang.spGetReflection(request), request, ctypes.byref(blob))
    size = _call(blob, BUFFER_SIZE, ctypes.c_size_t)
    text = ctypes.string_at(_call(blob, BUFFER_POINTER, ctypes.c_void_p), size)
    _call(blob, RELEASE, ctypes.c_uint32)
    return json.loads(text)


def _call(blob: ctypes.c_void_p, number: int, result: Any) -> Any:
    """Call a function of a blob's table that takes nothing."""
    table = ctypes.cast(blob, ctypes.POINTER(ctypes.POINTER(ctypes.c_void_p)))[0]
    return ctypes.CFUNCTYPE(result, ctypes.c_void_p)(table[number] or 0)(blob)


def _leaves(variable: Any, outer: tuple[str, ...], start: int) -> Iterator[UniformPlace]:
    """The variable, or what it consists of where it is a struct."""
    path, kind = (*outer, variable["name"]), variable["type"]
    offset = start + variable["binding"]["offset"]
    if kind["kind"] == "struct":
        for member in kind["fields"]:
            yield from _leaves(member, path, offset)
    else:
        yield UniformPlace(path=path, offset=offset, code=_code(kind))


def _code(kind: Any) -> str:
    """Of `struct`, of a value of this type.

    Raises:
        TypeError: No kernel has had such a uniform so far.
    """
    if kind["kind"] == "pointer":
        return "Q"
    count = {"scalar": "", "vector": "3"}.get(kind["kind"])
    scalar = kind.get("elementType", kind).get("scalarType")
    if count is None or scalar not in SCALARS or kind.get("elementCount", 3) != 3:
        raise TypeError(f"uniform of type {kind}: only float, int, float3, int3, pointers")
    return count + SCALARS[scalar]


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
        ("spGetReflection", ctypes.c_void_p, [ctypes.c_void_p]),
        ("spReflection_ToJson", ctypes.c_int, [ctypes.c_void_p] * 3),
        ("spGetDiagnosticOutput", ctypes.c_char_p, [ctypes.c_void_p]),
        ("spGetEntryPointSource", ctypes.c_char_p, [ctypes.c_void_p, ctypes.c_int]),
    ):
        function = getattr(slang, name)
        function.restype, function.argtypes = result, parameters
    return slang, slang.spCreateSession(None)
