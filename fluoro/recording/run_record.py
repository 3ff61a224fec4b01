"""run.json: what a run was, how fast it went, and the pose and time stamps of every frame."""

from __future__ import annotations

import json
import platform
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro import plugins
from fluoro.files.atomic_write import replacing
from fluoro.imaging.exposure.dose_meter import DoseTotal
from fluoro.imaging.frame import FluoroFrame
from fluoro.steady_clock import steady_ns

__all__ = ["UNFINISHED", "RunRecord", "summary_lines", "versions"]

STAGE_NAMES = {"render_start": "queue", "render_end": "render", "chain_end": "image_chain"}
"""What the time up to a stamp is called; a stamp not named here gives its own name."""
FIRST_STAMP, FRAME_STAMP = "pose", "chain_end"
"""Between them a pose becomes a frame."""
PERCENTILES = (50, 95, 99)
PACKAGES = ("fluoro", "holoscan-cu12", "holoscan-cu13", "slangpy", "numpy", "cupy-cuda12x", "av")
"""Whose versions are recorded, where they are installed."""
NO_STAMP = -1
UNFINISHED = "unfinished"
"""What run.json says of the end of a run that goes on, or was killed."""


class RunRecord:
    """Gathers the stamps of a run's frames, about 50 bytes each, and writes run.json.

    The rows of the frames come from elsewhere: they are on disk already (`FrameJournal`).

    Args:
        config: The whole configuration, as plain data.
        device: Where it was rendered, in words.
        seed: Seed of noise and random walk; the drawn one where the configuration has none.
        started_ns: When the program started, Unix time [ns]; None: now.
        isocenter_xyz_mm: Isocentre of the untranslated C-arm, patient LPS [mm], which the
            configuration may leave to the volume; None: unknown.
    """

    def __init__(
        self,
        *,
        config: Mapping[str, Any],
        device: str,
        seed: int,
        started_ns: int | None = None,
        isocenter_xyz_mm: Sequence[float] | None = None,
    ) -> None:
        self._started_ns = steady_ns() if started_ns is None else started_ns
        started_at = datetime.fromtimestamp(self._started_ns * 1e-9, UTC)
        known = {} if isocenter_xyz_mm is None else {"isocenter_mm": list(isocenter_xyz_mm)}
        self._head = {
            "device": device,
            "seed": seed,
            **known,
            "started_at": started_at.isoformat(timespec="milliseconds"),
            "versions": versions(),
            "config": dict(config),
        }
        self._frames = 0
        self._total: DoseTotal | None = None
        self._stamps: dict[str, array[int]] = {}
        self._clamped: Counter[str] | None = Counter()
        self._sections: dict[str, Any] = {}
        self._tables: dict[str, list[dict[str, Any]]] = {}

    @classmethod
    def of_earlier(cls, summary: Mapping[str, Any]) -> RunRecord:
        """Return a record without frames of a run that has ended, with the head of its run.json.

        Which limits cut poses short is not known of it.

        Raises:
            KeyError, TypeError, ValueError: It is not the summary of a run.
        """
        started_at = datetime.fromisoformat(summary["started_at"])
        record = cls(
            config=summary["config"],
            device=summary["device"],
            seed=summary["seed"],
            started_ns=round(started_at.timestamp() * 1000) * 1_000_000,
            isocenter_xyz_mm=summary.get("isocenter_mm"),
        )
        record._head["versions"] = summary["versions"]
        record._clamped = None
        return record

    def attach(
        self, sections: Mapping[str, Any], tables: Mapping[str, list[dict[str, Any]]]
    ) -> None:
        """Say more of the run: sections of the summary, and tables beside `per_frame`, by key."""
        self._sections.update(sections)
        self._tables.update(tables)

    def add(self, frame: FluoroFrame, extra_stamps_ns: Mapping[str, int] | None = None) -> None:
        """Record a frame, with stamps of later stages [Unix time, ns] in their order."""
        stamps_ns = {**frame.stamps_ns, **(extra_stamps_ns or {})}
        self.note(stamps_ns, frame.exposure.total if frame.exposure else None)

    def note(self, stamps_ns: Mapping[str, int], total: DoseTotal | None) -> None:
        """Record a frame by its stamps [Unix time, ns] and the run's dose up to it."""
        for name, stamp_ns in stamps_ns.items():
            column = self._stamps.setdefault(name, array("q"))
            column.extend([NO_STAMP] * (self._frames - len(column)))
            column.append(stamp_ns)
        self._frames += 1
        self._total = total

    def count_clamped(self, names: Iterable[str]) -> None:
        """Record which values of a pose a limit of the C-arm cut short."""
        if self._clamped is not None:
            self._clamped.update(names)

    def summary(
        self, *, dropped: Mapping[str, int], completed: bool, stopped_by: str
    ) -> dict[str, Any]:
        """Return everything of run.json but `per_frame`.

        Args:
            dropped: Frames lost by each sink.
            completed: Whether the run came to its own end and all its files are whole.
            stopped_by: What ended it: `frames`, `SIGINT`, an error's message ...
        """
        outcome = {
            "completed": completed,
            "stopped_by": stopped_by,
            "frames": self._frames,
            "fps": self._fps(),
            "first_frame_s": self._first_frame_s(),
            "dropped": dict(dropped),
            "clamped": None if self._clamped is None else dict(self._clamped),
            "latency_ms": self._latencies(),
        }
        return outcome | self._dose() | self._sections | self._head

    def write(
        self,
        path: Path,
        rows: Iterable[Mapping[str, Any]] = (),
        *,
        dropped: Mapping[str, int] | None = None,
        completed: bool = False,
        stopped_by: str = UNFINISHED,
    ) -> dict[str, Any]:
        """Write run.json whole, in place of an earlier one of this run.

        With the defaults, before the first frame, it says of a run that dies that it did.

        Args:
            path: Where.
            rows: Values of each frame, one row a line.
            dropped: As for `summary`.
            completed: As for `summary`.
            stopped_by: As for `summary`.

        Returns:
            The summary that was written.

        Raises:
            OutputError: It cannot be written; an earlier one is intact.
        """
        summary = self.summary(dropped=dropped or {}, completed=completed, stopped_by=stopped_by)
        with replacing(path) as file:
            head = json.dumps(summary, indent=2, default=str)
            file.write(head.removesuffix("\n}"))
            tables: dict[str, Iterable[Mapping[str, Any]]] = {"per_frame": rows}
            for name, table in (tables | self._tables).items():
                file.write(f",\n  {json.dumps(name)}: [")
                for index, row in enumerate(table):
                    file.write((",\n    " if index else "\n    ") + json.dumps(row))
                file.write("\n  ]")
            file.write("\n}\n")
        return summary

    def _dose(self) -> dict[str, Any]:
        """What the run has cost the patient; nothing where nothing was exposed."""
        total = self._total
        if total is None:
            return {}
        figures = {
            "kerma_area_mgycm2": total.kerma_area_mgycm2,
            "reference_kerma_mgy": total.reference_kerma_mgy,
            "skin_dose_mgy": total.skin_dose_mgy,
        }
        rounded = {key: float(f"{value:.6g}") for key, value in figures.items()}
        return {"dose": {"pulses": total.pulses, "beam_s": round(total.beam_s, 3), **rounded}}

    def _fps(self) -> float | None:
        """Frames per second between the first and the last frame; None for fewer than two."""
        ends = self._column(FRAME_STAMP)
        ends = ends[ends != NO_STAMP]
        span_ns = int(ends.max() - ends.min()) if len(ends) > 1 else 0
        return round((len(ends) - 1) / (span_ns * 1e-9), 3) if span_ns > 0 else None

    def _first_frame_s(self) -> float | None:
        """From the program's start to the first frame [s]; None where there was none."""
        ends = self._column(FRAME_STAMP)
        ends = ends[ends != NO_STAMP]
        return round(int(ends.min() - self._started_ns) * 1e-9, 3) if len(ends) else None

    def _latencies(self) -> dict[str, dict[str, float]]:
        spans = {STAGE_NAMES.get(end, end): (start, end) for start, end in pairwise(self._stamps)}
        if FIRST_STAMP in self._stamps and FRAME_STAMP in self._stamps:
            spans["pose_to_frame"] = (FIRST_STAMP, FRAME_STAMP)
        durations = {name: self._durations_ms(*span) for name, span in spans.items()}
        return {name: _percentiles(ms) for name, ms in durations.items() if len(ms)}

    def _durations_ms(self, start: str, end: str) -> NDArray[np.float64]:
        starts, ends = self._column(start), self._column(end)
        both = (starts != NO_STAMP) & (ends != NO_STAMP)
        return np.asarray((ends - starts)[both] * 1e-6)

    def _column(self, name: str) -> NDArray[np.int64]:
        """Stamps of one stage for all frames; -1 where there is none."""
        stamps = self._stamps.get(name, array("q"))
        column = np.full(self._frames, NO_STAMP, np.int64)
        column[: len(stamps)] = stamps
        return column


