"""What is written and read besides CT: films, images, run records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fluoro.lazy_names import lazy_names

if TYPE_CHECKING:
    from fluoro.recording.formats.mp4_writer import Film
    from fluoro.recording.frame_sink import FrameSink
    from fluoro.recording.journal import FrameJournal, read_journal
    from fluoro.recording.recorder import Recorder
    from fluoro.recording.run_record import RunRecord
    from fluoro.recording.run_repair import repair_run

__all__ = [
    "Film",
    "FrameJournal",
    "FrameSink",
    "Recorder",
    "RunRecord",
    "read_journal",
    "repair_run",
]

if not TYPE_CHECKING:  # a type checker is to miss a name that is not there
    __getattr__, __dir__ = lazy_names(__name__)
