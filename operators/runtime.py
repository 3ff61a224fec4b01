"""Makes `import holoscan` work on machines with and without a GPU. Import this module first."""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from importlib.util import find_spec
from pathlib import Path

from fluoro.errors import DeviceError

__all__ = ["prepare_holoscan"]

STACK_BYTES = 32 * 1024 * 1024
"""Holoscan's recommended stack of a thread; the usual 8 MiB draw a warning."""


def prepare_holoscan() -> None:
    """Load the CUDA runtime library from its wheel, raise stack sizes, quieten the log.

    UCX, which Holoscan loads, would take SIGHUP for a debugger: a program whose terminal is closed
    would go on.

    Holoscan's Python module links against libcudart even where there is no GPU; the library of
    the wheel needs none. Holoscan's own log, which for each failure of an operator tells the way it
    took through the framework, is off unless HOLOSCAN_LOG_LEVEL says otherwise.

    Raises:
        DeviceError: Holoscan is not installed.
    """
    if find_spec("holoscan") is None:
        raise DeviceError(
            "Holoscan is missing: `make run` makes an environment that has it, "
            "or pip install holoscan-cu12 (holoscan-cu13 for CUDA 13)"
        )
    os.environ.setdefault("HOLOSCAN_LOG_LEVEL", "OFF")
    os.environ.setdefault("UCX_DEBUG_SIGNO", "0")
    _raise_stack_limit()
    for name in ("libcudart.so.12", "libcudart.so.13"):
        for library in _wheel_libraries(name):
            ctypes.CDLL(str(library), ctypes.RTLD_GLOBAL)


def _wheel_libraries(name: str) -> list[Path]:
    spec = find_spec("nvidia")
    roots = [Path(root) for root in (spec.submodule_search_locations or [])] if spec else []
    return [library for root in roots for library in root.glob(f"*/lib/{name}")]


def _raise_stack_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_STACK)
    enough = soft == resource.RLIM_INFINITY or soft >= STACK_BYTES
    allowed = hard == resource.RLIM_INFINITY or hard >= STACK_BYTES
    if not enough and allowed:
        resource.setrlimit(resource.RLIMIT_STACK, (STACK_BYTES, hard))
    if sys.platform == "linux":
        _raise_thread_stacks()


def _raise_thread_stacks() -> None:
    """Threads made from now on get the larger stack (glibc; elsewhere nothing happens)."""
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "pthread_setattr_default_np"):
        return
    attributes = ctypes.create_string_buffer(64)  # pthread_attr_t is 56 bytes on 64-bit Linux
    libc.pthread_attr_init(attributes)
    libc.pthread_attr_setstacksize(attributes, ctypes.c_size_t(STACK_BYTES))
    libc.pthread_setattr_default_np(attributes)


prepare_holoscan()
