"""The journal: a line for each frame, whole or not there, from which run.json is made."""

import json
import resource
import signal

import numpy as np
import pytest

from fluoro.config import RecorderConfig
from fluoro.errors import InputError, OutputError
from fluoro.recording.journal import JOURNAL_NAME, FrameJournal, read_journal
from fluoro.recording.recorder import Recorder
from tests.recording.test_recorder import make_frame


def write_all(journal, count):
    for number in range(count):
        journal.write(make_frame(number))


def journal_of(folder):
    """The path of a journal of three frames."""
    journal = FrameJournal(folder)
    write_all(journal, 3)
    journal.close()
    return journal.path


def test_a_line_cut_short_is_left_out_and_a_broken_one_is_named(tmp_path):
    path = journal_of(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-7])
    assert [entry.row["number"] for entry in read_journal(path)] == [0, 1]
    for broken in (b"{}\n", b"[1]\n", b'{"row": {"number": 1}, "total": null}\n', b"\xff\n"):
        path.write_bytes(broken + whole)
        with pytest.raises(InputError, match="line 1 must be the record of a frame, got"):
            list(read_journal(path))


def test_a_journal_that_may_not_grow_keeps_its_whole_lines(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    journal = FrameJournal(tmp_path)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1500, before[1]))
        with pytest.raises(OutputError, match=f"{JOURNAL_NAME}: cannot be written: File too large"):
            write_all(journal, 100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert journal.path.read_bytes().endswith(b"\n")
    assert 0 < len(list(journal.rows())) < 100


def test_frames_whose_images_are_dropped_are_marked(tmp_path):
    config = RecorderConfig.model_validate({"formats": ["npy"], "queue_frames": 1})
    journal = FrameJournal(tmp_path)
    with Recorder(tmp_path, config, 30, drop_when_full=True, journal=journal) as recorder:
        kept = [recorder.put(make_frame(number)) for number in range(200)]
    rows = list(journal.rows())
    assert [row["number"] for row in rows] == [*range(200)]
    assert [row.get("recorded", True) for row in rows] == kept
    assert len(np.load(tmp_path / "frames.npy")) == sum(kept) == recorder.written
    assert json.loads(journal.path.read_text().splitlines()[0])["row"]["number"] == 0
