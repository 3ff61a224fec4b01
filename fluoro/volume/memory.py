"""How much memory is left, so that a volume that does not fit is refused before it is read."""

from __future__ import annotations

import os
import re
from pathlib import Path

from fluoro.errors import InputError

__all__ = ["available_memory_bytes", "in_gib", "require_memory"]

MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")
"""Version 2, as a container sees its own limit."""


def require_memory(what: str, needed_bytes: int) -> None:
    """Check that so many bytes can be had now.

    Raises:
        InputError: They cannot; the message names `what` and both sizes.
    """
    available_bytes = available_memory_bytes()
    if available_bytes is not None and needed_bytes > available_bytes:
        raise InputError(
            f"{what}: does not fit in memory: needs {in_gib(needed_bytes)}, "
            f"{in_gib(available_bytes)} are available"
        )


def available_memory_bytes() -> int | None:
    """Memory [bytes] to be had without swapping: the system's, or less if a container limits it.

    All of the machine's memory where the system does not say what is free; None if not even that.
    """
    known = [size for size in (_system_bytes(), _container_bytes()) if size is not None]
    return min(known, default=None)


def _system_bytes() -> int | None:
    try:
        match = re.search(r"MemAvailable:\s+(\d+) kB", MEMINFO.read_text(encoding="ascii"))
    except OSError:
        match = None
    if match:
        return int(match[1]) * 1024
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def _container_bytes() -> int | None:
    try:
        limit = (CGROUP / "memory.max").read_text(encoding="ascii").strip()
        used = (CGROUP / "memory.current").read_text(encoding="ascii").strip()
    except OSError:
        return None
    return None if limit == "max" else max(0, int(limit) - int(used))


def in_gib(count: int) -> str:
    """Bytes as a person reads them."""
    return f"{count / 2**30:,.2f} GiB"
