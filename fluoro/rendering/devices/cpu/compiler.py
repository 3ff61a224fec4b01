"""Slang kernels as native code for the CPU.

Slang translates a kernel to C++; slangpy's own CPU dispatch then compiles that conservatively and
runs it on one thread while holding the interpreter's lock. Here the same C++ is compiled by the
machine's compiler for this very processor. A small library spreads the rows of a dispatch over
threads (worker_threads.py), and is called through ctypes: no lock is held, all cores work, the
vector units are used. The result is cached on disk, keyed by sources, compiler, options and
processor.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import logging
import os
import platform
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from fluoro.errors import DeviceError, OutputError
from fluoro.paths import cache_dir, shader_dirs, shader_files
from fluoro.rendering.devices.base import KernelText
from fluoro.rendering.devices.cpu.slang_cpp import KernelCpp, kernel_cpp, load_slang
from fluoro.rendering.devices.cpu.worker_threads import (
    DISPATCHER,
    ThreadLibrary,
    open_thread_library,
)
from fluoro.rendering.devices.uniforms import UniformBlock

__all__ = [
    "PACKET_PIXELS",
    "RAY_LANES",
    "CpuKernel",
    "KernelFiles",
    "find_compiler",
    "has_thread_library",
    "kernel_files",
    "load_cpu_kernel",
    "load_thread_library",
]

log = logging.getLogger(__name__)

RAY_LANES = 16
"""Rays that a CPU thread carries side by side: the floats of one 512-bit register."""

PIXELS_PER_GROUP = 16
"""Pixels of a row that one call of an image chain's kernel works on."""

PACKET_PIXELS = 64
"""Neighbouring pixels of a row that one thread of the image chain carries: four registers, so that
the processor has more than one chain of operations. Each stage of a fused kernel goes through them
before the next stage does."""

DEFINES = {
    "RAY_LANES": str(RAY_LANES),
    "GROUP_COLUMNS": "1",
    "GROUP_ROWS": "1",
    "PIXEL_GROUP_COLUMNS": str(PIXELS_PER_GROUP),
    "PIXEL_GROUP_ROWS": "1",
    "PACKET_PIXELS": str(PACKET_PIXELS),
}

COMMON_FLAGS = ("-std=c++17", "-O3", "-fPIC", "-shared", "-w", "-pthread", "-fvisibility=hidden")
FAST_FLAGS = (
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fno-signed-zeros",
    "-ffinite-math-only",
)
"""What lets the compiler vectorise. Not -ffast-math: with it the library would switch the whole
process to flush denormal numbers when it is loaded."""
EXACT_FLAGS = ("-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off")
"""For the image chain: every device must come to the same photon counts."""

KEEP_LANES = f"--param=max-completely-peel-times={PIXELS_PER_GROUP // 2}"
"""Else GCC unrolls the loop over a packet's pixels first and then vectorises another around it."""

LIGHT_HEADERS = ("-std=c++14", "-fstrong-eval-order")
"""For GCC: the machine code is that of C++17, whose order of evaluation is kept, and the headers
are read in 0.06 s less: <cmath> comes without special functions."""

ONE_ENTRY = "-fwhole-program"
"""For GCC, in the image chain: `fluoro_row` alone is called from outside. Slang's C++ has three
more functions of a kernel that could be called, and each would be compiled."""

PRELUDE_END = "using namespace SLANG_PRELUDE_NAMESPACE;\n#endif\n"
"""What Slang's prelude ends with, the same 4300 lines in each kernel. GCC reads it precompiled in
0.05 s less of 0.12 s and more."""

INLINE_ALL = "__attribute__((flatten))"
"""On the function that goes through a group's pixels, in the image chain: without it the compiler
calls a function for each pixel where that is long, and cannot take pixels side by side."""

PLAIN_CHOICES = {
    "return ::fminf(a, b);": "return a < b ? a : b;",
    "return ::fmaxf(a, b);": "return a > b ? a : b;",
}
"""In the image chain, what Slang's C++ says for the lesser and the greater, and what is compiled:
the library's functions look after a second number that is NaN, and no vector unit does. Stages
compare with limits, which are numbers, so that the values are the same."""

