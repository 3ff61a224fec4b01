"""How the stream is doing, seen by every sink."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Iterable

from fluoro.console.stream_status import StreamStatus
from fluoro.geometry.carm import CarmPose
from fluoro.imaging.frame import FluoroFrame
from fluoro.recording.run_record import RunRecord

__all__ = ["StreamMonitor"]

WINDOW_S = 1.0
"""Frames of this last while, or a slower stream's last two, make the rate and latencies shown."""

STAGES = {
    "queue": ("pose", "render_start"),
    "render": ("render_start", "render_end"),
    "image_chain": ("render_end", "chain_end"),
}


class StreamMonitor:
    """Counts frames and what was dropped; threads may call any method at any time.

    Args:
        record: Takes a note of every frame.
        target_fps: Frame rate requested [1/s]; None: free-running.
        device: What renders, in words.
    """

    def __init__(self, record: RunRecord, target_fps: float | None, device: str) -> None:
        self._record, self._target_fps, self._device = record, target_fps, device
        self._lock = threading.Lock()
        self._recent: deque[tuple[float, dict[str, int]]] = deque()
        self._dropped: Counter[str] = Counter()
        self._shown: Counter[str] = Counter()
        self._newest: tuple[int, CarmPose] | None = None  # no frame: it would keep its image
        self.frames = 0

    def add(self, frame: FluoroFrame) -> None:
        """Take a note of a finished frame."""
        now_s = time.monotonic()
        with self._lock:
            self._record.add(frame)
            self._newest = frame.number, frame.pose
            self.frames += 1
            self._recent.append((now_s, frame.stamps_ns))
            while len(self._recent) > 2 and now_s - self._recent[0][0] > WINDOW_S:
                self._recent.popleft()

    def pose(self) -> CarmPose | None:
        """Of the newest frame; None before the first."""
        with self._lock:
            return self._newest[1] if self._newest else None

    def missed(self) -> int:
        """Frames up to the newest, by its number, that never came here."""
        with self._lock:
            return self._newest[0] + 1 - self.frames if self._newest else 0

    def count_dropped(self, sink: str) -> None:
        """Take a note of a frame that a sink refused."""
        with self._lock:
            self._dropped[sink] += 1

    def count_clamped(self, names: Iterable[str]) -> None:
        """Take a note of what a limit of the C-arm cut short in a pose."""
        with self._lock:
            self._record.count_clamped(names)

    def count_shown(self, display: str, number: int) -> None:
        """Take a note of a frame on show; those before it that were not are dropped."""
        with self._lock:
            self._shown[display] += 1
            self._dropped[display] = number + 1 - self._shown[display]

    def dropped(self) -> dict[str, int]:
        """Frames lost by each sink in a stream that has ended."""
        with self._lock:
            missed = {name: self.frames - shown for name, shown in self._shown.items()}
            return dict(self._dropped) | {name: max(0, count) for name, count in missed.items()}

    def status(self) -> StreamStatus:
        """Return rates and times of the last second; of a slower stream, of its last two frames."""
        with self._lock:
            recent, dropped = list(self._recent), dict(self._dropped)
        return StreamStatus(
            fps=_rate([at_s for at_s, _ in recent], time.monotonic()),
            target_fps=self._target_fps,
            latency_ms=_mean_latencies_ms([stamps for _, stamps in recent]),
            dropped=dropped,
            device=self._device,
        )


def _rate(times_s: list[float], now_s: float) -> float:
    """Frames per second; 0 before the second frame, and once they stay away."""
    span_s = times_s[-1] - times_s[0] if len(times_s) > 1 else 0.0
    if span_s <= 0.0:
        return 0.0
    apart_s = span_s / (len(times_s) - 1)
    return 0.0 if now_s - times_s[-1] > WINDOW_S + 2.0 * apart_s else 1.0 / apart_s


def _mean_latencies_ms(stamps_ns: list[dict[str, int]]) -> dict[str, float]:
    if not stamps_ns:
        return {}
    return {
        stage: sum(stamps[end] - stamps[start] for stamps in stamps_ns) / len(stamps_ns) * 1e-6
        for stage, (start, end) in STAGES.items()
    }
