#!/usr/bin/env python3
"""Looks for wordings that fluoro's texts avoid; part of `make lint`.

    python tools/check/phrases.py          every file that git tracks
    python tools/check/phrases.py PATH...  these files

The list is tools/check/phrases.txt. In Python the check reads comments, strings (docstrings, help
texts, messages) and the names of tests; in other files it reads every line.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIST = Path(__file__).with_suffix(".txt")
SUFFIXES = {
    *(
        ".cpp",
        ".css",
        ".h",
        ".html",
        ".idl",
        ".ipynb",
        ".js",
        ".md",
        ".py",
        ".sh",
        ".slang",
        ".svg",
    ),
    *(".toml", ".txt", ".yaml"),
}
NAMES = {"Dockerfile", "Makefile"}
SKIPPED = ("tools/check/phrases.", "tools/check/renamed.yaml", "requirements/constraints.txt")
"""The list itself; names as they once were."""

EXPRESSION = re.compile(r"\{[^{}]*\}")
"""Code inside an f-string, which Python 3.11 leaves in one token with its text."""

Rule = tuple[re.Pattern[str], str]
Line = tuple[int, str]


def rules(text: str) -> list[Rule]:
    """Return pattern and better wording of each line of the list."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    pairs = [line.split(" -> ") for line in lines]
    return [(re.compile(pattern, re.IGNORECASE), better) for pattern, better in pairs]


def texts(path: Path) -> Iterator[Line]:
    """Yield line numbers and lines of what a file says to a reader."""
    source = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        yield from enumerate(source.splitlines(), 1)
        return
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.NAME and token.string.startswith("test_"):
            yield token.start[0], token.string.replace("_", " ")
        elif tokenize.tok_name[token.type] in ("COMMENT", "STRING", "FSTRING_MIDDLE"):
            text = EXPRESSION.sub("{}", token.string) if is_f_string(token) else token.string
            yield from enumerate(text.splitlines(), token.start[0])


def is_f_string(token: tokenize.TokenInfo) -> bool:
    """Return whether a token is an f-string with its prefix."""
    return re.match(r"(?i)[rb]?f[rb]?[\"']", token.string) is not None


def hits(lines: Sequence[Line], every: Sequence[Rule]) -> Iterator[tuple[int, str, str]]:
    """Yield line number, phrase and better wording; a phrase may run on to the next line."""
    joined, starts = "", []
    for number, line in lines:
        starts.append((len(joined), number))
        joined += re.sub(r"\s+", " ", line.strip(" \t#/*>")) + " "
    for pattern, better in every:
        for match in pattern.finditer(joined):
            number = max(at for at in starts if at[0] <= match.start())[1]
            yield number, match.group(), better


def tracked() -> list[Path]:
    """Return the files of the work tree that have text."""
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    names = [name for name in listed.stdout.splitlines() if not name.startswith(SKIPPED)]
    paths = [ROOT / name for name in names]
    return [p for p in paths if p.is_file() and (p.suffix in SUFFIXES or p.name in NAMES)]


def main(arguments: Sequence[str]) -> int:
    """Print every phrase found, one a line; return 1 if there is any."""
    every, found = rules(LIST.read_text(encoding="utf-8")), 0
    for path in [Path(name).resolve() for name in arguments] or tracked():
        for number, phrase, better in sorted(hits(list(texts(path)), every)):
            print(f"{path.relative_to(ROOT)}:{number}: '{phrase}': write {better}")
            found += 1
    print(f"phrases: {found} found" if found else "phrases: none found")
    return int(found > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