_THREAD_LIBRARY, _PRELUDE = threading.Lock(), threading.Lock()
"""Held by who compiles it: others wait, and find it there."""

LAYOUT = "offset, code"
"""What the cache keeps of a uniform."""

DRIVER = r"""
extern "C" __attribute__((visibility("default"), externally_visible)) void fluoro_row(
    unsigned columns, unsigned row, unsigned layer, void* globals)
{
    ComputeVaryingInput input = {};
    input.startGroupID = {0, row, layer};
    input.endGroupID = {columns, row + 1, layer + 1};
    FLUORO_ENTRY(&input, nullptr, globals);
}
"""
"""What a kernel's library offers to the dispatcher (worker_threads.py): one row."""


@dataclass(frozen=True, kw_only=True)
class CpuKernel:
    """A compiled entry point.

    Attributes:
        dispatch: Runs it without the interpreter's lock; takes the groups along columns, rows and
            layers, the block of uniforms, and the number of threads.
        row: Address of what works on one row, for a queue.
        threads: What rows are shared among.
        uniforms: The block of uniforms.
        group_size: Threads of a group along columns, rows and layers.
    """

    dispatch: Any
    row: Any
    threads: ThreadLibrary
    uniforms: UniformBlock
    group_size: tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class KernelFiles:
    """An entry point and where the cache keeps it.

    Attributes:
        module: Name of the Slang file in shaders/ without its suffix; or the kernel's text.
        entry: Name of the compute entry point.
        exact: Keep to IEEE arithmetic without contraction (the image chain), else reorder freely.
        library: The machine code.
        layout: Its uniforms and groups.
    """

    module: str | KernelText
    entry: str
    exact: bool
    library: Path
    layout: Path

    def exist(self) -> bool:
        """Return whether the kernel is in the cache."""
        return self.library.is_file() and self.layout.is_file()


def kernel_files(module: str | KernelText, entry: str, *, exact: bool) -> KernelFiles:
    """Return where the cache keeps an entry point; the arguments are those of `KernelFiles`.

    Raises:
        DeviceError: No C++ compiler, whose version is part of the name.
    """
    compiler = find_compiler()
    key = _key(module, entry, compiler, _flags(compiler, exact=exact))
    library = cache_dir() / "kernels" / f"{entry}-{key}.so"
    layout = library.with_suffix(".json")
    return KernelFiles(module=module, entry=entry, exact=exact, library=library, layout=layout)


def load_cpu_kernel(files: KernelFiles) -> CpuKernel:
    """Compile an entry point, or take it from the cache; any thread may.

    Raises:
        DeviceError: No C++ compiler, or the compilation failed.
        OutputError: The cache folder cannot be written.
    """
    if not files.exist():
        _build(files)
    return _open(files, load_thread_library())


def load_thread_library() -> ThreadLibrary:
    """Compile the library of worker_threads.py, or take it from the cache.

    Raises:
        DeviceError: No C++ compiler, or the compilation failed.
        OutputError: The cache folder cannot be written.
    """
    library = _thread_library_file()
    with _THREAD_LIBRARY:
        if not library.is_file():
            flags, name = (*COMMON_FLAGS, *FAST_FLAGS), "dispatcher.cpp"
            with _scratch_beside(library) as scratch:
                _compile_library(find_compiler(), flags, DISPATCHER, scratch / name, library)
        return open_thread_library(library)


def has_thread_library() -> bool:
    """Return whether the library of worker_threads.py is in the cache.

    Raises:
        DeviceError: No C++ compiler, whose version is part of the name.
    """
    return _thread_library_file().is_file()


def _thread_library_file() -> Path:
    version_text = _compiler_version(find_compiler())
    parts = (DISPATCHER, *COMMON_FLAGS, *FAST_FLAGS, _processor(), version_text)
    return cache_dir() / "kernels" / f"dispatcher-{_digest(parts)}.so"


