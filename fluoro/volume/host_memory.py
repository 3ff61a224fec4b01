"""How much memory is left, so that a volume that does not fit is refused before it is read."""

from __future__ import annotations

import os
import re
from pathlib import Path

from fluoro.errors import InputError

__all__ = ["available_memory_bytes", "in_gib", "require_memory"]

MEMINFO = Path("/proc/meminfo")
CGROUPS = Path("/sys/fs/cgroup")
LIMITS = (
    ("memory.max", "memory.current", "memory.stat"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
)
"""Files with a container's limit, what counts against it and of what that consists: control groups
of version 2 and 1, as the container sees its own."""
FILE_PAGES = re.compile(r"^(?:total_)?(?:in)?active_file (\d+)$", re.MULTILINE)
"""Counted memory that holds copies of files; the system drops them when memory is needed."""


def require_memory(what: str, needed_bytes: int) -> None:
    """Check that `needed_bytes` of memory are available now.

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
    known = [_left_bytes(*(CGROUPS / name for name in names)) for names in LIMITS]
    return min((size for size in known if size is not None), default=None)


def _left_bytes(limit_file: Path, used_file: Path, parts_file: Path) -> int | None:
    try:
        limit, used, parts = (
            path.read_text(encoding="ascii").strip() for path in (limit_file, used_file, parts_file)
        )
    except OSError:
        return None
    if limit == "max":
        return None
    return max(0, int(limit) - int(used) + _file_pages_bytes(parts))


def _file_pages_bytes(parts: str) -> int:
    """Return the bytes of the group and its subgroups, where both are given (version 1)."""
    total = re.search("^total_inactive_file ", parts, re.MULTILINE) is not None
    found = FILE_PAGES.finditer(parts)
    return sum(int(match[1]) for match in found if match[0].startswith("total_") == total)


def in_gib(count: int) -> str:
    """Return bytes as a person reads them."""
    return f"{count / 2**30:,.2f} GiB"
