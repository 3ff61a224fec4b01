"""NVRTC, CUDA's runtime compiler, put where slangpy, Slang and CuPy each look for it.

The driver brings neither NVRTC nor CUDA's headers. slangpy wants them in a folder like a CUDA
Toolkit's, which CUDA_PATH names; Slang opens a library called libnvrtc.so. The wheels of
requirements.txt, like every distribution's packages, call it libnvrtc.so.12 or .13.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from fluoro.errors import DeviceError, OutputError
from fluoro.paths import cache_dir

__all__ = ["Nvrtc", "find_nvrtc", "headers_of", "kept_locale", "serve_nvrtc"]

ALIAS = "libnvrtc.so"
"""The name by which slangpy and Slang open NVRTC."""

HEADER = "cuda_runtime.h"
FIX = "pip install -r requirements.txt (requirements/cu13.txt for CUDA 13) brings one that fits"


@dataclass(frozen=True, kw_only=True)
class Nvrtc:
    """One NVRTC on this machine.

    Attributes:
        library: Its file.
        version: As it reports it, e.g. (12, 0); its kernels run on drivers of this version
            and newer ones.
        include: Folder with CUDA's headers.
    """

    library: Path
    version: tuple[int, int]
    include: Path


def find_nvrtc(driver_version: tuple[int, int]) -> Nvrtc:
    """Return the first NVRTC whose kernels the driver takes.

    The order is: the one that CUDA_PATH names, those of wheels, those of installed toolkits.

    Args:
        driver_version: The newest CUDA that the driver supports.

    Raises:
        DeviceError: There is none; the message says what was found and names the fix.
    """
    said = []
    for library, include in _places():
        version = _version(library)
        if isinstance(version, str):
            said.append(f"{library} {version}")
        elif version > driver_version:
            said.append(
                f"{library} is of CUDA {_shown(version)}, the driver supports up to "
                f"{_shown(driver_version)}: update the driver"
            )
        elif include is None:
            said.append(f"{library} has no {HEADER} beside it")
        else:
            return Nvrtc(library=library, version=version, include=include)
    found = "; ".join(said) or "there is none"
    raise DeviceError(f"NVRTC, CUDA's runtime compiler, is missing ({found}): {FIX}")


@contextmanager
def serve_nvrtc(nvrtc: Nvrtc) -> Iterator[None]:
    """Let slangpy find this NVRTC while a device is made, and Slang from then on.

    A folder in the cache has a library with the name that they look for, which does nothing but
    load NVRTC. It stays loaded, so that Slang's own search ends with it; slangpy finds it by
    CUDA_PATH, which has its former value afterwards.

    Raises:
        DeviceError: It does not load.
        OutputError: The cache's folder cannot be written.
    """
    folder = _folder(nvrtc)
    try:
        ctypes.CDLL(str(folder / "lib64" / ALIAS))
    except OSError as error:
        raise DeviceError(f"NVRTC does not load ({error}): {FIX}") from None
    before = os.environ.get("CUDA_PATH")
    os.environ["CUDA_PATH"] = str(folder)
    try:
        yield
    finally:
        os.environ.pop("CUDA_PATH")
        if before is not None:
            os.environ["CUDA_PATH"] = before


@contextmanager
def kept_locale() -> Iterator[None]:
    """Leave the thread's locale as it was: NVRTC sets it to "C" and leaves it so.

    Python would then read and write text as ASCII.
    """
    libc = ctypes.CDLL(None)
    libc.uselocale.restype, libc.uselocale.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    before = libc.uselocale(None)
    try:
        yield
    finally:
        libc.uselocale(before)


def headers_of(library: Path) -> Path | None:
    """Return the folder with CUDA's headers that belongs to an NVRTC; None: there is none."""
    beside = library.parent.parent
    wheel_for_cuda_12 = beside.parent / "cuda_runtime" / "include"
    folders = (wheel_for_cuda_12, beside / "include", beside.parent / "include")
    return next((folder for folder in folders if (folder / HEADER).is_file()), None)


def _places() -> Iterator[tuple[Path, Path | None]]:
    """NVRTC libraries in the order in which they are tried, with their headers."""
    named = os.environ.get("CUDA_PATH")
    for library in _libraries([Path(named)] if named else []):
        yield library, headers_of(library)
    for root in _wheels():
        for library in sorted(root.glob("*/lib/libnvrtc.so.*"), reverse=True):
            if ".alt." not in library.name:
                yield library, headers_of(library)
    for library in _libraries(sorted(Path("/usr/local").glob("cuda*"), reverse=True)):
        yield library, headers_of(library)


