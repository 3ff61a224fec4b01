"""run.json: its figures follow from the frames' stamps, and it is whole or not there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fluoro.errors import OutputError
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.imaging.frame import FluoroFrame
from fluoro.recording.journal import frame_row
from fluoro.recording.run_record import RunRecord, summary_lines

MS = 1_000_000
START_NS = 1_790_000_000_000_000_000


def frame(number: int, render_ms: float = 20) -> FluoroFrame:
    pose_ns = START_NS + number * 50 * MS
    return FluoroFrame(
        image=np.zeros((4, 4), np.float32),
        number=number,
        pose=CarmPose(lao_deg=number - 1.5, cra_deg=10, translation_mm=(1, 2, 3)),
        geometry=CarmGeometry(source_to_detector_mm=1100.0),
        stamps_ns={
            "pose": pose_ns,
            "render_start": pose_ns + 2 * MS,
            "render_end": pose_ns + round((2 + render_ms) * MS),
            "chain_end": pose_ns + round((5 + render_ms) * MS),
        },
    )


def record_of(frames: list[FluoroFrame]) -> RunRecord:
    record = RunRecord(
        config={"run": {"fps": 20}},
        device="CPU, 2 workers",
        seed=7,
        started_ns=START_NS - 2000 * MS,
    )
    for item in frames:
        record.add(item)
    return record


def finish(frames: list[FluoroFrame], path: Path) -> dict[str, object]:
    rows = map(frame_row, frames)
    record = record_of(frames)
    record.write(path, rows, dropped={"console": 3}, completed=True, stopped_by="frames")
    return dict(json.loads(path.read_text()))


def test_run_json_has_the_figures_of_the_run(tmp_path: Path) -> None:
    written = finish([frame(n) for n in range(21)], tmp_path / "run.json")
    assert written["fps"] == pytest.approx(20)
    assert written["frames"] == 21
    assert written["first_frame_s"] == pytest.approx(2.025)
    assert written["dropped"] == {"console": 3}
    assert written["latency_ms"] == {
        "queue": {"p50": 2, "p95": 2, "p99": 2},
        "render": {"p50": 20, "p95": 20, "p99": 20},
        "image_chain": {"p50": 3, "p95": 3, "p99": 3},
        "pose_to_frame": {"p50": 25, "p95": 25, "p99": 25},
    }
    expected = {"device": "CPU, 2 workers", "seed": 7, "completed": True, "stopped_by": "frames"}
    assert expected.items() <= written.items()
    assert written["config"] == {"run": {"fps": 20}}


def test_percentiles_are_those_of_the_frames(tmp_path: Path) -> None:
    written = record_of([frame(n, render_ms=n) for n in range(101)]).summary(
        dropped={}, completed=True, stopped_by="frames"
    )
    assert written["latency_ms"]["render"] == {"p50": 50, "p95": 95, "p99": 99}


def test_every_frame_is_listed_with_its_pose_and_stamps(tmp_path: Path) -> None:
    written = finish([frame(0), frame(1)], tmp_path / "run.json")
    assert written["per_frame"] == [
        {
            "number": n,
            "pose": {
                "lao_deg": n - 1.5,
                "cra_deg": 10.0,
                "roll_deg": 0.0,
                "translation_mm": [1.0, 2.0, 3.0],
            },
            "source_to_detector_mm": 1100.0,
            "pixel_spacing_mm": 0.5,
            "stamps_ns": frame(n).stamps_ns,
        }
        for n in (0, 1)
    ]


def test_later_stages_add_their_own_stamps_even_if_only_some_frames_have_them() -> None:
    record = record_of([frame(0)])
    record.add(frame(1), {"shown": frame(1).stamps_ns["chain_end"] + 4 * MS})
    record.add(frame(2))
    summary = record.summary(dropped={}, completed=True, stopped_by="frames")
    assert summary["latency_ms"]["shown"] == {"p50": 4, "p95": 4, "p99": 4}
    assert summary["latency_ms"]["pose_to_frame"]["p50"] == 25


@pytest.mark.parametrize("count", [0, 1])
def test_a_run_too_short_for_a_rate_says_null(tmp_path: Path, count: int) -> None:
    written = finish([frame(n) for n in range(count)], tmp_path / "run.json")
    assert written["fps"] is None
    assert written["frames"] == count
    assert len(summary_lines(written)) >= 2


def test_a_run_that_dies_is_known_by_the_record_written_at_its_start(tmp_path: Path) -> None:
    record_of([]).write(tmp_path / "run.json")
    written = json.loads((tmp_path / "run.json").read_text())
    assert (written["completed"], written["stopped_by"]) == (False, "unfinished")


def test_a_record_that_cannot_be_written_names_itself_and_leaves_the_earlier_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.json"
    record_of([]).write(path)
    earlier = path.read_text()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fluoro.files.atomic_write.os.fsync", full)
    with pytest.raises(OutputError, match=r"run\.json: cannot be written: No space left"):
        record_of([frame(0)]).write(path)
    assert path.read_text() == earlier
    assert [p.name for p in tmp_path.iterdir()] == ["run.json"]


def test_summary_for_the_terminal_tells_rate_device_drops_and_latency() -> None:
    record = record_of([frame(n) for n in range(21)])
    summary = record.summary(dropped={"console": 3, "recorder": 0}, completed=True, stopped_by="x")
    lines = summary_lines(summary)
    assert lines[0] == "21 frames at 20.0 fps on CPU, 2 workers, completed"
    assert lines[1] == "dropped: console 3"
    assert lines[2] == "first frame 2.0 s after the start"
    assert any(line.startswith("image chain") and "p50     3.0" in line for line in lines)
    stopped = record.summary(dropped={}, completed=False, stopped_by="SIGINT")
    assert summary_lines(stopped)[0].endswith("stopped early by SIGINT")
