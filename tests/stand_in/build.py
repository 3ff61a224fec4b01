"""Builds the stand-in and says what a process needs to run on it.

python -m tests.stand_in.build COMMAND...      runs a command on the stand-in
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).parent
LIBRARIES = ("driver.c", "nvrtc.c", "cudart.c")
FOR_KERNELS = ("cuda_on_host.h", "run.h", "compile.sh")
FOLDER = "FLUORO_STAND_IN_DIR"
"""Environment variable: where it is built; its compiled kernels are kept there."""


def _folder(sources: tuple[str, ...]) -> Path:
    """Where what these sources make is kept."""
    key = hashlib.sha256(b"\0".join((HERE / name).read_bytes() for name in sources)).hexdigest()
    named = os.environ.get(FOLDER)
    root = Path(named) if named else Path.home() / ".cache" / "fluoro-stand-in"
    return root / key[:16]


def compiled_folder() -> Path:
    """Return where what is compiled from kernels' sources is kept; the sources lie one up."""
    return _folder(FOR_KERNELS)


def real_nvrtc() -> Path | None:
    """Return the NVRTC of the environment's wheels; None: it is not installed."""
    spec = find_spec("nvidia")
    roots = map(Path, spec.submodule_search_locations or ()) if spec else ()
    found = (path for root in roots for path in sorted(root.glob("*/lib/libnvrtc.so.*")))
    return next((path for path in found if ".alt." not in path.name), None)


def build() -> Path:
    """Compile driver and NVRTC into their folder; return it."""
    made, kernels = _folder(LIBRARIES), compiled_folder()
    toolkit = made / "cuda"
    if (made / "ready").exists() and (kernels / FOR_KERNELS[-1]).exists():
        return made
    for each in (made, kernels, toolkit / "lib64"):
        each.mkdir(parents=True, exist_ok=True)
    _compile(HERE / "driver.c", made / "libcuda.so.1")
    _compile(HERE / "nvrtc.c", toolkit / "lib64" / "libnvrtc.so")
    _compile(HERE / "cudart.c", made / "libcudart-stand-in.so")
    for name in FOR_KERNELS:
        shutil.copy(HERE / name, kernels)
    nvrtc = real_nvrtc()
    if nvrtc is None:
        raise SystemExit("stand-in: NVRTC is not installed: pip install -r requirements.txt")
    from fluoro.rendering.devices.nvrtc import headers_of

    link = toolkit / "include"
    link.unlink(missing_ok=True)
    link.symlink_to(headers_of(nvrtc) or "")
    (made / "ready").touch()
    return made


def _compile(source: Path, library: Path) -> None:
    unfinished = library.with_name(f".{os.getpid()}-{library.name}")
    soname = f"-Wl,-soname,{library.name}"
    command = ["cc", "-O2", "-Wall", "-Wextra", "-shared", "-fPIC", soname, "-pthread"]
    subprocess.run([*command, "-o", str(unfinished), str(source), "-ldl"], check=True)
    unfinished.replace(library)


def environment(**settings: str) -> dict[str, str]:
    """Return the environment variables of a process on the stand-in.

    Args:
        settings: Of the stand-in (driver.c), as `fault="idle"` for STAND_IN_FAULT.
    """
    made = build()
    paths = (str(HERE / "python"), str(HERE.parents[1]), os.environ.get("PYTHONPATH", ""))
    return {
        **os.environ,
        "LD_LIBRARY_PATH": ":".join(filter(None, (str(made), os.environ.get("LD_LIBRARY_PATH")))),
        "LD_PRELOAD": str(made / "libcudart-stand-in.so"),
        "PYTHONPATH": ":".join(filter(None, paths)),
        "CUDA_PATH": str(made / "cuda"),
        "STAND_IN_COMPILED": str(compiled_folder()),
        "STAND_IN_KERNELS": str(compiled_folder().parent),
        "STAND_IN_NVRTC": str(real_nvrtc()),
        **{f"STAND_IN_{name.upper()}": value for name, value in settings.items()},
    }


if __name__ == "__main__":
    os.execvpe(sys.argv[1], sys.argv[1:], environment())