def _percentiles(durations_ms: NDArray[np.float64]) -> dict[str, float]:
    values = np.percentile(durations_ms, PERCENTILES)
    return {f"p{p}": round(float(v), 3) for p, v in zip(PERCENTILES, values, strict=True)}


def versions() -> dict[str, str]:
    """Versions of Python, of the platform, of plugins and packages that decide what a run gives."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {**found, **plugins.versions()}


SECTION_LINES = {
    "dose": "{pulses} pulses in {beam_s:.1f} s, kerma-area product {kerma_area_mgycm2:.4g} "
    "mGy cm2, {reference_kerma_mgy:.4g} mGy at the reference point, skin about "
    "{skin_dose_mgy:.4g} mGy",
    "tracking": "{estimates} estimates, {not_converged} not believed: mTRE median "
    "{median_mtre_mm:.2f} mm, p95 {p95_mtre_mm:.2f} mm; {median_seconds:.2f} s each",
    "servo": "wanted view reached: {reached}, {mtre_mm:.2f} mm away after {frames} frames",
    "optimiser": "{class}, {iterations} iterations, stopped by itself: {stopped}; mTRE "
    "{mtre_start_mm:.1f} -> {mtre_mm:.2f} mm",
}
"""How sections that a run may have read on the terminal."""


def _line(record: Mapping[str, Any], name: str, wording: str) -> str | None:
    """A section on one line; None where the run has none, or nothing was measured."""
    section = record.get(name)
    if not section or None in section.values():
        return None
    words = {True: "yes", False: "no"}
    said = {key: words[v] if isinstance(v, bool) else v for key, v in section.items()}
    return f"{name}: {wording.format_map(said)}"


def summary_lines(record: Mapping[str, Any]) -> list[str]:
    """Return a run's summary for the terminal, one fact a line."""
    rate = "" if record["fps"] is None else f" at {record['fps']:.1f} fps"
    end = "completed" if record["completed"] else f"stopped early by {record['stopped_by']}"
    lines = [f"{record['frames']} frames{rate} on {record['device']}, {end}"]
    lost = {sink: count for sink, count in record["dropped"].items() if count}
    lines.append("dropped: " + (", ".join(f"{s} {n}" for s, n in lost.items()) or "none"))
    if record["clamped"]:
        cut = ", ".join(f"{name} in {count}" for name, count in record["clamped"].items())
        lines.append(f"poses cut short by carm.limits: {cut} frames")
    if record["first_frame_s"] is not None:
        lines.append(f"first frame {record['first_frame_s']:.1f} s after the start")
    lines += [line for name, tell in SECTION_LINES.items() if (line := _line(record, name, tell))]
    for stage, ms in record["latency_ms"].items():
        figures = "  ".join(f"{name} {value:7.1f}" for name, value in ms.items())
        lines.append(f"{stage.replace('_', ' '):<14}{figures} ms")
    return lines
