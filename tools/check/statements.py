#!/usr/bin/env python3
"""Counts Python statements by room, here and at an earlier revision.

    python tools/check/statements.py            against the revision before the rooms, 7a4d07e
    python tools/check/statements.py --base REV
    python tools/check/statements.py --modules  also each module that has grown or is new

A statement is a node of the syntax tree, without docstrings. A room is a folder of fluoro/, or
operators/. Git finds modules that were moved, so that both sides count the rooms of today: "then"
is what a room's modules had at BASE, "kept" what the same modules have now, "new" what stands in
modules that BASE had not.
"""

from __future__ import annotations

import argparse
import ast
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
BASE = "7a4d07e"
COUNTED = ("fluoro", "operators")


def git(*arguments: str) -> str:
    """Return what a command of Git prints."""
    return subprocess.run(
        ["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout


def statements(source: str) -> int:
    """Return the number of statements of a module, without docstrings and bare constants."""
    nodes = ast.walk(ast.parse(source))
    return sum(isinstance(node, ast.stmt) and not _is_text(node) for node in nodes)


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def counted(revision: str) -> dict[str, int]:
    """Return the statements of each module of a revision."""
    names = git("ls-tree", "-r", "--name-only", revision, "--", *COUNTED).splitlines()
    modules = [name for name in names if name.endswith(".py")]
    return {name: statements(git("show", f"{revision}:{name}")) for name in modules}


def room(name: str) -> str:
    """Return the room of a module: `fluoro/imaging`, `operators`, or `fluoro` for its own files."""
    parts = Path(name).parts
    return "/".join(parts[:2]) if parts[0] == "fluoro" and len(parts) > 2 else parts[0]


def origins(base: str) -> dict[str, str]:
    """Return the path at `base` of each module that stands elsewhere now."""
    lines = git("diff", "-M30%", "-l0", "--name-status", base, "HEAD", "--", *COUNTED)
    fields = (line.split("\t") for line in lines.splitlines())
    return {new: old for status, old, new in (f for f in fields if len(f) == 3) if status[0] == "R"}


def table(before: Mapping[str, int], now: Mapping[str, int], moved: Mapping[str, str]) -> list[str]:
    """Return a line for each room: what its modules of today had, have, and what is new."""
    rows: dict[str, Counter[str]] = {}
    for name, count in now.items():
        then = before.get(moved.get(name, name))
        row = rows.setdefault(room(name), Counter())
        row.update({"now": count} if then is None else {"then": then, "kept": count, "now": count})
    return [_line(name, rows[name]) for name in sorted(rows)] + [_line("all", _sum(rows.values()))]


def _sum(rows: Iterable[Counter[str]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for row in rows:
        total.update(row)
    return total


def _line(name: str, row: Counter[str]) -> str:
    return f"{name:<24}{row['then']:>8}{row['kept']:>8}{row['now'] - row['kept']:>8}{row['now']:>8}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", default=BASE, help="earlier revision (default: %(default)s)")
    parser.add_argument("--modules", action="store_true", help="also each module")
    options = parser.parse_args()
    before, now = counted(options.base), counted("HEAD")
    moved = origins(options.base)
    print(f"{'room':<24}{'then':>8}{'kept':>8}{'new':>8}{'now':>8}")
    print("\n".join(table(before, now, moved)))
    gone = sum(before.values()) - sum(
        before[moved.get(name, name)] for name in now if moved.get(name, name) in before
    )
    total = sum(before.values())
    print(f"at {options.base}: {total} statements, {gone} of them in modules that are gone")
    if options.modules:
        for name in sorted(now, key=lambda name: -now[name]):
            print(f"{name:<60}{before.get(moved.get(name, name), 0):>8}{now[name]:>8}")


if __name__ == "__main__":
    main()
