"""Whether every kernel becomes PTX for an NVIDIA GPU, on a machine without one.

    make cuda-check        a minute and a half

Slang, as slangpy has it, writes CUDA; NVRTC compiles it to what a GPU's driver is given; ptxas does
what the driver does with it, for an H100 (both come as wheels). Says for each kernel of shaders/,
and for some that are put together of stages, whether it compiles, its registers and the local
memory where they did not suffice, and for those of the image chain how many products and sums NVRTC
has contracted: Slang up to 2026.12 does not ask it not to (slang issue 12799), later ones do, or
pass on what slang_device.py asks for.
"""

from __future__ import annotations

import ctypes
import importlib.util
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[2]))

from fluoro.imaging.fused import FUSED_ENTRY, fused_kernel
from fluoro.paths import shader_dir, shader_dirs
from fluoro.rendering.devices.load_slangpy import load_slangpy
from fluoro.rendering.devices.nvrtc import find_nvrtc, serve_nvrtc
from fluoro.rendering.devices.slang import DEFINES
from fluoro.rendering.parts.slopes import sloped
from fluoro.rendering.ray_kernels import (
    RAYS_ENTRY,
    all_kernels,
    line_integral_stage,
    single_rays,
)

PTX, SLANG, COMPUTE, FAST, PRECISE, MAXIMAL = 18, 1, 6, 1, 2, 3
"""Of slang.h: target, language, stage, arithmetic, optimisation."""

H100 = "sm_90"
PTXAS = "cuda_nvcc/bin/ptxas"
NEWEST = (99, 0)
"""A driver that takes whatever NVRTC is installed."""

FAST_MODULES = ("make_cells",)
"""Modules without IEEE arithmetic besides the kernels that follow rays."""
SLOPES = "#ifdef SLOPES"
"""In the source of a part that also gives derivatives."""
RAMPS, LABELS = (1, 4, 9), (2, 8)
"""Counts that kernels of materials are compiled for here."""

STAGES = ("poisson", "gain_bias", "logarithm", "window")
FUSED = {
    "noise to window": ("beer_lambert", *STAGES),
    **{
        f"{packet} to window": (line_integral_stage(packet), "transmit", *STAGES)
        for packet in single_rays()
    },
}

SLOPED = ("beer_lambert", "lag", "pixel_gains", "gain_bias", "logarithm", "window", "lookup")
"""Stages whose slopes are compiled together."""


class Kernel(NamedTuple):
    """What is to be compiled."""

    name: str
    text: str
    entry: str
    exact: bool


def kernels() -> Iterator[Kernel]:
    """All entry points of shaders/, and some kernels that are put together."""
    for path in sorted(shader_dir().rglob("*.slang")):
        text, exact = path.read_text(), path.stem not in FAST_MODULES
        alone = re.findall(r"^RUNS_ALONE\((\w+),", text, re.MULTILINE)
        for entry in alone + re.findall(r"^void (\w+)\(uint3 thread: SV", text, re.MULTILINE):
            yield Kernel(f"{path.stem}: {entry}", f'#include "{path.name}"', entry, exact)
            if SLOPES in text:
                derivatives = sloped(path.stem)
                yield Kernel(f"{derivatives.name}: {entry}", derivatives.slang, entry, exact)
    for text in all_kernels(RAMPS, LABELS):
        yield Kernel(text.name, text.slang, RAYS_ENTRY, exact=False)
    for name, stages in FUSED.items():
        yield Kernel(name, fused_kernel(stages).slang, FUSED_ENTRY, exact=True)
    yield Kernel("slopes", fused_kernel(SLOPED, slopes=True).slang, FUSED_ENTRY, exact=True)