def _libraries(toolkits: list[Path]) -> Iterator[Path]:
    for toolkit in toolkits:
        for folder in ("lib64", "lib", "targets/x86_64-linux/lib", "targets/sbsa-linux/lib"):
            if (toolkit / folder / ALIAS).is_file():
                yield toolkit / folder / ALIAS
                break


def _wheels() -> list[Path]:
    spec = find_spec("nvidia")
    return [Path(root) for root in spec.submodule_search_locations or ()] if spec else []


@cache
def _version(library: Path) -> tuple[int, int] | str:
    """The library's version, or why it is of no use."""
    major, minor = ctypes.c_int(), ctypes.c_int()
    try:
        code = ctypes.CDLL(str(library)).nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
    except (OSError, AttributeError) as error:
        return f"does not load ({error})"
    return f"gives error {code}" if code else (major.value, minor.value)


def _shown(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


def _folder(nvrtc: Nvrtc) -> Path:
    """A folder like a CUDA Toolkit's, made where it is not there yet."""
    key = hashlib.sha256(f"{nvrtc.library}\0{nvrtc.include}".encode()).hexdigest()[:16]
    folder, link = cache_dir() / "cuda" / key, cache_dir() / "cuda" / key / "include"
    builtins = sorted(nvrtc.library.resolve().parent.glob("libnvrtc-builtins.so*"))[:1]
    try:
        (folder / "lib64").mkdir(parents=True, exist_ok=True)
        _write(folder / "lib64" / ALIAS, _alias(nvrtc.library, *builtins))
        if not link.is_symlink():
            unfinished = folder / f".{os.getpid()}-include"
            unfinished.symlink_to(nvrtc.include)
            unfinished.replace(link)
    except OSError as error:
        raise OutputError(
            f"cannot write to {folder} ({error.strerror}); set FLUORO_CACHE_DIR to another folder"
        ) from None
    return folder


def _write(path: Path, content: bytes) -> None:
    """Write a file that other processes may be loading."""
    if path.is_file() and path.read_bytes() == content:
        return
    unfinished = path.with_name(f".{os.getpid()}-{path.name}")
    unfinished.write_bytes(content)
    unfinished.replace(path)


NEEDED, STRTAB, SYMTAB, STRSZ, SYMENT, SONAME = 1, 5, 6, 10, 11, 14
LOAD, DYNAMIC, STACK = 1, 2, 0x6474E551
READ_WRITE = 6
HEADER_BYTES, ENTRY_BYTES, SYMBOL_BYTES = 64, 56, 24


def _alias(*libraries: Path) -> bytes:
    """An ELF library called `ALIAS` that has nothing but the libraries that it needs.

    The loader takes a name for one that is loaded already by the name inside the file, and looks
    for functions in what a library needs as well. A link would have the wrong name inside.
    """
    names = [ALIAS.encode(), *(os.fsencode(path) for path in libraries)]
    starts, text = [], b"\0"
    for name in names:
        starts.append(len(text))
        text += name + b"\0"
    entries = [(SONAME, starts[0]), *((NEEDED, start) for start in starts[1:])]
    dynamic_at = HEADER_BYTES + 3 * ENTRY_BYTES
    symbols_at = dynamic_at + 16 * (len(entries) + 5)
    text_at = symbols_at + SYMBOL_BYTES
    entries += [(STRTAB, text_at), (SYMTAB, symbols_at), (STRSZ, len(text))]
    entries += [(SYMENT, SYMBOL_BYTES), (0, 0)]
    dynamic = b"".join(struct.pack("<QQ", *entry) for entry in entries)
    head = _elf_head(libraries[0])
    head += _segment(LOAD, 0, text_at + len(text), 0x10000)
    head += _segment(DYNAMIC, dynamic_at, len(dynamic), 8) + _segment(STACK, 0, 0, 16)
    return head + dynamic + bytes(SYMBOL_BYTES) + text


def _elf_head(like: Path) -> bytes:
    """The header of a library for the same machine as another one."""
    with like.open("rb") as file:
        identity, _, machine = struct.unpack("<16sHH", file.read(20))
    places = (0, HEADER_BYTES, 0, 0)
    sizes = (HEADER_BYTES, ENTRY_BYTES, 3, 0, 0, 0)
    return struct.pack("<16sHHIQQQIHHHHHH", identity, 3, machine, 1, *places, *sizes)


def _segment(kind: int, start: int, size: int, align: int) -> bytes:
    return struct.pack("<IIQQQQQQ", kind, READ_WRITE, start, start, start, size, size, align)