def _open(files: KernelFiles, threads: ThreadLibrary) -> CpuKernel:
    try:
        row = ctypes.cast(ctypes.CDLL(str(files.library)).fluoro_row, ctypes.c_void_p)
        offsets = json.loads(files.layout.read_text())
        group_size = offsets.pop("group_size")
    except (OSError, ValueError, AttributeError, KeyError) as error:
        raise DeviceError(f"{files.library} is damaged ({error}): delete its folder") from None
    places = {name: (offset, code) for name, (offset, code) in offsets.items()}
    return CpuKernel(
        dispatch=partial(threads.dispatch, row),
        row=row,
        threads=threads,
        uniforms=UniformBlock(places, _address),
        group_size=tuple(group_size),
    )


def _address(array: NDArray[Any]) -> int:
    address: int = array.__array_interface__["data"][0]
    return address


@cache
def find_compiler() -> str:
    """Return the path of the C++ compiler.

    Raises:
        DeviceError: There is none; the message names the fix.
    """
    named = os.environ.get("CXX")
    for name in (named,) if named else ("g++", "clang++", "c++"):
        path = shutil.which(name)
        if path:
            return path
    raise DeviceError(
        f"no C++ compiler found ({named or 'g++, clang++'}): the CPU renderer needs one; "
        "install it (Debian, Ubuntu: apt install g++)"
    )


def _flags(compiler: str, *, exact: bool) -> tuple[str, ...]:
    native = "-mcpu=native" if platform.machine() in {"aarch64", "arm64"} else "-march=native"
    flags = (*COMMON_FLAGS, native, *(EXACT_FLAGS if exact else FAST_FLAGS))
    if "clang" in Path(compiler).name:
        return flags
    flags = (*flags, *LIGHT_HEADERS, *((KEEP_LANES, ONE_ENTRY) if exact else ()))
    if "avx512f" in _processor():
        # without this tuning GCC takes 256-bit vectors and declines the gathers
        flags = (*flags, "-mtune=skylake-avx512", "-mprefer-vector-width=512")
    return flags


@cache
def _processor() -> str:
    """Everything that -march=native may look at."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    wanted = ("model name", "flags", "Features", "cpu family", "model\t", "stepping")
    return "\n".join(sorted({line for line in lines if line.startswith(wanted)}))


@cache
def _slangpy_version() -> str:
    return version("slangpy")  # takes a millisecond, a third of a key


@cache
def _compiler_version(compiler: str) -> str:
    done = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False)
    return done.stdout


def _key(module: str | KernelText, entry: str, compiler: str, flags: tuple[str, ...]) -> str:
    digest = hashlib.sha256()
    source_of = module.slang if isinstance(module, KernelText) else module
    for source in shader_files(source_of):
        digest.update(source.name.encode() + source.read_bytes())
    parts = (
        source_of,
        entry,
        LAYOUT,
        DRIVER,
        INLINE_ALL,
        str(PLAIN_CHOICES),
        str(_defines(module)),
        *flags,
        _processor(),
    )
    for part in (*parts, _slangpy_version(), _compiler_version(compiler)):
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()[:24]


def _build(files: KernelFiles) -> None:
    module, entry, compiler = files.module, files.entry, find_compiler()
    log.info("compiling %s for this processor", entry if isinstance(module, str) else module)
    with _scratch_beside(files.library) as scratch:
        kernel = _translate(module, entry, scratch)
        written = scratch / f"{entry}.json"
        written.write_text(json.dumps(_layout(kernel)))
        written.replace(files.layout)
        text, flags = _edited(kernel.text, files), _flags(compiler, exact=files.exact)
        source = scratch / f"{entry}.cpp"
        try:
            short, including = _with_prelude(compiler, flags, text, files.library.parent)
            _compile_library(compiler, including, short, source, files.library)
        except DeviceError:  # of the kernel, or of a compiler that cannot use its own header
            _compile_library(compiler, flags, text, source, files.library)


def _with_prelude(
    compiler: str, flags: tuple[str, ...], text: str, folder: Path
) -> tuple[str, tuple[str, ...]]:
    """The C++ without Slang's prelude, and flags that include that precompiled; for the chain."""
    prelude, end, kernel = text.partition(PRELUDE_END)
    if not end or ONE_ENTRY not in flags:
        return text, flags
    header = _precompiled(compiler, flags, prelude + end, folder)
    return kernel, (*flags, "-include", str(header))