class Translator:
    """Slang's compiler library, which slangpy brings, with NVRTC."""

    def __init__(self) -> None:
        (library,) = Path(load_slangpy().__file__ or "").parent.glob("libslang-compiler.so.*")
        self._slang = ctypes.CDLL(str(library))
        self._session = self._call("CreateSession", None)

    def ptx(self, kernel: Kernel) -> str:
        """The kernel for the GPU.

        Raises:
            ValueError: What Slang or NVRTC says against it.
        """
        request = self._call("CreateCompileRequest", self._session)
        target = self._call("AddCodeGenTarget", request, PTX)
        mode = PRECISE if kernel.exact else FAST
        self._call("SetTargetFloatingPointMode", request, target, mode)
        self._call("SetOptimizationLevel", request, MAXIMAL)
        for folder in shader_dirs():
            self._call("AddSearchPath", request, str(folder))
        for name, value in DEFINES.items():
            self._call("AddPreprocessorDefine", request, name, value)
        unit = self._call("AddTranslationUnit", request, SLANG, "kernel")
        self._call("AddTranslationUnitSourceString", request, unit, "kernel.slang", kernel.text)
        entry = self._call("AddEntryPoint", request, unit, kernel.entry, COMPUTE)
        if ctypes.c_int(self._call("Compile", request)).value < 0:
            said = ctypes.string_at(self._call("GetDiagnosticOutput", request)).decode()
            raise ValueError(next((line for line in said.splitlines() if "error" in line), said))
        size = ctypes.c_size_t()
        code = self._call("GetEntryPointCode", request, entry, ctypes.byref(size))
        found = ctypes.string_at(code, size.value).decode()
        self._call("DestroyCompileRequest", request)
        return found

    def _call(self, name: str, *arguments: Any) -> int:
        function = getattr(self._slang, f"sp{name}")
        function.restype = ctypes.c_size_t
        return int(function(*map(_as_c, arguments)) or 0)


def _as_c(value: Any) -> Any:
    if isinstance(value, str):
        return ctypes.c_char_p(value.encode())
    if value is None or (isinstance(value, int) and value > 1 << 31):
        return ctypes.c_void_p(value)
    return value


def find_ptxas() -> Path | None:
    """What the wheel of requirements/cuda_check.txt brings."""
    found = importlib.util.find_spec("nvidia")
    places = map(Path, found.submodule_search_locations or ()) if found else ()
    return next((p for place in places if (p := place / PTXAS).exists()), None)


def resources(ptxas: Path, ptx: str) -> str:
    """Registers of a thread, and local memory, as ptxas says.

    Raises:
        ValueError: It refuses.
    """
    ptxas.chmod(0o755)  # the wheel has it without
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "kernel.ptx"
        source.write_text(ptx)
        command = [str(ptxas), f"-arch={H100}", "-v", str(source), "-o", f"{folder}/kernel.cubin"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(f"ptxas: {done.stderr.strip().splitlines()[0]}")
    registers = re.search(r"Used (\d+) registers", done.stderr)
    stack = re.search(r"(\d+) bytes stack frame", done.stderr)
    local = f", {stack[1]} bytes of local memory" if stack and stack[1] != "0" else ""
    return f"{registers[1] if registers else '?'} registers{local}"


def main() -> int:
    """Compile all, print a line each; 1 where one does not compile."""
    ptxas = find_ptxas()
    if ptxas is None:
        raise SystemExit("check_cuda: ptxas is not installed: make cuda-check does so")
    nvrtc = find_nvrtc(NEWEST)
    print(f"NVRTC {nvrtc.version[0]}.{nvrtc.version[1]}: {nvrtc.library}")
    with serve_nvrtc(nvrtc):
        return _compile_all(ptxas)


def _compile_all(ptxas: Path) -> int:
    translator, failed = Translator(), 0
    for kernel in kernels():
        try:
            print(f"{kernel.name}: {_compiled(translator, ptxas, kernel)}", flush=True)
        except ValueError as error:
            failed += 1
            print(f"{kernel.name}: {error}")
    print(f"{failed} kernels do not compile" if failed else "all kernels compile")
    return int(failed > 0)


def _compiled(translator: Translator, ptxas: Path, kernel: Kernel) -> str:
    ptx = translator.ptx(kernel)
    contracted = len(re.findall(r"fma\.\w+\.f32", ptx)) if kernel.exact else 0
    return resources(ptxas, ptx) + (f", {contracted} contracted" if contracted else "")


if __name__ == "__main__":
    sys.exit(main())
