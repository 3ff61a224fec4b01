"""How fast a simulator is: when frames were ready, and how long the last ones took."""

from __future__ import annotations

import itertools
import logging
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from fluoro.errors import InputError
from fluoro.fluorosim.config import MetricsSettings
from fluoro.fluorosim.gpu_usage import gpu_memory_mb, gpu_utilization_percent

__all__ = ["FrameTimes", "SimulatorMetrics", "at_most"]

log = logging.getLogger(__name__)

TIMES_KEPT = 100
"""Frames over which rate and jitter are taken."""

PROGRESS_EVERY = 10
"""Frames between two lines of a cine's progress in the log."""

Item = TypeVar("Item")


@dataclass
class SimulatorMetrics:
    """How fast a simulator has been over its last 100 frames.

    Attributes:
        fps: Frames per second of rendering time.
        frame_times_ms: Time that each took [ms].
        gpu_memory_mb: GPU memory in use [MB]; None: not asked, or no NVIDIA GPU.
        gpu_utilization: How busy the GPU is [%]; None: not asked, or no NVIDIA GPU.
        jitter_ms: Standard deviation of the frame times [ms].
    """

    fps: float = 0.0
    frame_times_ms: list[float] = field(default_factory=list)
    gpu_memory_mb: float | None = None
    gpu_utilization: float | None = None
    jitter_ms: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the figures, with the mean for the frame times."""
        times = self.frame_times_ms
        return {
            "fps": self.fps,
            "avg_frame_time_ms": float(np.mean(times)) if times else 0.0,
            "jitter_ms": self.jitter_ms,
            "gpu_memory_mb": self.gpu_memory_mb,
            "gpu_utilization": self.gpu_utilization,
        }


class FrameTimes:
    """Times of the last 100 frames."""

    def __init__(self) -> None:
        self._started_ms = time.time() * 1e3 - time.perf_counter() * 1e3
        self._times: deque[float] = deque(maxlen=TIMES_KEPT)

    def add(self, start_s: float) -> float:
        """Note a frame that is ready now; return the Unix time [ms].

        Args:
            start_s: When it was begun, by `time.perf_counter`.
        """
        end_s = time.perf_counter()
        self._times.append((end_s - start_s) * 1e3)
        return self._started_ms + end_s * 1e3

    def clear(self) -> None:
        """Forget all frames, such as those of a warm-up."""
        self._times.clear()

    def metrics(self, wanted: MetricsSettings, device_kind: str) -> SimulatorMetrics:
        """Return what the settings ask for; where they are off, all but what a GPU says."""
        times = list(self._times)
        rate, jitter = (wanted.track_fps, wanted.track_jitter) if wanted.enabled else (True, True)
        gpu = wanted.enabled and wanted.track_gpu_usage and device_kind == "cuda"
        return SimulatorMetrics(
            fps=1000.0 / float(np.mean(times)) if rate and times else 0.0,
            frame_times_ms=times if rate else [],
            gpu_memory_mb=gpu_memory_mb() if gpu else None,
            gpu_utilization=gpu_utilization_percent() if gpu else None,
            jitter_ms=float(np.std(times)) if jitter and times else 0.0,
        )

    def collected(self, frames: Iterable[Item], *, progress: bool) -> list[Item]:
        """Return the frames of a cine; every tenth tells the log (level INFO) how far it is."""
        found: list[Item] = []
        for frame in frames:
            found.append(frame)
            if progress and len(found) % PROGRESS_EVERY == 0:
                rate = 1000.0 / float(np.mean(self._times)) if self._times else 0.0
                log.info("frame %d, %.1f fps", len(found), rate)
        return found


def at_most(poses: Iterable[Any], max_frames: int | None) -> Iterator[Any]:
    """Return the first poses, without taking one more.

    Raises:
        InputError: A negative `max_frames`.
    """
    if max_frames is not None and max_frames < 0:
        raise InputError(f"max_frames must be at least 0 or None, got {max_frames}")
    return itertools.islice(poses, max_frames)
