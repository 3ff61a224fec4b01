"""The mean of each frame's display values in a CSV file of the run's folder."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from fluoro.imaging.frame import FluoroFrame
from fluoro.recording.frame_sink import FrameSink

__all__ = ["FrameMeansSink"]


class FrameMeansSink(FrameSink):
    """Writes number and mean of every frame.

    Args:
        path: The file.
    """

    name, port = "frame_means", "record"

    def __init__(self, path: Path) -> None:
        self._path, self._rows = path, [("frame", "mean")]

    @classmethod
    def from_config(cls, context: Any) -> FrameMeansSink | None:
        """Return the sink; None where `run.frame_means` is off."""
        if not context.config.run.frame_means:
            return None
        return cls(context.files.opened() / "frame_means.csv")

    def take(self, frame: FluoroFrame) -> None:
        """Take the mean of a frame."""
        self._rows.append((str(frame.number), f"{frame.image.mean():.6f}"))

    def flush(self) -> None:
        """Write the file."""
        with self._path.open("w", newline="") as file:
            csv.writer(file).writerows(self._rows)
