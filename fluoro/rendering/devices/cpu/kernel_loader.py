"""Kernels of a CPU device: those of the cache at once, others compiled side by side.

C++ compilers are processes, so that a thread of Python for each keeps all cores busy; Slang
translates one kernel at a time meanwhile (slang_cpp.py).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import cache

from fluoro.rendering.devices.base import KernelText, Launch
from fluoro.rendering.devices.cpu.compiler import (
    CpuKernel,
    KernelFiles,
    has_thread_library,
    kernel_files,
    load_cpu_kernel,
    load_thread_library,
)
from fluoro.rendering.devices.cpu.slang_cpp import load_slang
from fluoro.rendering.devices.cpu.worker_threads import available_cores

__all__ = ["KernelLoader", "early_compiler"]

Key = tuple[str | KernelText, str, bool]
"""Module, entry point, exact."""


class KernelLoader:
    """Loads each kernel once; any thread may ask for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._begun: dict[Key, Future[CpuKernel]] = {}
        self._compiled = self._missing = 0
        self._tell: Callable[[int, int], None] = lambda _compiled, _missing: None

    def watch(self, tell: Callable[[int, int], None]) -> None:
        """Have `tell` called with the numbers of kernels compiled so far and of those to compile.

        Threads that compile call it.
        """
        self._tell = tell

    def begin(self, launch: Launch) -> Future[CpuKernel]:
        """Return the kernel of a launch, or what it will be: a compilation goes on by itself.

        Raises:
            DeviceError: There is no C++ compiler, or the cache has a damaged file.
        """
        key = launch.module, launch.entry, launch.exact
        with self._lock:
            begun = self._begun.get(key)
            if begun is None or begun.cancelled():
                begun = self._begun[key] = self._load(key)
            return begun

    def close(self) -> None:
        """Give up what is not compiled yet, and wait for compilers that run."""
        with self._lock:
            begun, self._begun = self._begun, {}
        for future in begun.values():
            future.cancel()
        wait(begun.values())

    def _load(self, key: Key) -> Future[CpuKernel]:
        module, entry, exact = key
        files = kernel_files(module, entry, exact=exact)
        if not files.exist():
            self._missing += 1
            return _compilers().submit(self._compile, key, files)
        found: Future[CpuKernel] = Future()
        found.set_result(load_cpu_kernel(files))
        return found

    def _compile(self, key: Key, files: KernelFiles) -> CpuKernel:
        self._count(0)
        try:
            kernel = load_cpu_kernel(files)
        except BaseException:
            with self._lock:
                self._begun.pop(key, None)  # the next launch tries again
            raise
        self._count(1)
        return kernel

    def _count(self, more: int) -> None:
        """Tell how many are compiled, in order: threads would overtake each other."""
        with self._lock:
            self._compiled += more
            self._tell(self._compiled, self._missing)


@contextmanager
def early_compiler() -> Iterator[None]:
    """Begin with what all kernels need, on threads, and end the threads that compile at the end.

    For a program, before its long imports. It is the thread library, and where that has never been
    compiled, Slang too: kernels will be missing. What fails here fails again, with its message,
    where a device is opened.
    """
    _compilers().submit(_load_common)
    try:
        yield
    finally:
        _compilers().shutdown(cancel_futures=True)
        _compilers.cache_clear()


def _load_common() -> None:
    if not has_thread_library():
        _compilers().submit(load_slang)
    load_thread_library()


@cache
def _compilers() -> ThreadPoolExecutor:
    """Threads that wait for compilers, of all devices: one per core, and one for Slang."""
    return ThreadPoolExecutor(available_cores() + 1, thread_name_prefix="compiler")


if hasattr(os, "register_at_fork"):  # a child has none of its parent's threads
    os.register_at_fork(after_in_child=_compilers.cache_clear)
