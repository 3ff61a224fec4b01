"""What Slang says against a kernel, in one line."""

from __future__ import annotations

import re

__all__ = ["first_error"]


def first_error(output: str) -> str:
    """Return the first error of a compiler's output: what, then file, line and column, and why.

    Args:
        output: Lines such as "error[E30027]: member not found", "--> k.slang:5:54", "^^^ reason".
    """
    lines = output.splitlines()
    at = next((n for n, line in enumerate(lines) if "error" in line), None)
    if at is None:
        return output
    rest = "\n".join(lines[at + 1 :])
    place = re.search(r"-->\s*(?:.*/)?(\S+)", rest)
    reason = re.search(r"\^\s+(\S.*)", rest)
    parts = [lines[at].strip(), place and place[1], reason and reason[1].strip()]
    return ": ".join(part for part in parts if part)
