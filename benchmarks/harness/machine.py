"""On what a benchmark ran: processor, memory, load, versions."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from fluoro.rendering.devices.cpu.worker_threads import available_cores

__all__ = ["commit", "describe_machine", "load_average", "vector_units"]

PACKAGES = ("numpy", "slangpy")


def describe_machine() -> dict[str, Any]:
    """Facts for a results file."""
    return {
        "processor": _cpuinfo("model name") or platform.processor() or platform.machine(),
        "cores": available_cores(),
        "vector_units": vector_units(),
        "memory_gib": round(_memory_bytes() / 2**30, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "compiler": _first_line([os.environ.get("CXX", "g++"), "--version"]),
        "packages": {name: metadata.version(name) for name in PACKAGES},
        "commit": commit(),
    }


def commit() -> str:
    """The checkout's, short; "" outside one."""
    return _first_line(["git", "rev-parse", "--short", "HEAD"])


def load_average() -> float:
    """Processes that wanted a core, mean of the last minute."""
    return round(os.getloadavg()[0], 2)


def vector_units() -> str:
    """The widest vectors that the kernels may use: "avx512", "avx2", "neon" or "none"."""
    flags = _cpuinfo("flags").split()
    if "avx512f" in flags:
        return "avx512"
    if "avx2" in flags:
        return "avx2"
    return "neon" if platform.machine() in {"aarch64", "arm64"} else "none"


def _cpuinfo(key: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(key)), "")


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _first_line(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.partition("\n")[0].strip()
