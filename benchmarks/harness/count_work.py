"""Does the work of kernel_jobs.py once and notes what each kind of launch has to do.

NUMPY_MADVISE_HUGEPAGE=0 python benchmarks/harness/count_work.py bytes FILE
    writes the bytes that must move (touched_memory.py); compiles all kernels
valgrind ... benchmarks/harness/count_work.py operations FOLDER
    leaves a dump of the executed instructions for each kind of launch (machine_code.py)
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import operators.runtime  # noqa: F401  (before Holoscan)
from benchmarks.harness.kernel_jobs import Key, run_jobs
from benchmarks.harness.machine_code import Counting
from benchmarks.harness.touched_memory import touched_bytes
from fluoro.rendering.devices.base import Launch

Look = Callable[[Key, Launch, Callable[[], None]], None]
"""Is shown the first launch of each kind, and dispatches it."""


def main(what: str, path: str) -> None:
    """Work, and look at the first launch of each kind."""
    if what == "bytes":
        found: dict[str, int] = {}
        look_at_each(lambda key, *launch: found.update({repr(tuple(key)): touched_bytes(*launch)}))
        Path(path).write_text(json.dumps(found))
    else:
        counting = Counting(Path(path))
        look_at_each(lambda key, _launch, dispatch: _count(counting, key, dispatch))


def look_at_each(look: Look) -> None:
    """Do all work once; print each kind of launch."""
    seen: set[Key] = set()

    def watch(key: Key, launch: Launch, dispatch: Callable[[], None]) -> None:
        if key in seen:
            dispatch()
            return
        seen.add(key)
        print(f"{len(seen)}: {key.group}, {key.kernel}", flush=True)
        look(key, launch, dispatch)

    run_jobs(watch, 1)


def _count(counting: Counting, key: Key, dispatch: Callable[[], None]) -> None:
    counting.begin()
    dispatch()
    counting.end(repr(tuple(key)))


if __name__ == "__main__":
    main(*sys.argv[1:])
    sys.stdout.flush()
    os._exit(0)  # callgrind and the interpreter's last collection do not agree