def _precompiled(compiler: str, flags: tuple[str, ...], prelude: str, folder: Path) -> Path:
    """The header, which GCC has compiled to the file beside it."""
    parts = (prelude, *flags, _processor(), _compiler_version(compiler))
    header = folder / f"prelude-{_digest(parts)}.h"
    compiled = header.with_suffix(".h.gch")
    with _PRELUDE:
        if not compiled.is_file():
            with _scratch_beside(header) as scratch:
                source, built = scratch / header.name, scratch / compiled.name
                source.write_text(prelude)
                command = [compiler, *flags, "-x", "c++-header", "-o", str(built), str(source)]
                _compile(command, "prelude")
                source.replace(header)
                built.replace(compiled)
    return header


def _digest(parts: Iterable[str]) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]


def _edited(cpp: str, files: KernelFiles) -> str:
    """Slang's C++ as it is compiled."""
    if files.exact:
        group = f"void {files.entry}_Group("
        cpp = cpp.replace(group, f"{INLINE_ALL} {group}")
        for call, choice in PLAIN_CHOICES.items():
            cpp = cpp.replace(call, choice)
    return cpp + DRIVER.replace("FLUORO_ENTRY", files.entry)


@contextmanager
def _scratch_beside(library: Path) -> Iterator[Path]:
    """A folder for what is made on the way to a library.

    Raises:
        OutputError: The library's folder cannot be written.
    """
    try:
        library.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=library.parent) as scratch:
            yield Path(scratch)
    except OSError as error:
        raise OutputError(
            f"cannot write compiled kernels to {library.parent}: {error.strerror}; "
            "name another folder in FLUORO_CACHE_DIR"
        ) from None


def _compile_library(
    compiler: str, flags: tuple[str, ...], text: str, source: Path, library: Path
) -> None:
    source.write_text(text)
    built = source.with_suffix(".so")
    _compile([compiler, *flags, "-o", str(built), str(source)], source.stem)
    built.replace(library)


def _defines(module: str | KernelText) -> dict[str, str]:
    scatters = isinstance(module, KernelText) and module.scatters
    return DEFINES | ({"RAY_LANES": "1", "ONE_THREAD": "1"} if scatters else {})


def _compile(command: list[str], entry: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["no message"]
        errors = [line for line in lines if "error" in line]
        raise DeviceError(f"{command[0]} cannot compile kernel {entry}: {(errors or lines)[0]}")


def _translate(module: str | KernelText, entry: str, scratch: Path) -> KernelCpp:
    """C++ of one entry point, and the layout of uniforms and groups, from the Slang compiler."""
    load_slang()
    source = _source_of(module, entry, scratch)
    try:
        return kernel_cpp(source, entry, shader_dirs(), _defines(module))
    except DeviceError as error:
        raise DeviceError(f"Slang cannot compile {entry} of {_named(module)}: {error}") from None


def _layout(kernel: KernelCpp) -> dict[str, list[Any]]:
    """What the cache keeps of uniforms and groups."""
    places = {name: [place.offset, place.code] for name, place in kernel.places.items()}
    return {**places, "group_size": [*kernel.group_size]}


def _named(module: str | KernelText) -> str:
    return f"{module}.slang" if isinstance(module, str) else str(module)


def _source_of(module: str | KernelText, entry: str, scratch: Path) -> Path:
    """The module's file; a text is written to `scratch`."""
    if isinstance(module, str):
        files = {path.stem: path for path in shader_files()}
        return files.get(module, Path(f"{module}.slang"))
    source = scratch / f"{entry}.slang"
    source.write_text(module.slang)
    return source
