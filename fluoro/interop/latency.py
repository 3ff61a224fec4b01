"""From pose to frame: what a receiver measures by stamps alone, and the file of the figures."""

from __future__ import annotations

import json
import os
import platform
import threading
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from fluoro.errors import InputError
from fluoro.files.atomic_write import replacing

__all__ = ["FrameLog", "LatencyRow", "median_row", "table_lines", "write_rows"]

KEY = ("what", "size", "rate_hz")
"""What makes a row another row."""


@dataclass(frozen=True, kw_only=True)
class LatencyRow:
    """Latencies of one run.

    Attributes:
        what: Which way the frames took.
        size: Columns and rows.
        rate_hz: Frames received per second requested or, with rendering, reached.
        p50_ms: Median from the pose's stamp to the frame in the other process [ms].
        p95_ms: 95th percentile.
        p99_ms: 99th percentile.
        max_ms: Largest.
        jitter_ms: Standard deviation of the time between frames [ms].
        received: Frames received.
        lost: Frames that the sender made and the receiver has not received.
        runs: Runs of which the times are medians; received and lost are sums over them.
        load_1min: The machine's load average when it was measured: above its number of cores
            others were at work.
    """

    what: str
    size: int
    rate_hz: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float
    jitter_ms: float
    received: int
    lost: int
    runs: int = 1
    load_1min: float | None = None


class FrameLog:
    """Notes frames as they come, 32 bytes each; threads may call any method at any time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stamps, self._came = array("q"), array("q")
        self._numbers, self._made = array("q"), array("q")

    def add(self, stamp_ns: int, now_ns: int) -> None:
        """Note a frame by its stamp, and when it came [ns since 1970]."""
        with self._lock:
            self._stamps.append(stamp_ns)
            self._came.append(now_ns)

    def add_number(self, number: int, stamp_ns: int) -> None:
        """Note the sender's own number of a frame."""
        with self._lock:
            self._numbers.append(number)
            self._made.append(stamp_ns)

    @property
    def received(self) -> int:
        """Frames so far."""
        with self._lock:
            return len(self._stamps)

    def lost(self) -> int:
        """Numbers missing between the first and the last, and numbers without their frame."""
        with self._lock:
            numbers, made = np.array(self._numbers), np.array(self._made)
            come = np.array(self._stamps)
        if not numbers.size:
            return 0
        missing = int(numbers.max() - numbers.min()) + 1 - numbers.size
        return missing + int((~np.isin(made, come)).sum())

    def row(
        self, what: str, size: int, rate_hz: float | None, lost: int | None = None
    ) -> LatencyRow:
        """Return the figures; `rate_hz` None: the rate reached, `lost` None: as `lost` counts.

        Raises:
            InputError: Fewer than two frames came.
        """
        with self._lock:
            times = np.column_stack([self._stamps, self._came]).astype(np.int64)
        if len(times) < 2:
            raise InputError(f"{what}: must have 2 frames to measure, got {len(times)}")
        latency_ms = (times[:, 1] - times[:, 0]) * 1e-6
        gaps_ms = np.diff(times[:, 1]) * 1e-6
        p50, p95, p99 = (round(float(v), 3) for v in np.percentile(latency_ms, (50, 95, 99)))
        return LatencyRow(
            what=what,
            size=size,
            rate_hz=round(1000 / float(gaps_ms.mean()), 1) if rate_hz is None else rate_hz,
            p50_ms=p50,
            p95_ms=p95,
            p99_ms=p99,
            max_ms=round(float(latency_ms.max()), 3),
            jitter_ms=round(float(gaps_ms.std()), 3),
            received=len(times),
            lost=self.lost() if lost is None else lost,
            load_1min=round(os.getloadavg()[0], 1),
        )


def median_row(rows: Sequence[LatencyRow]) -> LatencyRow:
    """Runs of the same as one row: medians of the times and rates, sums of the counts."""
    times = ("rate_hz", "p50_ms", "p95_ms", "p99_ms", "max_ms", "jitter_ms", "load_1min")
    medians = {name: round(median(getattr(row, name) for row in rows), 3) for name in times}
    return replace(
        rows[0],
        **medians,
        received=sum(row.received for row in rows),
        lost=sum(row.lost for row in rows),
        runs=len(rows),
    )


def table_lines(rows: Sequence[LatencyRow]) -> list[str]:
    """Return the rows as a table of 80 columns."""
    lines = [
        f"{'latency [ms]':<19}{'px':>5}{'Hz':>5}{'p50':>8}{'p95':>8}{'p99':>8}{'max':>8}"
        f"{'jitter':>8}{'got':>6}{'lost':>5}"
    ]
    for row in rows:
        figures = (row.p50_ms, row.p95_ms, row.p99_ms, row.max_ms, row.jitter_ms)
        times = "".join(f"{ms:8.2f}" for ms in figures)
        lines.append(
            f"{row.what:<19}{row.size:5d}{row.rate_hz:5.1f}{times}{row.received:6d}{row.lost:5d}"
        )
    return lines


def write_rows(path: Path, rows: Sequence[LatencyRow], **also: Any) -> None:
    """Write the rows beside those of the file that they do not replace.

    Args:
        path: JSON file.
        rows: To write.
        also: More to say, by its name; what the file had under other names stays.
    """
    new = [vars(row) for row in rows]
    replaced = {_key(row) for row in new}
    before = json.loads(path.read_text()) if path.is_file() else {"rows": []}
    kept = [row for row in before["rows"] if _key(row) not in replaced]
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {**before, **also, "conditions": conditions(), "rows": kept + new}
    with replacing(path) as file:
        file.write(json.dumps(document, indent=1) + "\n")


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the values that identify a row, without the rate where it was measured, not set."""
    return tuple(row[name] for name in KEY[: 2 if "render" in row["what"] else 3])


def conditions() -> dict[str, Any]:
    """Return the machine and the versions."""
    return {
        "cpus": os.cpu_count(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "cyclonedds": metadata.version("cyclonedds"),
        "interface": "loopback, two processes on one machine",
        "from": "the pose's stamp in the one process",
        "to": "the frame as an array in the other process",
    }
