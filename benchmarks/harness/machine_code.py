"""Operations of machine code: callgrind counts instructions, objdump says what each one does.

A program that runs under `valgrind --tool=callgrind` marks what is counted with `Counting`; the
dump files that it leaves are read with `operations_of`. Valgrind 3.19 knows no AVX-512, so the code
must have been compiled for AVX2 (`AVX2_COMPILER`).

What counts as an operation: each lane of an instruction that computes with numbers in vector
registers. Sums, products, quotients, roots, comparisons, choices, bit operations and conversions
are 1, a multiply-add is 2. Loads, stores, moves between lanes and registers are none; nor are
instructions of the integer registers (addresses, loops).
"""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from fluoro.errors import DeviceError

__all__ = ["AVX2_COMPILER", "Counting", "Operations", "operations_of", "valgrind_command"]

AVX2_COMPILER = """#!/bin/bash
# g++ for a processor with AVX2 and without AVX-512
words=()
for word in "$@"; do
    case $word in
        -march=native) words+=(-march=haswell) ;;
        -mtune=*|-mprefer-vector-width=*) ;;
        --version) echo "for AVX2" ;;&
        *) words+=("$word") ;;
    esac
done
exec g++ "${words[@]}"
"""

SHIM = r"""
#include <valgrind/callgrind.h>
extern "C" void counting_begins() { CALLGRIND_START_INSTRUMENTATION; CALLGRIND_ZERO_STATS; }
extern "C" void counting_ends(const char* name)
{
    CALLGRIND_DUMP_STATS_AT(name);
    CALLGRIND_STOP_INSTRUMENTATION;
}
"""

TRIGGER = "Client Request: "

MOVES = re.compile(
    r"v?(mov|lddqu|broadcast|perm|shuf|unpck|insert|extract|pinsr|pextr|pshuf|punpck|palignr|gather|"
    r"pgather|maskmov|pmaskmov|pmovmskb|pack|pmov[sz]x|pbroadcast|lddup|ldmxcsr|stmxcsr|p?test|"
    r"ps[lr]ldq|p?blend(ps|pd|d|w)$)"
)
"""Beginnings of names of instructions that move, and count for nothing."""
BYTES = {"ps": 4, "pd": 8, "b": 1, "w": 2, "d": 4, "q": 8}
"""Of a number, by the end of the instruction's name; of others 4."""


class Operations(NamedTuple):
    """What a piece of code did.

    Attributes:
        count: Operations.
        instructions: That did them.
    """

    count: int
    instructions: int

    @property
    def lanes(self) -> float:
        """Operations of an instruction, at most 8 (16 with multiply-adds)."""
        return self.count / max(self.instructions, 1)


class Counting:
    """Counts between `begin` and `end`, where the program runs under callgrind.

    Args:
        folder: For the library that talks to it.

    Raises:
        DeviceError: It cannot be compiled: valgrind's headers are missing.
    """

    def __init__(self, folder: Path) -> None:
        source, library = folder / "counting.cpp", folder / "counting.so"
        source.write_text(SHIM)
        command = ["g++", "-O2", "-fPIC", "-shared", str(source), "-o", str(library)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise DeviceError(f"valgrind/callgrind.h: {done.stderr.partition(chr(10))[0]}")
        self._library = ctypes.CDLL(str(library))

    def begin(self) -> None:
        """Count from here."""
        self._library.counting_begins()

    def end(self, name: str) -> None:
        """Dump what was counted under a name."""
        self._library.counting_ends(name.encode())


def valgrind_command(dumps: Path) -> list[str]:
    """Return the beginning of a command line that counts where `Counting` says so.

    Args:
        dumps: Beginning of the files' names.

    Raises:
        DeviceError: A program is missing; the message names the fix.
    """
    for program in ("valgrind", "objdump"):
        if shutil.which(program) is None:
            raise DeviceError(
                f"{program} not found: operations are counted with valgrind and binutils "
                "(Debian, Ubuntu: apt install valgrind binutils)"
            )
    return [
        *("valgrind", "--tool=callgrind", "--instr-atstart=no", "--dump-instr=yes", "-q"),
        *("--dump-line=no", "--compress-strings=no", "--compress-pos=no"),
        f"--callgrind-out-file={dumps}",
    ]


def operations_of(dumps: Path) -> dict[str, Operations]:
    """Return what was done under each name.

    Args:
        dumps: As for `valgrind_command`.
    """
    found = {}
    for path in sorted(dumps.parent.glob(f"{dumps.name}*")):
        text = path.read_text()
        if TRIGGER in text:
            name = text.partition(TRIGGER)[2].partition("\n")[0]
            found[name] = _operations(_executed(text))
    return found


def _executed(text: str) -> dict[tuple[str, int], int]:
    """How often each instruction of each library was executed."""
    times: Counter[tuple[str, int]] = Counter()
    library, calls = "", False
    for line in text.splitlines():
        if line.startswith("ob="):
            library = line[3:]
        elif line.startswith("calls="):
            calls = True  # the next line has what the callee cost
        elif line.startswith("0x"):
            if not calls:
                place, count = line.split()[:2]
                times[library, int(place, 16)] += int(count)
            calls = False
    return times


def _operations(times: dict[tuple[str, int], int]) -> Operations:
    count = instructions = 0
    for (library, address), executed in times.items():
        lanes = _lanes_by_address(library).get(address, 0)
        count += lanes * executed
        instructions += executed if lanes else 0
    return Operations(count, instructions)


@cache
def _lanes_by_address(library: str) -> dict[int, int]:
    """Operations of each instruction of a library that has any."""
    if "/kernels/" not in library and "/libm" not in library:
        return {}
    command = ["objdump", "-d", "--no-show-raw-insn", library]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return dict(_instructions(lines))


def _instructions(lines: list[str]) -> Iterator[tuple[int, int]]:
    for line in lines:
        place, found, rest = line.strip().partition(":\t")
        lanes = lanes_of(rest) if found else 0
        if lanes:
            yield int(place, 16), lanes


def lanes_of(instruction: str) -> int:
    """Return the operations of an instruction, as objdump writes it."""
    name, _, operands = instruction.strip().partition(" ")
    if not re.search(r"%[xyz]mm", operands) or MOVES.match(name):
        return 0
    width = 64 if "%zmm" in operands else 32 if "%ymm" in operands else 16
    times = 2 if re.match(r"vfn?m(add|sub)", name) else 1
    return times * (1 if _is_scalar(name) else width // _bytes_of_number(name))


def _is_scalar(name: str) -> bool:
    """Names of whole numbers side by side begin with vp: vpmaxsd is none of one number."""
    return not name.startswith("vp") and bool(re.search(r"s[sd](2|$)|2s[sdi]", name))


def _bytes_of_number(name: str) -> int:
    """Of a conversion the larger one."""
    if "cvt" in name:
        return 8 if "pd" in name else 4
    found = re.search(r"(ps|pd|[bwdq])$", name)
    return BYTES[found[1]] if found and name != "vpblendvb" else 4
