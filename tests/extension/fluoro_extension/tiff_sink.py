"""Every n-th frame as a TIFF file of float32 display values, in the run's folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from fluoro.config.section import Section
from fluoro.recording.frame_sink import FrameSink

if TYPE_CHECKING:
    from fluoro.imaging.frame import FluoroFrame


class TiffConfig(Section):
    """Frames as TIFF files of float32 display values."""

    every: Annotated[int, Field(ge=1)] = Field(10, description="Every n-th frame is written.")


class TiffSink(FrameSink):
    """Writes every n-th frame.

    Args:
        folder: Where.
        every: n.
    """

    name, port, section = "tiff", "record", TiffConfig

    def __init__(self, folder: Path, every: int) -> None:
        self._folder, self._every = folder, every

    @classmethod
    def from_config(cls, context: Any) -> TiffSink | None:
        """Return the sink; None where there is no section `tiff`."""
        if context.config.tiff is None:
            return None
        return cls(context.files.opened(), context.config.tiff.every)

    def take(self, frame: FluoroFrame) -> None:
        """Write a frame whose turn it is."""
        from PIL import Image

        if frame.number % self._every == 0:
            Image.fromarray(frame.image).save(self._folder / f"frame_{frame.number:06d}.tiff")
