"""What an X-ray file's C-arm saw, beside the frame that is rendered at its pose: beside.mp4."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from fluoro.files.image_files import save_image
from fluoro.imaging.frame import FluoroFrame, to_uint8
from fluoro.plot.beside_image import beside_image
from fluoro.poses.base import SeenFrames
from fluoro.recording.formats.mp4_writer import Film
from operators.sinks.base import Sink

if TYPE_CHECKING:
    from operators.context import RunContext

__all__ = ["BesideSink"]


class BesideSink(Sink):
    """Writes a film of both frames, and its first image as beside.png.

    Args:
        context: The run.
        seen: The frames that the poses come from.
        folder: Of the run.
    """

    name, port = "beside", "record"

    def __init__(self, context: RunContext, seen: SeenFrames, folder: Path) -> None:
        self._seen, self._folder, self._fps = seen, folder, context.config.run.fps
        self._film: Film | None = Film(folder / "beside.mp4", self._fps)
        context.stack.callback(self.flush)

    @classmethod
    def from_config(cls, context: RunContext) -> BesideSink | None:
        """Return the sink, where the frames of a file are wanted beside the rendered ones."""
        seen = context.config.pose_source.seen()
        folder = context.files.folder  # made by the recorder, which is opened before
        return cls(context, seen, folder) if seen and folder else None

    def take(self, frame: FluoroFrame) -> None:
        """Draw one image of both."""
        time_s = frame.number / self._fps
        grey, number = self._seen.at(time_s)
        rendered = Image.fromarray(to_uint8(frame.image))
        image = beside_image(Image.fromarray(grey), rendered, frame.pose, number)
        if frame.number == 0:
            save_image(self._folder / "beside.png", image)
        shown_s = time_s if frame.shown_s is None else frame.shown_s
        if self._film:
            self._film.write(np.asarray(image), shown_s)

    def flush(self) -> None:
        """Close film and file; a second call does nothing."""
        self._seen.close()
        film, self._film = self._film, None
        if film:
            film.close()
