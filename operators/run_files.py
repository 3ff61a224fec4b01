"""The folder of a run: its record, its journal, and the frames that a user saves."""

from __future__ import annotations

import logging
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from PIL import Image

from fluoro.config import Config
from fluoro.errors import OutputError
from fluoro.files.atomic_write import writing
from fluoro.files.image_files import save_image
from fluoro.imaging.frame import FluoroFrame, to_uint8
from fluoro.paths import output_dir
from fluoro.recording.journal import FrameJournal
from fluoro.recording.run_folder import make_run_folder
from fluoro.recording.run_record import RunRecord

__all__ = ["RunFiles"]

log = logging.getLogger(__name__)


class RunFiles:
    """Makes the run's folder where something is recorded, or when a user saves a frame.

    Args:
        config: Where the folder is, and whether frames are recorded.
        name: Name of the run.
        record: What run.json says.
        stack: Closes the journal, and removes the folder of a run that did not begin to stream.

    Attributes:
        folder: The folder; None: nothing is written so far.
        journal: Every frame's row, until run.json is written; None: nothing is written so far.

    Raises:
        OutputError: The folder cannot be made or written.
    """

    def __init__(self, config: Config, name: str, record: RunRecord, stack: ExitStack) -> None:
        self._config, self.name, self.record = config, name, record
        self.folder: Path | None = None
        self.journal: FrameJournal | None = None
        self._streams = False
        stack.callback(self._close)

    def begin(self) -> None:
        """Keep the folder from now on, whatever happens: frames come."""
        self._streams = True

    def open(self) -> None:
        """Make the folder with the record of a run that has begun, where frames are recorded."""
        if self._config.recorder.enabled:
            self.opened()

    def opened(self) -> Path:
        """Return the folder, made with the record of a run that has begun."""
        if self.folder is None:
            folder = self._made()
            self.record.write(folder / "run.json")
            self.journal = FrameJournal(folder)
            return folder
        return self.folder

    def save_frame(self, frame: FluoroFrame) -> Path:
        """Write one frame for a user who requested it on the console."""
        if self.folder is None:
            self.journal = FrameJournal(self._made())
        if self.journal and not self._config.recorder.enabled:
            self.journal.write(frame)
        path = self.folder / "saved" / f"frame_{frame.number:06d}.png"
        with writing(path):
            path.parent.mkdir(exist_ok=True)
        save_image(path, Image.fromarray(to_uint8(frame.image)))
        return path

    def write_record(self, **ending: Any) -> dict[str, Any]:
        """Write run.json, where there is a folder, and return its summary.

        Args:
            ending: How the run ended, by the names of `RunRecord.summary`.

        Raises:
            OutputError: It cannot be written.
        """
        if self.folder is None or self.journal is None:
            return self.record.summary(**ending)
        try:
            summary = self.record.write(self.folder / "run.json", self.journal.rows(), **ending)
        except OutputError:
            name = self.journal.path.name
            log.warning("app.py repair %s makes run.json of %s", self.folder, name)
            raise
        self.journal.remove()
        return summary

    def _close(self) -> None:
        if self.journal:
            self.journal.close()
        if self.folder and not self._streams:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _made(self) -> Path:
        self.folder = make_run_folder(self._config.run.output_dir or output_dir(), self.name)
        return self.folder
